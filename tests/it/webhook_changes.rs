//! Webhooks that are changed, one too many, and those whose delivery runs meanwhile.

use reqwest::Method;
use serde_json::{Value, json};
use tests::{
    Actor, Options, Reply, TestApp,
    fakes::{held_receiver::HeldReceiver, receiver::Receiver},
};

const WEBHOOKS: &str = "/api/v1/webhooks";

fn path_of(webhook: &Value) -> String {
    format!("{WEBHOOKS}/{}", webhook["id"].as_str().unwrap())
}

async fn patch_if(actor: &Actor, path: &str, etag: &str, body: Value) -> Reply {
    let request = actor.request(Method::PATCH, path).json(&body);
    actor.send(request.header("if-match", etag)).await
}

/// The only delivery: its status, its error, and the codes of its tries.
async fn delivery(app: &TestApp) -> (String, Option<String>, Vec<i16>) {
    let sql = "SELECT d.status, d.error, array_remove(array_agg(a.status_code ORDER BY a.attempt), NULL)
                 FROM deliveries d LEFT JOIN delivery_attempts a ON a.delivery_id = d.id GROUP BY d.id";
    sqlx::query_as(sql)
        .fetch_one(app.database.pool())
        .await
        .unwrap()
}

#[tokio::test]
async fn what_is_said_of_an_endpoint_can_be_changed() {
    let app = TestApp::spawn().await;
    let (ana, ben) = (app.user("ana").await, app.user("ben").await);
    let receiver = Receiver::start().await;
    let created = ana.webhook("http://127.0.0.1:9/").await;
    let path = path_of(&created);
    app.advance(std::time::Duration::from_secs(1)).await;
    let body = json!({
        "url": receiver.url(), "events": ["image.ocr_failed", "image.ocr_failed"], "description": "mine",
        "isActive": false,
    });
    let changed = ana.patch_json(&path, body.clone()).await;
    assert_eq!(changed.headers["etag"], "\"2\"");
    let changed = changed.expect(200);
    assert_eq!(changed["url"], receiver.url());
    assert_eq!(changed["events"], json!(["image.ocr_failed"]));
    assert_eq!(changed["description"], "mine");
    assert_eq!(
        (&changed["isActive"], &changed["version"]),
        (&json!(false), &json!(2))
    );
    assert_ne!(changed["updatedAt"], created["updatedAt"]);
    assert!(changed.get("secret").is_none());
    assert_eq!(ana.get(&path).await.expect(200), changed);
    assert_eq!(
        ana.patch_json(&path, body).await.expect(200),
        changed,
        "the same again changes nothing"
    );

    let cleared = ana.patch_json(&path, json!({ "description": null })).await;
    let cleared = cleared.expect(200);
    assert!(cleared["description"].is_null());
    assert_eq!(cleared["url"], receiver.url(), "the rest is left alone");

    // Off: nothing is sent. On, with one event only: that one is.
    app.ocr_failed(&ana, "no").await;
    app.run_jobs().await;
    assert!(receiver.requests().await.is_empty());
    ana.patch_json(&path, json!({ "isActive": true }))
        .await
        .expect(200);
    app.ocr_failed(&ana, "no").await;
    app.ocr_completed(&ana, "yes").await;
    app.run_jobs().await;
    assert_eq!(receiver.requests().await.len(), 1);

    let change = json!({ "isActive": false });
    ben.patch_json(&path, change.clone())
        .await
        .expect_problem(404, "not_found");
    app.anonymous()
        .patch_json(&path, change)
        .await
        .expect_problem(401, "unauthenticated");
    assert_eq!(ana.get(&path).await.expect(200)["isActive"], true);
    app.finish().await;
}

#[tokio::test]
async fn a_bad_change_is_refused_with_its_reason() {
    let app = TestApp::with(Options {
        outbound_allow: Some("127.0.0.0/8".to_owned()),
        ..Options::default()
    })
    .await;
    let ana = app.user("ana").await;
    let created = ana.webhook("http://127.0.0.1:9/").await;
    let path = path_of(&created);
    for (body, fields) in [
        (json!({}), vec![""]),
        (
            json!({ "url": null, "isActive": null }),
            vec!["/isActive", "/url"],
        ),
        (
            json!({ "url": "nowhere", "events": [], "isActive": "no", "secret": "x" }),
            vec!["/events", "/isActive", "/secret", "/url"],
        ),
        (
            json!({ "description": "x".repeat(501) }),
            vec!["/description"],
        ),
        (json!({ "description": "a\u{0}b" }), vec!["/description"]),
        (json!({ "events": ["image.eaten"] }), vec!["/events/0"]),
    ] {
        let refused = ana.patch_json(&path, body.clone()).await;
        assert_eq!(refused.expect_bad_fields(), fields, "{body}");
    }
    for url in [
        "https://10.0.0.1/",
        "http://169.254.169.254/",
        "ftp://example.com/",
    ] {
        let problem = ana
            .patch_json(&path, json!({ "url": url }))
            .await
            .expect(422);
        assert_eq!(problem["title"], "URL not allowed", "{url}");
    }
    let now = ana.get(&path).await.expect(200);
    assert_eq!((&now["version"], &now["url"]), (&json!(1), &created["url"]));
    app.finish().await;
}

#[tokio::test]
async fn of_two_changes_of_the_same_version_one_is_made() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let path = path_of(&ana.webhook("http://127.0.0.1:9/").await);
    let changes = (0..8).map(|number| {
        let body = json!({ "description": number.to_string() });
        patch_if(&ana, &path, "\"1\"", body)
    });
    let replies = futures::future::join_all(changes).await;
    let (made, refused): (Vec<Reply>, Vec<Reply>) =
        replies.into_iter().partition(|reply| reply.status == 200);
    assert_eq!(made.len(), 1);
    for reply in refused {
        reply.expect_problem(412, "precondition_failed");
    }
    let now = ana.get(&path).await.expect(200);
    assert_eq!(made.into_iter().next().unwrap().expect(200), now);
    assert_eq!(now["version"], 2);
    app.finish().await;
}

#[tokio::test]
async fn a_user_has_twenty_endpoints_at_most() {
    let app = TestApp::spawn().await;
    let (ana, ben) = (app.user("ana").await, app.user("ben").await);
    let body = json!({ "url": "http://127.0.0.1:9/", "events": ["image.ocr_completed"] });
    for _ in 0..18 {
        ana.post_json(WEBHOOKS, body.clone()).await.expect(201);
    }
    // Who has counted waits for this transaction before it inserts: without an order of theirs, all count 18.
    let mut holder = app.database.pool().begin().await.unwrap();
    sqlx::query("LOCK TABLE webhooks IN SHARE ROW EXCLUSIVE MODE")
        .execute(&mut *holder)
        .await
        .unwrap();
    let release = async {
        tests::eventually("five wait", || async {
            let sql = "SELECT count(*) >= 5 FROM pg_stat_activity
                        WHERE datname = current_database() AND wait_event_type = 'Lock'";
            sqlx::query_scalar(sql)
                .fetch_one(app.database.pool())
                .await
                .unwrap()
        })
        .await;
        holder.commit().await.unwrap();
    };
    let creates = (0..5).map(|_| ana.post_json(WEBHOOKS, body.clone()));
    let (replies, ()) = tokio::join!(futures::future::join_all(creates), release);
    let (made, refused): (Vec<Reply>, Vec<Reply>) =
        replies.into_iter().partition(|reply| reply.status == 201);
    assert_eq!(made.len(), 2, "18 and 2 are 20");
    for reply in refused {
        reply.expect_problem(409, "webhook_limit_reached");
    }
    let listed = ana.get(WEBHOOKS).await.expect(200);
    assert_eq!(listed["data"].as_array().unwrap().len(), 20);

    ben.post_json(WEBHOOKS, body.clone()).await.expect(201);
    ana.delete(&path_of(&listed["data"][0])).await.expect(204);
    ana.post_json(WEBHOOKS, body).await.expect(201);
    app.run_jobs().await;
    app.finish().await;
}

#[tokio::test]
async fn an_endpoint_that_was_switched_off_for_410_is_switched_on_again() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let receiver = Receiver::scripted(vec![
        wiremock::ResponseTemplate::new(410),
        wiremock::ResponseTemplate::new(204),
    ])
    .await;
    let path = path_of(&ana.webhook(&receiver.url()).await);
    app.ocr_completed(&ana, "one").await;
    app.run_jobs().await;
    let off = ana.get(&path).await;
    assert_eq!(off.headers["etag"], "\"2\"");
    assert_eq!(
        off.expect(200)["disabledReason"],
        "the endpoint answered 410 Gone"
    );
    // Another change does not switch it on, nor forget the reason.
    let renamed = ana.patch_json(&path, json!({ "description": "x" })).await;
    let renamed = renamed.expect(200);
    assert_eq!(renamed["isActive"], false);
    assert!(renamed["disabledReason"].is_string());
    let on = ana.patch_json(&path, json!({ "isActive": true })).await;
    let on = on.expect(200);
    assert_eq!(on["isActive"], true);
    assert!(on["disabledReason"].is_null());
    app.ocr_completed(&ana, "two").await;
    app.run_jobs().await;
    assert_eq!(receiver.requests().await.len(), 2);
    app.expect_failed(1);
    app.finish().await;
}

#[tokio::test]
async fn a_try_that_runs_is_not_touched_by_a_change_but_the_next_one_is() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let (mut old, new) = (HeldReceiver::start().await, Receiver::start().await);
    let path = path_of(&ana.webhook(&old.url).await);
    app.ocr_completed(&ana, "text").await;
    let moved = async {
        old.arrived().await;
        ana.patch_json(&path, json!({ "url": new.url() }))
            .await
            .expect(200);
        // What was asked before the move says nothing of where it moved to.
        old.answer(410);
    };
    tokio::join!(app.run_due_jobs(), moved);
    let endpoint = ana.get(&path).await.expect(200);
    assert_eq!(endpoint["isActive"], true);
    app.run_jobs().await;
    assert_eq!(new.requests().await.len(), 1);
    assert_eq!(
        delivery(&app).await,
        ("succeeded".to_owned(), None, vec![410, 204])
    );
    app.finish().await;
}

#[tokio::test]
async fn an_endpoint_that_is_switched_off_gets_the_try_that_runs_and_no_other() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let mut receiver = HeldReceiver::start().await;
    let path = path_of(&ana.webhook(&receiver.url).await);
    app.ocr_completed(&ana, "text").await;
    let off = async {
        receiver.arrived().await;
        ana.patch_json(&path, json!({ "isActive": false }))
            .await
            .expect(200);
        receiver.answer(500);
    };
    tokio::join!(app.run_due_jobs(), off);
    app.run_jobs().await;
    let reason = Some("the endpoint is switched off".to_owned());
    assert_eq!(
        delivery(&app).await,
        ("cancelled".to_owned(), reason, vec![500])
    );
    app.finish().await;
}

#[tokio::test]
async fn an_endpoint_that_is_deleted_while_its_delivery_runs_takes_it_along() {
    for answer in [204, 500, 410] {
        let app = TestApp::spawn().await;
        let ana = app.user("ana").await;
        let mut receiver = HeldReceiver::start().await;
        let path = path_of(&ana.webhook(&receiver.url).await);
        app.ocr_completed(&ana, "text").await;
        let deleted = async {
            receiver.arrived().await;
            ana.delete(&path).await.expect(204);
            receiver.answer(answer);
        };
        tokio::join!(app.run_due_jobs(), deleted);
        let (state, attempt, error): (String, i32, Option<String>) = sqlx::query_as(
            "SELECT state, attempt, last_error FROM jobs WHERE kind = 'deliver_webhook'",
        )
        .fetch_one(app.database.pool())
        .await
        .unwrap();
        assert_eq!((state.as_str(), attempt, error), ("succeeded", 1, None));
        let told = ana.get("/api/v1/notifications").await.expect(200);
        assert_eq!(told["data"], json!([]));
        app.run_jobs().await;
        app.finish().await;
    }
}

#[tokio::test]
async fn what_the_former_server_did_is_not_held_against_the_next_one() {
    for ordering in ["none", "endpoint"] {
        let app = TestApp::spawn().await;
        let ana = app.user("ana").await;
        let slow = wiremock::ResponseTemplate::new(429).insert_header("retry-after", "86400");
        let (former, next) = (
            Receiver::answering(slow).await,
            Receiver::answering(wiremock::ResponseTemplate::new(500)).await,
        );
        let path = path_of(&ana.webhook(&former.url()).await);
        app.ocr_completed(&ana, "one").await;
        app.run_due_jobs().await;
        sqlx::query("UPDATE webhook_states SET failing_since = failing_since - interval '6 days'")
            .execute(app.database.pool())
            .await
            .unwrap();
        ana.patch_json(&path, json!({ "url": next.url(), "ordering": ordering }))
            .await
            .expect(200);
        app.ocr_completed(&ana, "two").await;
        app.run_due_jobs().await;
        assert_eq!(former.requests().await.len(), 1);
        let bodies = next.bodies().await;
        let texts: Vec<&Value> = bodies
            .iter()
            .map(|body| &body["data"]["extractedText"])
            .collect();
        assert!(texts.contains(&&json!("two")), "{ordering}: {texts:?}");
        let endpoint = ana.get(&path).await.expect(200);
        assert_eq!(endpoint["isActive"], true, "it failed only now");
        ana.delete(&path).await.expect(204);
        app.run_jobs().await;
        app.finish().await;
    }
}
