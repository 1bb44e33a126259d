//! Settings of endpoints: what can be said of one, and what cannot.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use shared::{
    ids::{UserId, WebhookId},
    jobs::DeliverWebhook,
    models::{user, webhook},
    queue::groups,
};
use tests::{Actor, TestApp, actor::each};

const WEBHOOKS: &str = "/api/v1/webhooks";
const URL: &str = "http://127.0.0.1:9/hook";

fn path_of(webhook: &Value) -> String {
    format!("{WEBHOOKS}/{}", webhook["id"].as_str().unwrap())
}

fn id_of(webhook: &Value) -> WebhookId {
    webhook["id"].as_str().unwrap().parse().unwrap()
}

/// Makes an endpoint for everything, with more settings.
async fn create(actor: &Actor, more: Value) -> Value {
    let mut body = json!({ "url": URL, "events": ["*"] });
    let fields = more.as_object().unwrap().clone();
    body.as_object_mut().unwrap().extend(fields);
    actor.post_json(WEBHOOKS, body).await.expect(201)
}

/// What is said of the group of an endpoint: the time between two, how many at once, and whether they are out of order.
async fn group(app: &TestApp, webhook: &Value) -> Option<(Option<i64>, Option<i16>, bool)> {
    sqlx::query_as("SELECT interval_us, bound, is_unordered FROM job_groups WHERE key = $1")
        .bind(DeliverWebhook::group(id_of(webhook)))
        .fetch_optional(app.database.pool())
        .await
        .unwrap()
}

#[tokio::test]
async fn every_setting_is_kept_and_shown_but_for_the_values_of_headers() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let plain = create(&ana, json!({})).await;
    for (field, value) in [
        ("headerNames", json!([])),
        ("rateLimitPerMinute", Value::Null),
        ("schedule", json!("standard")),
        ("ordering", json!("none")),
        ("timeoutSeconds", Value::Null),
        ("scope", json!("own")),
        ("signatures", json!(["v1"])),
        ("publicKey", Value::Null),
        ("disabledAt", Value::Null),
    ] {
        assert_eq!(plain[field], value, "{field}");
    }

    let said = json!({
        "url": URL, "events": ["message.*", "image.ocr_failed", "message.*"], "description": "mine",
        "headers": { "Authorization": "Bearer very-secret", "X-Tenant": "a b" }, "rateLimitPerMinute": 600,
        "schedule": "short", "ordering": "endpoint", "timeoutSeconds": 3, "scope": "own",
        "signatures": ["v1a", "v1"],
    });
    let made = ana.post_json(WEBHOOKS, said.clone()).await;
    assert!(!made.text.contains("very-secret"));
    let made = made.expect(201);
    assert_eq!(made["events"], json!(["image.ocr_failed", "message.*"]));
    assert_eq!(made["headerNames"], json!(["authorization", "x-tenant"]));
    assert_eq!(made["signatures"], json!(["v1", "v1a"]));
    assert!(made["publicKey"].as_str().unwrap().starts_with("whpk_"));
    for field in [
        "description",
        "rateLimitPerMinute",
        "schedule",
        "ordering",
        "timeoutSeconds",
        "scope",
    ] {
        assert_eq!(made[field], said[field], "{field}");
    }
    let got = ana.get(&path_of(&made)).await;
    assert!(!got.text.contains("very-secret"));
    assert_eq!(got.expect(200)["headerNames"], made["headerNames"]);

    let row: String =
        sqlx::query_scalar("SELECT w::text FROM webhooks w WHERE description = 'mine'")
            .fetch_one(app.database.pool())
            .await
            .unwrap();
    let sealed = hex::encode("very-secret");
    assert!(
        !row.contains("very-secret") && !row.contains(&sealed),
        "a header is stored in clear"
    );
    let row = webhook::find_for_any_user(&app.context.db, id_of(&made)).await;
    let headers = row.unwrap().unwrap().headers(&app.context.keyring).unwrap();
    let expected = [("authorization", "Bearer very-secret"), ("x-tenant", "a b")];
    assert_eq!(
        headers,
        expected.map(|(name, value)| (name.to_owned(), value.to_owned()))
    );
    app.finish().await;
}

#[tokio::test]
async fn bad_settings_are_refused_field_by_field() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let path = path_of(&create(&ana, json!({})).await);
    let many: serde_json::Map<String, Value> = (0..21)
        .map(|number| (format!("x-{number}"), json!("1")))
        .collect();
    for (field, value, pointers) in [
        ("rateLimitPerMinute", json!(0), vec!["/rateLimitPerMinute"]),
        (
            "rateLimitPerMinute",
            json!(60_001),
            vec!["/rateLimitPerMinute"],
        ),
        ("rateLimitPerMinute", json!(-1), vec!["/rateLimitPerMinute"]),
        (
            "rateLimitPerMinute",
            json!(1.5),
            vec!["/rateLimitPerMinute"],
        ),
        ("schedule", json!("daily"), vec!["/schedule"]),
        ("ordering", json!("random"), vec!["/ordering"]),
        ("timeoutSeconds", json!(0), vec!["/timeoutSeconds"]),
        ("timeoutSeconds", json!(31), vec!["/timeoutSeconds"]),
        ("scope", json!("others"), vec!["/scope"]),
        ("signatures", json!([]), vec!["/signatures"]),
        ("signatures", json!(["v1a"]), vec!["/signatures"]),
        ("signatures", json!(["v1", "v2"]), vec!["/signatures"]),
        ("headers", json!(["x"]), vec!["/headers"]),
        ("headers", json!(many), vec!["/headers"]),
        ("headers", json!({ "x-a": 1 }), vec!["/headers/x-a"]),
        (
            "headers",
            json!({ "X-A": "1", "x-a": "2" }),
            vec!["/headers/x-a"],
        ),
        (
            "headers",
            json!({
                "Host": "a", "Content-Type": "a", "connection": "a", "Transfer-Encoding": "a", "Webhook-Id": "a",
                "X-BaatCheet-Event": "a", "x-amz-date": "a", "X-Goog-Iam": "a", "Proxy-Authorization": "a",
                "Sec-Ch-Ua": "a", "User-Agent": "a", "bad name": "a", "x-empty": "", "x-line": "a\r\nb: c",
                "x-long": "a".repeat(4097), "authorization": "fine",
            }),
            vec![
                "/headers/Content-Type",
                "/headers/Host",
                "/headers/Proxy-Authorization",
                "/headers/Sec-Ch-Ua",
                "/headers/Transfer-Encoding",
                "/headers/User-Agent",
                "/headers/Webhook-Id",
                "/headers/X-BaatCheet-Event",
                "/headers/X-Goog-Iam",
                "/headers/bad name",
                "/headers/connection",
                "/headers/x-amz-date",
                "/headers/x-empty",
                "/headers/x-line",
                "/headers/x-long",
            ],
        ),
    ] {
        let mut body = json!({ "url": URL, "events": ["*"] });
        body[field] = value.clone();
        let created = ana.post_json(WEBHOOKS, body).await;
        assert_eq!(created.status, 422, "{field}: {value}");
        assert_eq!(created.expect_bad_fields(), pointers, "{field}: {value}");
        let changed = ana.patch_json(&path, json!({ field: value })).await;
        assert_eq!(changed.expect_bad_fields(), pointers, "{field}");
    }
    assert_eq!(each(&ana.get(WEBHOOKS).await.expect(200), "url").len(), 1);
    app.finish().await;
}

#[tokio::test]
async fn settings_are_changed_one_by_one_and_headers_cleared() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let webhook = create(&ana, json!({ "headers": { "x-a": "1" } })).await;
    let path = path_of(&webhook);
    let change = async |body: Value| ana.patch_json(&path, body).await.expect(200);

    let same = change(json!({ "headers": { "X-A": "1" } })).await;
    assert_eq!(same["version"], 1, "the same again changes nothing");
    let other = change(json!({ "headers": { "X-A": "2" } })).await;
    assert_eq!(other["version"], 2);
    let kept = change(json!({ "description": "x" })).await;
    assert_eq!(kept["headerNames"], json!(["x-a"]));
    let cleared = change(json!({ "headers": null })).await;
    assert_eq!(cleared["headerNames"], json!([]));

    let limited = change(json!({ "rateLimitPerMinute": 60, "timeoutSeconds": 30 })).await;
    assert_eq!(limited["rateLimitPerMinute"], 60);
    let free = change(json!({ "rateLimitPerMinute": null, "timeoutSeconds": null })).await;
    assert!(free["rateLimitPerMinute"].is_null() && free["timeoutSeconds"].is_null());

    let asymmetric = change(json!({ "signatures": ["v1", "v1a"] })).await;
    let key = asymmetric["publicKey"].clone();
    assert!(key.is_string());
    let again = change(json!({ "signatures": ["v1", "v1a"], "schedule": "short" })).await;
    assert_eq!(again["publicKey"], key, "the key stays");
    let symmetric = change(json!({ "signatures": ["v1"] })).await;
    assert!(symmetric["publicKey"].is_null());

    let request = ana.request(Method::PATCH, &path);
    let request = request.header("if-match", "\"1\"");
    let stale = ana.send(request.json(&json!({ "ordering": "key" }))).await;
    stale.expect_problem(412, "precondition_failed");
    let ben = app.user("ben").await;
    let foreign = ben.patch_json(&path, json!({ "ordering": "key" })).await;
    foreign.expect_problem(404, "not_found");
    app.finish().await;
}

#[tokio::test]
async fn a_rate_and_an_order_bound_the_jobs_of_an_endpoint() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let plain = create(&ana, json!({})).await;
    // One at a time, until a try succeeds: so with every new order.
    assert_eq!(group(&app, &plain).await, Some((None, Some(1), false)));
    let paced = create(&ana, json!({ "rateLimitPerMinute": 120 })).await;
    let interval = group(&app, &paced).await.unwrap().0;
    assert_eq!(interval, Some(500_000));

    let path = path_of(&paced);
    let change = async |body: Value| {
        ana.patch_json(&path, body).await.expect(200);
        group(&app, &paced).await.unwrap()
    };
    let ordered = change(json!({ "ordering": "endpoint" })).await;
    assert_eq!(ordered, (Some(500_000), Some(1), false));
    let by_key = change(json!({ "ordering": "key" })).await;
    assert_eq!(by_key, (Some(500_000), Some(1), false));
    let free = change(json!({ "ordering": "none", "rateLimitPerMinute": null })).await;
    assert_eq!(free, (None, Some(1), true));
    ana.delete(&path).await.expect(204);
    assert_eq!(group(&app, &paced).await, None);

    for (ordering, limit, order) in [
        ("none", 4, None),
        ("endpoint", 1, Some("")),
        ("key", 4, None::<&str>),
    ] {
        let webhook = create(&ana, json!({ "ordering": ordering })).await;
        app.ocr_completed(&ana, "text").await;
        let key = DeliverWebhook::group(id_of(&webhook));
        let bounds: (i16, Option<String>) =
            sqlx::query_as("SELECT group_limit, order_key FROM jobs WHERE group_key = $1")
                .bind(key)
                .fetch_one(app.database.pool())
                .await
                .unwrap();
        assert_eq!(bounds.0, limit, "{ordering}");
        if ordering != "key" {
            // What an event is about is the catalogue's to say.
            assert_eq!(bounds.1.as_deref(), order, "{ordering}");
        }
        ana.delete(&path_of(&webhook)).await.expect(204);
    }
    app.forget_jobs().await;
    app.finish().await;
}

#[tokio::test]
async fn one_call_switches_an_endpoint_on_and_forgives_it() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let webhook = create(&ana, json!({})).await;
    let (id, path) = (id_of(&webhook), path_of(&webhook));
    let key = DeliverWebhook::group(id);
    for was_on in [false, true] {
        let mut tx = app.begin().await;
        if !was_on {
            let now = app.clock.now();
            let off = webhook::disable(&mut tx, id, URL, "it failed for days", now).await;
            assert!(off.unwrap());
        }
        groups::hold(&mut tx, &key, Duration::from_hours(1))
            .await
            .unwrap();
        tx.commit().await.unwrap();
        sqlx::query(
            "INSERT INTO webhook_states (webhook_id, failing_since, failures, throttles, slowed_until, last_failure_at)
             VALUES ($1, job_now(), 100, 3, job_now() + interval '1 hour', job_now())
             ON CONFLICT (webhook_id) DO UPDATE SET failing_since = excluded.failing_since, failures = excluded.failures,
                 throttles = excluded.throttles, slowed_until = excluded.slowed_until",
        )
        .bind(id.0)
        .execute(app.database.pool())
        .await
        .unwrap();
        let before = ana.get(&path).await.expect(200);
        assert_eq!(before["disabledAt"].is_string(), !was_on);

        let after = ana.patch_json(&path, json!({ "isActive": true })).await;
        let after = after.expect(200);
        assert_eq!(after["isActive"], true);
        assert!(after["disabledReason"].is_null() && after["disabledAt"].is_null());
        let state = webhook::state::find(&app.context.db, id).await;
        let state = state.unwrap().unwrap();
        assert_eq!((state.failures, state.throttles), (0, 0));
        assert!(state.failing_since.is_none() && state.slowed_until.is_none());
        assert!(state.last_failure_at.is_some(), "what happened is known");
        let held: bool =
            sqlx::query_scalar("SELECT not_before IS NOT NULL FROM job_groups WHERE key = $1")
                .bind(&key)
                .fetch_one(app.database.pool())
                .await
                .unwrap();
        assert!(!held);
    }
    app.finish().await;
}

#[tokio::test]
async fn only_administrators_hear_of_everybody() {
    let app = TestApp::spawn().await;
    let (ana, ben) = (app.user("ana").await, app.user("ben").await);
    let body = json!({ "url": URL, "events": ["image.*"], "scope": "all" });
    let refused = ana.post_json(WEBHOOKS, body.clone()).await;
    refused.expect_problem(403, "admin_required");
    let own = create(&ana, json!({})).await;
    let widen = json!({ "scope": "all" });
    let refused = ana.patch_json(&path_of(&own), widen).await;
    refused.expect_problem(403, "admin_required");

    let root = app.user("root").await;
    let root = app.promote(&root).await;
    let all = root.post_json(WEBHOOKS, body).await.expect(201);
    assert_eq!(all["scope"], "all");
    create(&root, json!({})).await;
    let (ben, root_id) = (app.id_of(&ben).await, app.id_of(&root).await);
    let db = &app.context.db;
    let found = async |user: UserId, event: &str| -> Vec<WebhookId> {
        let found = webhook::find_subscribed_admins(db, user, event).await;
        found.unwrap().iter().map(|to| to.id).collect()
    };
    assert_eq!(found(ben, "image.ocr_failed").await, [id_of(&all)]);
    assert!(found(ben, "message.created").await.is_empty());
    assert!(
        found(root_id, "image.ocr_failed").await.is_empty(),
        "their own come the usual way"
    );
    let own = webhook::find_subscribed(db, root_id, "image.ocr_failed").await;
    assert_eq!(own.unwrap().len(), 2);

    // Who is no administrator any more hears nothing of others.
    sqlx::query("UPDATE users SET role = 'user' WHERE id = $1")
        .bind(root_id.0)
        .execute(app.database.pool())
        .await
        .unwrap();
    assert!(found(ben, "image.ocr_failed").await.is_empty());
    let row = user::find(db, root_id).await.unwrap().unwrap();
    assert_eq!(row.role, user::Role::User);
    app.finish().await;
}
