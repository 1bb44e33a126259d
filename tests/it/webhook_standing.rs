//! Endpoints whose users may hear less than they could when they made them.

use serde_json::{Value, json};
use tests::{Actor, TestApp, fakes::receiver::Receiver};
use wiremock::ResponseTemplate;

const WEBHOOKS: &str = "/api/v1/webhooks";
const OF_ANOTHER: &str = "the endpoint is not sent other users' events any more";

async fn set(app: &TestApp, sql: &'static str, actor: &Actor) {
    sqlx::query(sql)
        .bind(&actor.email)
        .execute(app.database.pool())
        .await
        .unwrap();
}

async fn rename(actor: &Actor, name: &str) {
    let body = json!({ "displayName": name });
    actor.patch_json("/api/v1/users/me", body).await.expect(200);
}

/// Status and error of each delivery, the oldest first.
async fn deliveries(app: &TestApp) -> Vec<(String, Option<String>)> {
    sqlx::query_as("SELECT status, error FROM deliveries ORDER BY created_at, id")
        .fetch_all(app.database.pool())
        .await
        .unwrap()
}

fn cancelled(why: &str) -> (String, Option<String>) {
    ("cancelled".to_owned(), Some(why.to_owned()))
}

#[tokio::test]
async fn who_is_no_administrator_any_more_is_told_nothing_of_others() {
    let app = TestApp::spawn().await;
    let (ana, root) = (app.user("ana").await, app.user("root").await);
    let root = app.promote(&root).await;
    let receiver =
        Receiver::scripted(vec![ResponseTemplate::new(500), ResponseTemplate::new(204)]).await;
    let body = json!({
        "url": receiver.url(), "events": ["user.updated"], "scope": "all", "schedule": "short",
    });
    let webhook = root.post_json(WEBHOOKS, body).await.expect(201);
    let path = format!("{WEBHOOKS}/{}", webhook["id"].as_str().unwrap());
    rename(&ana, "Anna").await;
    app.run_due_jobs().await;
    assert_eq!(receiver.requests().await.len(), 1, "it may hear of ana");

    let demote = "UPDATE users SET role = 'user' WHERE email = $1";
    set(&app, demote, &root).await;
    app.run_jobs().await;
    assert_eq!(deliveries(&app).await, [cancelled(OF_ANOTHER)]);
    let root = app.login(&root).await;
    let listed = root.get(&format!("{path}/deliveries")).await.expect(200);
    let told: &Value = &listed["data"][0];
    assert_eq!(told["errorMessage"], OF_ANOTHER);
    let resend = format!("{path}/deliveries/{}/resend", told["id"].as_str().unwrap());
    let refused = root.post(&resend).await;
    refused.expect_problem(409, "event_of_another_user");

    // Nor by way of a recovery.
    sqlx::query("UPDATE deliveries SET status = 'failed'")
        .execute(app.database.pool())
        .await
        .unwrap();
    let since = json!({ "since": app.clock.now() - chrono::TimeDelta::hours(1) });
    let recover = root.post_json(&format!("{path}/recover"), since).await;
    recover.expect(202);
    app.run_jobs().await;
    assert_eq!(deliveries(&app).await, [cancelled(OF_ANOTHER)]);
    assert_eq!(receiver.requests().await.len(), 1);

    // What is their own arrives.
    rename(&ana, "Ana").await;
    rename(&root, "Root").await;
    app.run_jobs().await;
    let bodies = receiver.bodies().await;
    assert_eq!(bodies.len(), 2);
    assert_eq!(bodies[1]["data"]["displayName"], "Root");

    // And again with their right.
    let root = app.promote(&root).await;
    root.post(&resend).await.expect(202);
    app.run_jobs().await;
    assert_eq!(receiver.requests().await.len(), 3);
    app.finish().await;
}

#[tokio::test]
async fn who_is_suspended_is_told_nothing() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let receiver = Receiver::start().await;
    ana.webhook(&receiver.url()).await;
    app.ocr_completed(&ana, "text").await;
    let suspend = "UPDATE users SET status = 'suspended' WHERE email = $1";
    set(&app, suspend, &ana).await;
    app.run_jobs().await;
    assert!(receiver.requests().await.is_empty());
    let why = "the endpoint's user is suspended";
    assert_eq!(deliveries(&app).await, [cancelled(why)]);
    app.finish().await;
}
