//! Endpoints that are deleted, with a long history.

use std::time::Duration;

use serde_json::{Value, json};
use tests::{TestApp, fakes::receiver::Receiver, process::PATIENCE};

fn path_of(webhook: &Value) -> String {
    format!("/api/v1/webhooks/{}", webhook["id"].as_str().unwrap())
}

const DELIVERIES: &str = "SELECT count(*) FROM deliveries";
const WEBHOOKS: &str = "SELECT count(*) FROM webhooks";

#[tokio::test]
async fn a_deleted_endpoint_is_gone_for_everybody_before_its_history_is() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let receiver = Receiver::start().await;
    let body = json!({ "url": receiver.url(), "events": ["*"], "rateLimitPerMinute": 60 });
    let webhook = ana.post_json("/api/v1/webhooks", body).await.expect(201);
    let path = path_of(&webhook);
    app.failed_deliveries(webhook["id"].as_str().unwrap(), 450)
        .await;
    app.ocr_completed(&ana, "text").await;
    let deliveries = format!("{path}/deliveries");
    let failed = ana.get(&format!("{deliveries}?status=failed")).await;
    let failed = failed.expect(200)["data"][0]["id"].clone();
    let delivery = format!("{deliveries}/{}", failed.as_str().unwrap());

    ana.delete(&path).await.expect(204);
    assert_eq!(app.count(DELIVERIES).await, 451, "none goes at once");
    assert_eq!(app.count("SELECT count(*) FROM job_groups").await, 0);
    for gone in [
        path.clone(),
        deliveries.clone(),
        delivery.clone(),
        format!("{delivery}/attempts"),
        format!("{path}/attempts"),
        format!("{path}/health"),
        format!("{path}/secrets"),
        format!("{path}/recoveries"),
    ] {
        ana.get(&gone).await.expect_problem(404, "not_found");
    }
    for gone in ["ping", "rotate-secret"].map(|action| format!("{path}/{action}")) {
        ana.post(&gone).await.expect_problem(404, "not_found");
    }
    let resend = ana.post(&format!("{delivery}/resend")).await;
    resend.expect_problem(404, "not_found");
    let since = json!({ "since": app.clock.now() });
    let recover = ana.post_json(&format!("{path}/recover"), since).await;
    recover.expect_problem(404, "not_found");
    let change = ana.patch_json(&path, json!({ "isActive": true })).await;
    change.expect_problem(404, "not_found");
    let again = ana.delete(&path).await;
    again.expect_problem(404, "not_found");
    let listed = ana.get("/api/v1/webhooks").await.expect(200);
    assert_eq!(listed["data"], json!([]));

    // What happens now makes no delivery, and what waits is not sent.
    app.ocr_completed(&ana, "later").await;
    app.run_jobs().await;
    assert!(receiver.requests().await.is_empty());
    assert_eq!(app.count(DELIVERIES).await, 0);
    assert_eq!(app.count(WEBHOOKS).await, 0);
    let removal = ana.get("/api/v1/jobs?kind=purge_webhook").await.expect(200);
    assert_eq!(removal["data"], json!([]), "it is nobody's job");
    app.finish().await;
}

#[tokio::test]
async fn a_removal_that_broke_off_goes_on() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let webhook = ana.webhook("http://127.0.0.1:9/").await;
    let other = ana.webhook("http://127.0.0.1:9/").await;
    for one in [&webhook, &other] {
        app.failed_deliveries(one["id"].as_str().unwrap(), 450)
            .await;
    }
    // The second slice cannot be removed.
    sqlx::raw_sql(
        "CREATE FUNCTION break_off() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN
             IF (SELECT count(*) FROM deliveries) < 900 THEN RAISE EXCEPTION 'for a test'; END IF;
             RETURN NULL;
         END $$;
         CREATE TRIGGER break_off BEFORE DELETE ON deliveries FOR EACH STATEMENT EXECUTE FUNCTION break_off()",
    )
    .execute(app.database.pool())
    .await
    .unwrap();
    ana.delete(&path_of(&webhook)).await.expect(204);
    app.run_due_jobs().await;
    assert_eq!(app.count(DELIVERIES).await, 700);
    assert_eq!(app.count(WEBHOOKS).await, 2);
    ana.get(&path_of(&webhook))
        .await
        .expect_problem(404, "not_found");

    sqlx::raw_sql("DROP TRIGGER break_off ON deliveries; DROP FUNCTION break_off")
        .execute(app.database.pool())
        .await
        .unwrap();
    app.run_jobs().await;
    assert_eq!(app.count(DELIVERIES).await, 450, "the other's stay");
    assert_eq!(app.count(WEBHOOKS).await, 1);
    app.finish().await;
}

#[tokio::test]
async fn a_removal_waits_for_no_job_that_somebody_has() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let receiver = Receiver::start().await;
    let webhook = ana.webhook(&receiver.url()).await;
    for _ in 0..3 {
        app.ocr_completed(&ana, "text").await;
    }
    let pool = app.database.pool();
    sqlx::query("UPDATE jobs SET run_at = job_now() + interval '1 day'")
        .execute(pool)
        .await
        .unwrap();
    let mut busy = pool.begin().await.unwrap();
    sqlx::query("SELECT id FROM jobs ORDER BY id LIMIT 2 FOR UPDATE")
        .execute(&mut *busy)
        .await
        .unwrap();
    ana.delete(&path_of(&webhook)).await.expect(204);
    let removed = tokio::time::timeout(PATIENCE, Box::pin(app.run_due_jobs()));
    removed.await.expect("nobody is waited for");
    assert_eq!(app.count(DELIVERIES).await, 0);
    assert_eq!(app.count(WEBHOOKS).await, 0);
    let cancelled =
        "SELECT count(*) FROM jobs WHERE state = 'cancelled' AND finished_at IS NOT NULL";
    assert_eq!(app.count(cancelled).await, 1);

    // The others find nothing to do.
    busy.rollback().await.unwrap();
    app.run_jobs().await;
    assert!(receiver.requests().await.is_empty());
    assert_eq!(app.count_live_jobs().await, 0);
    app.finish().await;
}

#[tokio::test]
async fn an_endpoint_whose_removal_was_lost_goes_an_hour_later() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let webhook = ana.webhook("http://127.0.0.1:9/").await;
    ana.delete(&path_of(&webhook)).await.expect(204);
    app.forget_jobs().await;
    app.advance(Duration::from_hours(1)).await;
    worker::housekeeping::tidy(&app.context).await.unwrap();
    assert_eq!(app.count_live_jobs().await, 0, "it is too early");
    app.advance(Duration::from_secs(1)).await;
    worker::housekeeping::tidy(&app.context).await.unwrap();
    assert_eq!(app.count_live_jobs().await, 1);
    app.run_jobs().await;
    assert_eq!(app.count(WEBHOOKS).await, 0);
    app.finish().await;
}
