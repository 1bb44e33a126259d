//! How endpoints do.

use std::time::Duration;

use serde_json::{Value, json};
use tests::{Actor, TestApp, fakes::receiver::Receiver};
use wiremock::ResponseTemplate;

fn path_of(webhook: &Value) -> String {
    format!("/api/v1/webhooks/{}", webhook["id"].as_str().unwrap())
}

fn uuid_of(webhook: &Value) -> uuid::Uuid {
    webhook["id"].as_str().unwrap().parse().unwrap()
}

async fn health(actor: &Actor, webhook: &Value) -> Value {
    let path = format!("{}/health", path_of(webhook));
    actor.get(&path).await.expect(200)
}

#[tokio::test]
async fn an_endpoint_to_which_nothing_was_sent_is_healthy() {
    let app = TestApp::spawn().await;
    let (ana, ben) = (app.user("ana").await, app.user("ben").await);
    let webhook = ana.webhook("http://127.0.0.1:9/").await;
    let expected = json!({
        "webhookId": webhook["id"], "state": "healthy", "successRate": null, "attempts": 0, "p50Ms": null,
        "p95Ms": null, "consecutiveFailures": 0, "failingSince": null, "slowedUntil": null, "lastSuccessAt": null,
        "lastFailureAt": null, "pendingDeliveries": 0,
    });
    assert_eq!(health(&ana, &webhook).await, expected);
    let path = format!("{}/health", path_of(&webhook));
    ben.get(&path).await.expect_problem(404, "not_found");
    let nobody = app.anonymous().get(&path).await;
    nobody.expect_problem(401, "unauthenticated");
    app.finish().await;
}

#[tokio::test]
async fn health_is_told_from_the_latest_attempts() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let answers = [204, 204, 500, 204].map(ResponseTemplate::new);
    let receiver = Receiver::scripted(answers.to_vec()).await;
    let webhook = ana.webhook(&receiver.url()).await;
    let mut times = Vec::new();
    for text in ["1", "2", "3"] {
        app.advance(Duration::from_secs(1)).await;
        times.push(json!(app.clock.now()));
        app.ocr_completed(&ana, text).await;
        app.run_due_jobs().await;
    }
    let told = health(&ana, &webhook).await;
    assert_eq!(
        (&told["attempts"], &told["pendingDeliveries"]),
        (&json!(3), &json!(1))
    );
    assert_eq!(told["successRate"], json!(0.6666));
    assert_eq!(told["lastSuccessAt"], times[1]);
    assert_eq!(told["lastFailureAt"], times[2]);
    let (half, most) = (&told["p50Ms"], &told["p95Ms"]);
    assert!(half.as_i64().unwrap() >= 0 && half.as_i64() <= most.as_i64());

    app.run_jobs().await;
    let told = health(&ana, &webhook).await;
    assert_eq!(
        (&told["attempts"], &told["pendingDeliveries"]),
        (&json!(4), &json!(0))
    );
    assert_eq!(told["successRate"], json!(0.75));
    app.finish().await;
}

#[tokio::test]
async fn no_more_than_a_thousand_attempts_of_a_day_are_looked_at() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let webhook = ana.webhook("http://127.0.0.1:9/").await;
    app.failed_deliveries(webhook["id"].as_str().unwrap(), 1_500)
        .await;
    sqlx::query(
        "INSERT INTO delivery_attempts (id, delivery_id, webhook_id, attempt, status_code, duration_ms, created_at)
         SELECT gen_random_uuid(), id, webhook_id, 1, 204, row_number() OVER (ORDER BY created_at DESC), created_at
           FROM deliveries",
    )
    .execute(app.database.pool())
    .await
    .unwrap();
    let told = health(&ana, &webhook).await;
    assert_eq!(
        (&told["attempts"], &told["successRate"]),
        (&json!(1_000), &json!(1.0))
    );
    assert_eq!((&told["p50Ms"], &told["p95Ms"]), (&json!(500), &json!(950)));

    app.advance(Duration::from_hours(24)).await;
    let ana = app.login(&ana).await;
    let told = health(&ana, &webhook).await;
    assert_eq!(told["attempts"], 0, "they are not of the last day");
    sqlx::query("UPDATE delivery_attempts SET created_at = job_now() WHERE duration_ms <= 2")
        .execute(app.database.pool())
        .await
        .unwrap();
    let told = health(&ana, &webhook).await;
    assert_eq!(told["attempts"], 2, "however old their deliveries are");
    app.finish().await;
}

#[tokio::test]
async fn an_endpoint_is_failing_slowed_or_disabled() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let webhook = ana.webhook("http://127.0.0.1:9/").await;
    sqlx::query(
        "INSERT INTO webhook_states (webhook_id, failing_since, failures, slowed_until, last_success_at, last_failure_at)
         VALUES ($1, job_now() - interval '1 hour', 7, job_now() + interval '1 minute', job_now() - interval '2 hours',
                 job_now())",
    )
    .bind(uuid_of(&webhook))
    .execute(app.database.pool())
    .await
    .unwrap();
    let now = app.clock.now();
    let slowed = health(&ana, &webhook).await;
    assert_eq!(slowed["state"], "slowed");
    assert_eq!(
        slowed["slowedUntil"],
        json!(now + chrono::TimeDelta::minutes(1))
    );
    assert_eq!(slowed["consecutiveFailures"], 7);
    assert_eq!(
        slowed["failingSince"],
        json!(now - chrono::TimeDelta::hours(1))
    );
    assert_eq!(
        slowed["lastSuccessAt"],
        json!(now - chrono::TimeDelta::hours(2))
    );
    assert_eq!(slowed["lastFailureAt"], json!(now));

    app.advance(Duration::from_mins(1)).await;
    let failing = health(&ana, &webhook).await;
    assert_eq!(failing["state"], "failing");
    assert!(failing["slowedUntil"].is_null());

    let switch = async |on: bool| {
        let body = json!({ "isActive": on });
        ana.patch_json(&path_of(&webhook), body).await.expect(200);
    };
    switch(false).await;
    assert_eq!(health(&ana, &webhook).await["state"], "disabled");
    switch(true).await;
    let well = health(&ana, &webhook).await;
    assert_eq!(well["state"], "healthy");
    assert_eq!(well["consecutiveFailures"], 0);
    app.finish().await;
}
