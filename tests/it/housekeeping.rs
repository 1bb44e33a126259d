//! What is tidied away.

use std::time::Duration;

use reqwest::Method;
use serde_json::json;
use tests::{Actor, TestApp};

#[tokio::test]
async fn what_has_expired_is_tidied_away_by_one_worker_at_a_time() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let login = json!({ "email": ana.email, "password": "correct horse battery" });
    let login = ana.post_json("/api/v1/auth/login", login).await.expect(200);
    let spent = json!({ "refreshToken": login["refreshToken"] });
    let session = ana.post_json("/api/v1/auth/refresh", spent).await;
    let ana = Actor {
        token: session.expect(200)["accessToken"]
            .as_str()
            .map(str::to_owned),
        ..ana
    };
    let body = json!({ "name": "k", "scopes": ["read"] });
    let request = ana
        .request(Method::POST, "/api/v1/api-keys")
        .json(&body)
        .header("idempotency-key", "k");
    ana.send(request).await.expect(201);
    let rows = async || -> (i64, i64, i64) {
        sqlx::query_as(
            "SELECT (SELECT count(*) FROM sessions), (SELECT count(*) FROM spent_refresh_tokens),
                    (SELECT count(*) FROM idempotency_keys)",
        )
        .fetch_one(app.database.pool())
        .await
        .unwrap()
    };
    let tidy = || worker::housekeeping::tidy(&app.context);

    assert_eq!(tidy().await.unwrap(), 0);
    app.advance(Duration::from_hours(24)).await;
    assert_eq!(tidy().await.unwrap(), 0);
    app.advance(Duration::from_secs(1)).await;
    assert_eq!(tidy().await.unwrap(), 1);
    assert_eq!(rows().await, (2, 1, 0));

    app.advance(Duration::from_hours(30 * 24)).await;
    let mut other = app.database.pool().begin().await.unwrap();
    sqlx::query("SELECT pg_advisory_xact_lock(25187, 1)")
        .execute(&mut *other)
        .await
        .unwrap();
    assert_eq!(tidy().await.unwrap(), 0, "another worker does it");
    other.rollback().await.unwrap();
    // The login, both of its tokens, and that the account was made.
    assert_eq!(tidy().await.unwrap(), 4);
    assert_eq!(rows().await, (0, 0, 0));
    app.finish().await;
}

#[tokio::test]
async fn history_older_than_thirty_days_is_tidied_away() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    ana.webhook("http://127.0.0.1:9/").await;
    app.ocr_completed(&ana, "old").await;
    app.trouble(&ana).await;
    sqlx::query("UPDATE deliveries SET status = 'failed'")
        .execute(app.database.pool())
        .await
        .unwrap();
    let rows = async || -> (i64, i64, i64) {
        sqlx::query_as(
            "SELECT (SELECT count(*) FROM events), (SELECT count(*) FROM deliveries),
                    (SELECT count(*) FROM notifications)",
        )
        .fetch_one(app.database.pool())
        .await
        .unwrap()
    };
    let before = rows().await;
    assert_eq!((before.1, before.2), (1, 1));

    app.advance(Duration::from_hours(30 * 24)).await;
    worker::housekeeping::tidy(&app.context).await.unwrap();
    assert_eq!(rows().await, before, "they are thirty days old, not older");
    app.advance(Duration::from_secs(1)).await;
    worker::housekeeping::tidy(&app.context).await.unwrap();
    assert_eq!(rows().await, (0, 0, 0));
    app.forget_jobs().await;
    app.finish().await;
}
