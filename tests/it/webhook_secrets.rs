//! Secrets of endpoints: shown once, replaced, and gone when they should be.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use reqwest::Method;
use serde_json::{Value, json};
use shared::{ids::WebhookId, models::webhook};
use standardwebhooks::Webhook;
use tests::{Actor, Reply, TestApp, fakes::receiver::Receiver};

fn path_of(webhook: &Value) -> String {
    format!("/api/v1/webhooks/{}", webhook["id"].as_str().unwrap())
}

/// What requests to an endpoint are signed with now.
async fn secrets(app: &TestApp, endpoint: &Value) -> webhook::Secrets {
    let id: WebhookId = endpoint["id"].as_str().unwrap().parse().unwrap();
    let context = &app.context;
    let row = webhook::find_for_any_user(&context.db, id).await.unwrap();
    let now = app.clock.now();
    row.unwrap()
        .secrets(&context.db, &context.keyring, now)
        .await
        .unwrap()
}

async fn rotate(actor: &Actor, endpoint: &Value, body: Value) -> Value {
    let path = format!("{}/rotate-secret", path_of(endpoint));
    actor.post_json(&path, body).await.expect(200)
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_secret_is_replaced_and_the_old_one_signs_for_a_day() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let receiver = Receiver::start().await;
    let made = ana.webhook(&receiver.url()).await;
    let old = text(&made["secret"]);
    app.advance(Duration::from_secs(1)).await;

    let path = path_of(&made);
    let rotated = ana.post(&format!("{path}/rotate-secret")).await.expect(200);
    let new = text(&rotated["secret"]);
    assert!(new.starts_with("whsec_") && new != old);
    assert_eq!(rotated["kind"], "v1");
    assert!(rotated["publicKey"].is_null());
    let ends = app.clock.now() + TimeDelta::days(1);
    assert_eq!(rotated["previous"]["expiresAt"], json!(ends));
    assert!(secrets(&app, &made).await.v1 == [new.clone(), old.clone()]);
    let shown = ana.get(&path).await;
    assert!(!shown.text.contains("whsec_"));
    assert_eq!(shown.expect(200)["version"], 2);

    let listed = ana.get(&format!("{path}/secrets")).await;
    assert!(!listed.text.contains("whsec_"), "no values");
    let listed = listed.expect(200);
    let rows = listed["data"].as_array().unwrap();
    assert_eq!(rows.len(), 2);
    assert_eq!(rows[0]["id"], rotated["id"]);
    assert!(rows[0]["expiresAt"].is_null());
    assert_eq!(rows[1]["id"], rotated["previous"]["id"]);
    assert_eq!(rows[1]["createdAt"], made["createdAt"]);

    // Requests carry the new one's signature from now on.
    app.ocr_completed(&ana, "text").await;
    app.run_jobs().await;
    let request = &receiver.requests().await[0];
    let header = |name: &str| request.headers[name].to_str().unwrap();
    let timestamp = header("webhook-timestamp").parse().unwrap();
    let signature = Webhook::new(&new)
        .unwrap()
        .sign(header("webhook-id"), timestamp, &request.body)
        .unwrap();
    let mut signatures = header("webhook-signature").split(' ');
    assert!(signatures.any(|one| one == signature));
    let plain = shared::keyring::hmac_sha256(new.as_bytes(), &request.body);
    assert_eq!(header("x-baatcheet-signature"), hex::encode(plain));

    app.advance(Duration::from_hours(24)).await;
    assert!(secrets(&app, &made).await.v1 == [new]);
    let tidied = worker::housekeeping::tidy(&app.context).await.unwrap();
    assert!(tidied >= 1);
    let left: i64 = sqlx::query_scalar("SELECT count(*) FROM webhook_old_secrets")
        .fetch_one(app.database.pool())
        .await
        .unwrap();
    assert_eq!(left, 0);
    app.finish().await;
}

#[tokio::test]
async fn of_two_rotations_of_the_same_version_one_is_made() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let made = ana.webhook("http://127.0.0.1:9/").await;
    let path = format!("{}/rotate-secret", path_of(&made));
    let rotations = (0..8).map(|_| {
        let request = ana.request(Method::POST, &path);
        ana.send(request.header("if-match", "\"1\""))
    });
    let replies = futures::future::join_all(rotations).await;
    let (rotated, refused): (Vec<Reply>, Vec<Reply>) =
        replies.into_iter().partition(|reply| reply.status == 200);
    for reply in refused {
        reply.expect_problem(412, "precondition_failed");
    }
    let mut rotated = rotated.into_iter();
    let first = rotated.next().unwrap();
    assert!(rotated.next().is_none());
    assert_eq!(first.headers["etag"], "\"2\"");
    let first = first.expect(200);
    assert_eq!(first["version"], 2);
    let expected = [text(&first["secret"]), text(&made["secret"])];
    assert!(secrets(&app, &made).await.v1 == expected);
    app.finish().await;
}

#[tokio::test]
async fn a_secret_that_no_key_opens_is_told_and_replaced() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let receiver = Receiver::start().await;
    let made = ana.webhook(&receiver.url()).await;
    let path = path_of(&made);
    sqlx::query("UPDATE webhooks SET secret = set_byte(secret, 20, get_byte(secret, 20) # 1)")
        .execute(app.database.pool())
        .await
        .unwrap();
    let refused = ana.post(&format!("{path}/rotate-secret")).await;
    refused.expect_problem(409, "webhook_secret_unreadable");
    ana.get(&path).await.expect(200);
    ana.get(&format!("{path}/secrets")).await.expect(200);

    app.ocr_completed(&ana, "text").await;
    app.run_jobs().await;
    assert!(receiver.requests().await.is_empty());
    let attempts = ana.get(&format!("{path}/attempts")).await.expect(200);
    let attempts = attempts["data"].as_array().unwrap();
    assert_eq!(attempts.len(), 3, "as its schedule says");
    for attempt in attempts {
        assert_eq!(attempt["errorCode"], "secret_unreadable");
        assert_eq!(attempt["status"], "failed");
        assert_eq!(attempt["statusCode"], 0);
    }
    let at = |attempt: &Value| text(&attempt["createdAt"]).parse::<DateTime<Utc>>();
    for pair in attempts.windows(2) {
        let wait = at(&pair[0]).unwrap() - at(&pair[1]).unwrap();
        assert!(
            wait >= TimeDelta::minutes(1),
            "a worker may get its new key"
        );
    }
    let health = ana.get(&format!("{path}/health")).await.expect(200);
    assert_eq!(health["consecutiveFailures"], 0, "it is not to blame");

    let rotated = rotate(&ana, &made, json!({ "overlapSeconds": 0 })).await;
    assert!(secrets(&app, &made).await.v1 == [text(&rotated["secret"])]);
    let since = json!({ "since": app.clock.now() - TimeDelta::hours(1) });
    let recover = ana.post_json(&format!("{path}/recover"), since).await;
    recover.expect(202);
    app.run_jobs().await;
    assert_eq!(receiver.requests().await.len(), 1);
    app.finish().await;
}

#[tokio::test]
async fn a_secret_that_leaked_ends_at_once_with_those_before_it() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let made = ana.webhook("http://127.0.0.1:9/").await;
    rotate(&ana, &made, json!({ "overlapSeconds": 604_800 })).await;
    assert_eq!(secrets(&app, &made).await.v1.len(), 2);
    let rotated = rotate(&ana, &made, json!({ "overlapSeconds": 0 })).await;
    assert!(rotated["previous"].is_null());
    assert!(secrets(&app, &made).await.v1 == [text(&rotated["secret"])]);
    app.finish().await;
}

#[tokio::test]
async fn ten_former_secrets_sign_at_most() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let made = ana.webhook("http://127.0.0.1:9/").await;
    let mut shown = vec![text(&made["secret"])];
    for _ in 0..10 {
        let rotated = rotate(&ana, &made, json!({ "overlapSeconds": 3600 })).await;
        shown.push(text(&rotated["secret"]));
        app.advance(Duration::from_secs(1)).await;
    }
    let path = format!("{}/rotate-secret", path_of(&made));
    let refused = ana.post(&path).await;
    refused.expect_problem(409, "webhook_secret_limit");
    shown.reverse();
    assert!(secrets(&app, &made).await.v1 == shown, "the newest first");

    // When the first one has ended there is room again.
    app.advance(Duration::from_secs(3590)).await;
    let ana = app.login(&ana).await;
    rotate(&ana, &made, json!({ "overlapSeconds": 1 })).await;
    app.finish().await;
}

#[tokio::test]
async fn a_key_pair_is_replaced_and_never_shown_whole() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let made = ana.webhook("http://127.0.0.1:9/").await;
    let rotate_path = format!("{}/rotate-secret", path_of(&made));
    let none = ana.post_json(&rotate_path, json!({ "kind": "v1a" })).await;
    none.expect_problem(409, "no_signing_key");

    let both = json!({ "signatures": ["v1", "v1a"] });
    let made = ana.patch_json(&path_of(&made), both).await.expect(200);
    let old = secrets(&app, &made).await;
    assert_eq!(old.v1a.len(), 1);
    let rotated = rotate(&ana, &made, json!({ "kind": "v1a" })).await;
    assert!(rotated["secret"].is_null());
    assert_ne!(rotated["publicKey"], made["publicKey"]);
    let now = secrets(&app, &made).await;
    assert!(now.v1 == old.v1, "the shared secret stays");
    assert!(now.v1a.len() == 2 && now.v1a[1] == old.v1a[0]);

    let listed = ana.get(&format!("{}/secrets", path_of(&made))).await;
    for seed in &now.v1a {
        use base64::Engine as _;
        let seed = base64::prelude::BASE64_STANDARD.encode(seed);
        assert!(!listed.text.contains(seed.trim_end_matches('=')));
    }
    let listed = listed.expect(200);
    let keys: Vec<(&Value, &Value)> = listed["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| (&row["kind"], &row["publicKey"]))
        .collect();
    let (v1, v1a) = (json!("v1"), json!("v1a"));
    let expected = [
        (&v1, &Value::Null),
        (&v1a, &rotated["publicKey"]),
        (&v1a, &made["publicKey"]),
    ];
    assert_eq!(keys, expected);

    let single = json!({ "signatures": ["v1"] });
    ana.patch_json(&path_of(&made), single).await.expect(200);
    assert!(secrets(&app, &made).await.v1a.is_empty(), "all keys go");
    app.finish().await;
}

#[tokio::test]
async fn bad_rotations_are_refused() {
    let app = TestApp::spawn().await;
    let (ana, ben) = (app.user("ana").await, app.user("ben").await);
    let made = ana.webhook("http://127.0.0.1:9/").await;
    let path = path_of(&made);
    let rotate_path = format!("{path}/rotate-secret");
    for (body, pointer) in [
        (json!({ "overlapSeconds": 604_801 }), "/overlapSeconds"),
        (json!({ "overlapSeconds": -1 }), "/overlapSeconds"),
        (json!({ "overlapSeconds": "1" }), "/overlapSeconds"),
        (json!({ "kind": "v2" }), "/kind"),
        (json!({ "secret": "mine" }), "/secret"),
    ] {
        let refused = ana.post_json(&rotate_path, body.clone()).await;
        assert_eq!(refused.expect_bad_fields(), [pointer], "{body}");
    }
    let secrets_path = format!("{path}/secrets");
    ben.post(&rotate_path)
        .await
        .expect_problem(404, "not_found");
    ben.get(&secrets_path)
        .await
        .expect_problem(404, "not_found");
    let nobody = app.anonymous();
    let refused = nobody.post(&rotate_path).await;
    refused.expect_problem(401, "unauthenticated");
    let refused = nobody.get(&secrets_path).await;
    refused.expect_problem(401, "unauthenticated");
    assert!(secrets(&app, &made).await.v1 == [text(&made["secret"])]);
    app.finish().await;
}
