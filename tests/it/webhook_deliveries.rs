//! How an endpoint is tried: when, how often, and when no more.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use tests::{Actor, TestApp, fakes::receiver::Receiver};
use wiremock::ResponseTemplate;

const WEBHOOKS: &str = "/api/v1/webhooks";
const HOUR: u64 = 3600;

async fn endpoint(actor: &Actor, receiver: &Receiver, more: Value) -> String {
    let mut body = json!({ "url": receiver.url(), "events": ["image.*"] });
    for (name, value) in more.as_object().unwrap() {
        body[name] = value.clone();
    }
    let made = actor.post_json(WEBHOOKS, body).await.expect(201);
    made["id"].as_str().unwrap().to_owned()
}

/// Somebody whose key does not expire within days, as a session does.
async fn with_key(app: &TestApp) -> Actor {
    let ana = app.user("ana").await;
    let body = json!({ "name": "test", "scopes": ["read", "write"] });
    let made = ana.post_json("/api/v1/api-keys", body).await.expect(201);
    Actor {
        token: made["key"].as_str().map(str::to_owned),
        ..ana
    }
}

async fn waits(app: &TestApp) -> Vec<f64> {
    let sql = "SELECT created_at FROM delivery_attempts ORDER BY created_at, attempt";
    let tries: Vec<DateTime<Utc>> = sqlx::query_scalar(sql)
        .fetch_all(app.database.pool())
        .await
        .unwrap();
    let pairs = tries.windows(2);
    pairs
        .map(|pair| (pair[1] - pair[0]).as_seconds_f64())
        .collect()
}

async fn column(app: &TestApp, sql: &'static str) -> Vec<Option<String>> {
    sqlx::query_scalar(sql)
        .fetch_all(app.database.pool())
        .await
        .unwrap()
}

#[tokio::test]
async fn ten_tries_are_made_within_three_days() {
    let app = TestApp::spawn().await;
    let ana = with_key(&app).await;
    for status in [500, 301, 404] {
        let receiver = Receiver::answering(ResponseTemplate::new(status)).await;
        let id = endpoint(&ana, &receiver, json!({})).await;
        app.ocr_completed(&ana, "text").await;
        app.run_jobs().await;
        assert_eq!(receiver.requests().await.len(), 10, "{status}");
        let waits = waits(&app).await;
        let expected = [
            5.0, 300.0, 1800.0, 7200.0, 18_000.0, 36_000.0, 50_400.0, 72_000.0, 86_400.0,
        ];
        for (wait, expected) in waits.iter().zip(expected) {
            assert!(
                (0.8..=1.2).contains(&(wait / expected)),
                "{wait} for {expected}"
            );
        }
        sqlx::query("DELETE FROM webhooks WHERE id = $1::uuid")
            .bind(id)
            .execute(app.database.pool())
            .await
            .unwrap();
    }
    app.expect_failed(3);
    app.finish().await;
}

#[tokio::test]
async fn the_short_schedule_has_three_tries() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let receiver = Receiver::answering(ResponseTemplate::new(500)).await;
    endpoint(&ana, &receiver, json!({ "schedule": "short" })).await;
    app.ocr_completed(&ana, "text").await;
    app.run_jobs().await;
    assert_eq!(waits(&app).await, [5.0, 10.0]);
    let job = ana
        .get("/api/v1/jobs?kind=deliver_webhook")
        .await
        .expect(200);
    assert_eq!(job["data"][0]["maxAttempts"], 3);
    app.expect_failed(1);
    app.finish().await;
}

#[tokio::test]
async fn the_endpoint_may_ask_for_a_later_try() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let answers = ["60", "99999999", "soon"]
        .map(|wait| ResponseTemplate::new(500).insert_header("retry-after", wait));
    let receiver = Receiver::scripted(answers.to_vec()).await;
    endpoint(&ana, &receiver, json!({})).await;
    app.ocr_completed(&ana, "text").await;
    app.run_due_jobs().await;
    for seconds in [60, 24 * HOUR] {
        app.advance(Duration::from_secs(seconds - 1)).await;
        assert_eq!(app.run_due_jobs().await, 0, "{seconds}");
        app.advance(Duration::from_secs(1)).await;
        assert_eq!(app.run_due_jobs().await, 1, "{seconds}");
    }
    app.run_jobs().await;
    app.expect_failed(1);
    app.finish().await;
}

#[tokio::test]
async fn an_endpoint_that_asks_for_it_is_left_alone_by_all_deliveries() {
    for status in [429, 502, 504] {
        let app = TestApp::spawn().await;
        let ana = app.user("ana").await;
        let receiver = Receiver::scripted(vec![
            ResponseTemplate::new(status).insert_header("retry-after", "600"),
            ResponseTemplate::new(204),
        ])
        .await;
        let other = Receiver::start().await;
        let id = endpoint(&ana, &receiver, json!({})).await;
        app.ocr_completed(&ana, "one").await;
        app.run_due_jobs().await;
        endpoint(&ana, &other, json!({})).await;
        for text in ["two", "three", "four"] {
            app.ocr_completed(&ana, text).await;
        }
        app.run_due_jobs().await;
        assert_eq!(receiver.requests().await.len(), 1, "{status}");
        assert_eq!(other.requests().await.len(), 3, "others are not slowed");
        let health = ana
            .get(&format!("{WEBHOOKS}/{id}/health"))
            .await
            .expect(200);
        assert_eq!(health["state"], "slowed");
        app.advance(Duration::from_secs(599)).await;
        app.run_due_jobs().await;
        assert_eq!(receiver.requests().await.len(), 1, "{status}");
        app.run_jobs().await;
        assert_eq!(receiver.requests().await.len(), 5, "{status}");
        app.finish().await;
    }
}

#[tokio::test]
async fn a_slow_down_without_a_time_grows() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let receiver = Receiver::answering(ResponseTemplate::new(429)).await;
    endpoint(&ana, &receiver, json!({})).await;
    for text in ["one", "two", "three", "four", "five"] {
        app.ocr_completed(&ana, text).await;
    }
    let mut asked = Vec::new();
    for _ in 0..5 {
        app.run_due_jobs().await;
        asked.push(receiver.requests().await.len());
        app.advance(Duration::from_secs(5)).await;
    }
    // Four at first, as they were on their way; then one or a few, and longer pauses.
    assert!(asked[0] <= 4, "{asked:?}");
    let slowed: DateTime<Utc> = sqlx::query_scalar("SELECT slowed_until FROM webhook_states")
        .fetch_one(app.database.pool())
        .await
        .unwrap();
    assert!(slowed > app.clock.now(), "{asked:?}");
    ana.delete(&format!(
        "{WEBHOOKS}/{}",
        column(&app, "SELECT id::text FROM webhooks").await[0]
            .as_ref()
            .unwrap()
    ))
    .await;
    app.run_jobs().await;
    app.finish().await;
}

/// Ends a product with deliveries that were given up, however many.
async fn finish(app: TestApp) {
    let failed: i64 = sqlx::query_scalar("SELECT count(*) FROM jobs WHERE state = 'failed'")
        .fetch_one(app.database.pool())
        .await
        .unwrap();
    app.expect_failed(failed);
    app.finish().await;
}

/// Lets events happen, one a time, over so many hours.
async fn fail_for(app: &TestApp, actor: &Actor, events: u32, every: Duration) {
    for _ in 0..events {
        app.ocr_completed(actor, "text").await;
        app.run_due_jobs().await;
        app.advance(every).await;
    }
}

#[tokio::test]
async fn an_endpoint_that_takes_nothing_for_five_days_is_switched_off_and_told_of_once() {
    let app = TestApp::spawn().await;
    let ana = with_key(&app).await;
    let receiver = Receiver::answering(ResponseTemplate::new(500)).await;
    let witness = Receiver::start().await;
    let id = endpoint(&ana, &receiver, json!({ "schedule": "short" })).await;
    let body = json!({ "url": witness.url(), "events": ["webhook.disabled"] });
    ana.post_json(WEBHOOKS, body).await.expect(201);
    fail_for(&app, &ana, 5, Duration::from_hours(24)).await;
    let path = format!("{WEBHOOKS}/{id}");
    assert_eq!(ana.get(&path).await.expect(200)["isActive"], true);
    app.ocr_completed(&ana, "text").await;
    app.ocr_completed(&ana, "text").await;
    app.run_jobs().await;
    let off = ana.get(&path).await.expect(200);
    assert_eq!(off["isActive"], false);
    assert_eq!(
        off["disabledReason"],
        "the endpoint took nothing for 5 days"
    );
    assert!(off["disabledAt"].is_string());
    let notifications = ana.get("/api/v1/notifications").await.expect(200);
    let kinds: Vec<&Value> = notifications["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| &row["kind"])
        .collect();
    assert_eq!(
        kinds
            .iter()
            .filter(|kind| **kind == "webhook.disabled")
            .count(),
        1,
        "{kinds:?}"
    );
    let told = witness.requests().await;
    assert_eq!(told.len(), 1);
    let told: Value = serde_json::from_slice(&told[0].body).unwrap();
    assert_eq!(
        (&told["type"], &told["data"]["webhookId"]),
        (&json!("webhook.disabled"), &json!(id))
    );

    // One call, and it begins anew.
    let requests = receiver.requests().await.len();
    let on = ana
        .patch_json(&path, json!({ "isActive": true }))
        .await
        .expect(200);
    assert!(on["disabledReason"].is_null() && on["disabledAt"].is_null());
    app.ocr_completed(&ana, "text").await;
    app.run_due_jobs().await;
    assert_eq!(receiver.requests().await.len(), requests + 1);
    assert_eq!(ana.get(&path).await.expect(200)["isActive"], true);
    app.run_jobs().await;
    finish(app).await;
}

#[tokio::test]
async fn a_success_in_between_keeps_an_endpoint_on() {
    let app = TestApp::spawn().await;
    let ana = with_key(&app).await;
    let mut answers = vec![ResponseTemplate::new(500); 7];
    answers.push(ResponseTemplate::new(204));
    answers.extend(vec![ResponseTemplate::new(500); 3]);
    let receiver = Receiver::scripted(answers).await;
    endpoint(&ana, &receiver, json!({ "schedule": "short" })).await;
    // At the fourth day one is taken; the seventh is not five days later.
    fail_for(&app, &ana, 7, Duration::from_hours(24)).await;
    app.run_jobs().await;
    assert_eq!(
        column(&app, "SELECT disabled_reason FROM webhooks").await,
        [None]
    );
    finish(app).await;
}

#[tokio::test]
async fn a_hundred_failures_in_a_row_switch_it_off_after_a_day_only() {
    let app = TestApp::spawn().await;
    let ana = with_key(&app).await;
    let receiver = Receiver::answering(ResponseTemplate::new(500)).await;
    endpoint(&ana, &receiver, json!({ "schedule": "short" })).await;
    fail_for(&app, &ana, 60, Duration::from_mins(1)).await;
    let failures: i32 = sqlx::query_scalar("SELECT failures FROM webhook_states")
        .fetch_one(app.database.pool())
        .await
        .unwrap();
    assert!(failures >= 100, "{failures}");
    assert_eq!(
        column(&app, "SELECT disabled_reason FROM webhooks").await,
        [None]
    );
    app.advance(Duration::from_hours(23)).await;
    fail_for(&app, &ana, 1, Duration::from_secs(1)).await;
    let off = column(&app, "SELECT disabled_reason FROM webhooks").await;
    assert!(
        off[0].as_ref().unwrap().contains("100 times in a row"),
        "{off:?}"
    );
    app.run_jobs().await;
    finish(app).await;
}

#[tokio::test]
async fn first_tries_have_a_lane_of_their_own() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let receiver =
        Receiver::scripted(vec![ResponseTemplate::new(500), ResponseTemplate::new(204)]).await;
    endpoint(&ana, &receiver, json!({})).await;
    let lane = "SELECT queue FROM jobs WHERE kind = 'deliver_webhook' ORDER BY created_at DESC, id DESC LIMIT 1";
    app.ocr_completed(&ana, "one").await;
    assert_eq!(column(&app, lane).await, [Some("webhook".to_owned())]);
    app.run_due_jobs().await;
    assert_eq!(column(&app, lane).await, [Some("webhook_retry".to_owned())]);
    // What comes while it fails is not put before what is well.
    app.ocr_completed(&ana, "two").await;
    assert_eq!(column(&app, lane).await, [Some("webhook_retry".to_owned())]);
    app.run_jobs().await;
    app.ocr_completed(&ana, "three").await;
    assert_eq!(column(&app, lane).await, [Some("webhook".to_owned())]);
    app.run_jobs().await;
    app.finish().await;
}

#[tokio::test]
async fn a_rate_limit_holds() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let receiver = Receiver::start().await;
    endpoint(&ana, &receiver, json!({ "rateLimitPerMinute": 10 })).await;
    for _ in 0..12 {
        app.ocr_completed(&ana, "text").await;
    }
    app.run_jobs().await;
    assert_eq!(receiver.requests().await.len(), 12);
    for wait in waits(&app).await {
        assert!(wait >= 5.7, "{wait} s"); // a quarter of a second may be caught up with
    }
    app.finish().await;
}

#[tokio::test]
async fn attempts_tell_what_was_sent_and_answered_without_secrets() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let answer = ResponseTemplate::new(500)
        .insert_header("x-trace", "abc")
        .insert_header("set-cookie", "session=hidden")
        .set_body_string("no");
    let receiver = Receiver::scripted(vec![answer, ResponseTemplate::new(204)]).await;
    let id = endpoint(
        &ana,
        &receiver,
        json!({ "headers": { "x-api-key": "very-secret" } }),
    )
    .await;
    app.ocr_completed(&ana, "text").await;
    app.run_jobs().await;
    let attempts = ana
        .get(&format!("{WEBHOOKS}/{id}/attempts"))
        .await
        .expect(200);
    let text = attempts.to_string();
    assert!(
        !text.contains("very-secret") && !text.contains("session=hidden") && !text.contains("v1,"),
        "{text}"
    );
    let (second, first) = (&attempts["data"][0], &attempts["data"][1]);
    assert_eq!(first["errorCode"], "http_status");
    assert_eq!(first["responseHeaders"]["x-trace"], "abc");
    assert_eq!(first["requestHeaders"]["webhook-signature"], "[redacted]");
    assert_eq!(first["requestHeaders"]["x-api-key"], "[redacted]");
    assert_eq!(
        first["requestHeaders"]["x-baatcheet-event"],
        "image.ocr_completed"
    );
    assert_eq!(first["address"], "127.0.0.1");
    assert!(first["tls"].is_null());
    assert_eq!(first["connectionReused"], false);
    assert!(
        first["timings"]["connectMs"].is_u64() && first["timings"]["totalMs"].is_u64(),
        "{first}"
    );
    assert!(second["errorCode"].is_null());
    assert_eq!(second["statusCode"], 204);
    let requests = receiver.requests().await;
    assert_eq!(requests[0].headers["x-api-key"], "very-secret");
    app.finish().await;
}
