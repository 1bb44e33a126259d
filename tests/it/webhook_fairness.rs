//! What endpoints that hang, fail or have a long backlog cost others, and what is known of tries that nobody wants any more.

use std::{collections::BTreeMap, time::Duration};

use serde_json::{Value, json};
use shared::queue::Queue;
use tests::{
    Actor, TestApp, eventually,
    fakes::{held_receiver::HeldReceiver, receiver::Receiver},
    process::PATIENCE,
};
use wiremock::ResponseTemplate;

const WEBHOOKS: &str = "/api/v1/webhooks";
/// Waiting for a later try.
const LATER: &str =
    "SELECT count(*) FROM jobs WHERE kind = 'deliver_webhook' AND run_at > job_now()";

fn path_of(webhook: &Value) -> String {
    format!("{WEBHOOKS}/{}", webhook["id"].as_str().unwrap())
}

/// How many tries at once endpoints bear, those of the oldest first.
async fn bounds(app: &TestApp) -> Vec<i16> {
    let sql = "SELECT g.bound FROM webhooks w JOIN job_groups g ON g.key = 'webhook:' || w.id::text ORDER BY w.id";
    sqlx::query_scalar(sql)
        .fetch_all(app.database.pool())
        .await
        .unwrap()
}

#[tokio::test]
async fn endpoints_that_hang_leave_slots_to_one_that_is_well() {
    let app = TestApp::spawn_live().await;
    let (eve, ben) = (app.user("eve").await, app.user("ben").await);
    let (mut hanging, healthy) = (HeldReceiver::start().await, Receiver::start().await);
    let body = json!({ "url": hanging.url, "events": ["image.*"], "timeoutSeconds": 30 });
    for _ in 0..5 {
        eve.post_json(WEBHOOKS, body.clone()).await.expect(201);
    }
    ben.webhook(&healthy.url()).await;
    for _ in 0..4 {
        app.ocr_completed(&eve, "text").await;
    }
    // Four at once of each of the five would be more than there are slots.
    let worker = app.start_worker_with(|settings| {
        settings.slots = BTreeMap::from([(Queue::Webhook, 8), (Queue::WebhookRetry, 8)]);
    });
    for _ in 0..5 {
        hanging.arrived().await;
    }
    for _ in 0..20 {
        app.ocr_completed(&ben, "text").await;
    }
    eventually("all of the other one arrive", || async {
        healthy.requests().await.len() == 20
    })
    .await;
    eventually("their jobs end", || async {
        app.count_live_jobs().await == 20
    })
    .await;
    let sql = "SELECT count(*) FROM jobs WHERE state = 'running'";
    assert_eq!(app.count(sql).await, 5, "one try at each that hangs");
    let sql = "SELECT count(*) FROM delivery_attempts WHERE status_code <> 204";
    assert_eq!(app.count(sql).await, 0, "a try that hangs has ended");

    for _ in 0..20 {
        hanging.answer(204);
    }
    eventually("all arrive", || async { app.count_live_jobs().await == 0 }).await;
    assert_eq!(bounds(&app).await, [4; 6]);
    worker.shutdown().await;
    app.finish().await;
}

#[tokio::test]
async fn the_last_try_tells_how_many_are_made_at_once() {
    let app = TestApp::spawn().await;
    let (ana, ben) = (app.user("ana").await, app.user("ben").await);
    let receiver = Receiver::scripted(vec![
        ResponseTemplate::new(204),
        ResponseTemplate::new(500),
        ResponseTemplate::new(204),
    ])
    .await;
    let path = path_of(&ana.webhook(&receiver.url()).await);
    assert_eq!(bounds(&app).await, [1]);
    for expected in [4, 1] {
        app.ocr_completed(&ana, "text").await;
        app.run_due_jobs().await;
        assert_eq!(bounds(&app).await, [expected]);
    }
    app.run_jobs().await;
    assert_eq!(bounds(&app).await, [4]);
    // Of another server nothing is known.
    let other = Receiver::start().await;
    ana.patch_json(&path, json!({ "url": other.url() }))
        .await
        .expect(200);
    assert_eq!(bounds(&app).await, [1]);

    // Where all wait for each other there is never more than one.
    let body = json!({ "url": other.url(), "events": ["image.*"], "ordering": "endpoint" });
    ben.post_json(WEBHOOKS, body).await.expect(201);
    app.ocr_completed(&ana, "text").await;
    app.ocr_completed(&ben, "text").await;
    app.run_jobs().await;
    assert_eq!(bounds(&app).await, [4, 1]);
    app.finish().await;
}

#[tokio::test]
async fn what_arrives_at_a_former_url_tells_nothing_of_the_server_that_is_there_now() {
    // Written with others, and alone where something is held against the endpoint.
    for failures in [0_i32, 3] {
        let app = TestApp::spawn().await;
        let ana = app.user("ana").await;
        let (mut former, other) = (HeldReceiver::start().await, Receiver::start().await);
        let path = path_of(&ana.webhook(&former.url).await);
        app.ocr_completed(&ana, "text").await;
        let moved = async {
            former.arrived().await;
            let to = json!({ "url": other.url() });
            ana.patch_json(&path, to).await.expect(200);
            sqlx::query("INSERT INTO webhook_states (webhook_id, failing_since, failures) SELECT id, job_now(), $1 FROM webhooks")
                .bind(failures)
                .execute(app.database.pool())
                .await
                .unwrap();
            former.answer(204);
        };
        tokio::join!(app.run_due_jobs(), moved);
        let deliveries = ana.get(&format!("{path}/deliveries")).await.expect(200);
        assert_eq!(deliveries["data"][0]["status"], "succeeded");
        assert_eq!(bounds(&app).await, [1]);
        let sql = "SELECT failures::bigint FROM webhook_states";
        assert_eq!(app.count(sql).await, i64::from(failures));

        app.ocr_completed(&ana, "text").await;
        app.run_jobs().await;
        assert_eq!(bounds(&app).await, [4]);
        assert_eq!(app.count(sql).await, 0);
        app.finish().await;
    }
}

/// An endpoint with so many deliveries that wait for a later try.
async fn waiting(app: &TestApp, actor: &Actor, receiver: &Receiver, deliveries: i64) -> String {
    let path = path_of(&actor.webhook(&receiver.url()).await);
    for number in 0..deliveries {
        app.ocr_completed(actor, &number.to_string()).await;
    }
    sqlx::query("UPDATE jobs SET run_at = job_now() + interval '1 day'")
        .execute(app.database.pool())
        .await
        .unwrap();
    assert_eq!(app.count(LATER).await, deliveries);
    path
}

#[tokio::test]
async fn switching_on_hastens_a_long_backlog_in_pages() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let receiver = Receiver::start().await;
    let path = waiting(&app, &ana, &receiver, 450).await;
    let on = json!({ "isActive": true });
    ana.patch_json(&path, on.clone()).await.expect(200);
    assert_eq!(app.count(LATER).await, 250, "the request takes a page");
    ana.patch_json(&path, on).await.expect(200);
    let sql = "SELECT count(*) FROM jobs WHERE kind = 'hasten_deliveries'";
    assert_eq!(app.count(sql).await, 1, "one job has the others");
    app.run_due_jobs().await;
    assert_eq!(receiver.requests().await.len(), 450);
    app.finish().await;
}

#[tokio::test]
async fn hastening_waits_for_nobody_who_changes_the_endpoint() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let receiver = Receiver::start().await;
    let path = waiting(&app, &ana, &receiver, 210).await;
    ana.patch_json(&path, json!({ "isActive": true }))
        .await
        .expect(200);
    let pool = app.database.pool();
    sqlx::query("DELETE FROM jobs WHERE kind <> 'hasten_deliveries'")
        .execute(pool)
        .await
        .unwrap();
    // Whoever changes it may ask for the same job, and wait for its row.
    let mut changing = pool.begin().await.unwrap();
    sqlx::query("SELECT id FROM webhooks FOR UPDATE")
        .execute(&mut *changing)
        .await
        .unwrap();
    let hastened = tokio::time::timeout(PATIENCE, Box::pin(app.run_due_jobs()));
    assert_eq!(hastened.await.expect("it does not wait"), 1);
    assert_eq!(app.count_live_jobs().await, 0);
    changing.rollback().await.unwrap();
    app.finish().await;
}

#[tokio::test]
async fn nothing_more_is_hastened_at_an_endpoint_that_was_switched_off_again() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let receiver = Receiver::start().await;
    let path = waiting(&app, &ana, &receiver, 210).await;
    for is_active in [true, false] {
        ana.patch_json(&path, json!({ "isActive": is_active }))
            .await
            .expect(200);
    }
    app.run_due_jobs().await;
    assert_eq!(app.count(LATER).await, 10);
    assert_eq!(receiver.requests().await.len(), 0);
    app.advance(Duration::from_hours(24)).await;
    app.run_due_jobs().await;
    app.finish().await;
}

/// Asks for the end of the only delivery's job.
async fn cancel(app: &TestApp, actor: &Actor) -> String {
    let sql = "SELECT id::text FROM jobs WHERE kind = 'deliver_webhook'";
    let job: String = sqlx::query_scalar(sql)
        .fetch_one(app.database.pool())
        .await
        .unwrap();
    let path = format!("/api/v1/jobs/{job}");
    actor.post(&format!("{path}/cancel")).await.expect(200);
    path
}

#[tokio::test]
async fn an_answer_that_comes_with_a_cancel_is_kept() {
    for (answer, status) in [(204, "succeeded"), (500, "cancelled")] {
        let app = TestApp::spawn().await;
        let ana = app.user("ana").await;
        let mut receiver = HeldReceiver::start().await;
        let path = path_of(&ana.webhook(&receiver.url).await);
        app.ocr_completed(&ana, "text").await;
        let cancelled = async {
            receiver.arrived().await;
            let job = cancel(&app, &ana).await;
            receiver.answer(answer);
            job
        };
        let (_, job) = tokio::join!(app.run_due_jobs(), cancelled);
        assert_eq!(ana.get(&job).await.expect(200)["status"], status);
        let deliveries = ana.get(&format!("{path}/deliveries")).await.expect(200);
        assert_eq!(deliveries["data"][0]["status"], status);
        assert_eq!(only_attempt(&ana, &path).await["statusCode"], answer);
        app.finish().await;
    }
}

/// The attempt at an endpoint of which there is no other.
async fn only_attempt(actor: &Actor, path: &str) -> Value {
    let mut attempts = actor.get(&format!("{path}/attempts")).await.expect(200);
    assert_eq!(attempts["data"].as_array().unwrap().len(), 1);
    attempts["data"][0].take()
}

#[tokio::test]
async fn a_try_that_a_cancel_breaks_off_is_told_of() {
    let app = TestApp::spawn_live().await;
    let ana = app.user("ana").await;
    let mut receiver = HeldReceiver::start().await;
    let path = path_of(&ana.webhook(&receiver.url).await);
    let worker = app.start_worker();
    app.ocr_completed(&ana, "text").await;
    receiver.arrived().await;
    let job = cancel(&app, &ana).await;
    eventually("it is cancelled", || async {
        ana.get(&job).await.expect(200)["status"] == "cancelled"
    })
    .await;
    let attempt = only_attempt(&ana, &path).await;
    assert_eq!(
        (&attempt["statusCode"], &attempt["errorCode"]),
        (&json!(0), &json!("cancelled"))
    );
    worker.shutdown().await;
    app.finish().await;
}

#[tokio::test]
async fn a_cancel_that_was_meant_for_an_earlier_run_costs_no_try() {
    let app = TestApp::spawn_live().await;
    let ana = app.user("ana").await;
    let mut receiver = HeldReceiver::start().await;
    let path = path_of(&ana.webhook(&receiver.url).await);
    let worker = app.start_worker();
    app.ocr_completed(&ana, "text").await;
    receiver.arrived().await;
    let sql = "SELECT id::text FROM jobs WHERE kind = 'deliver_webhook'";
    let job: String = sqlx::query_scalar(sql)
        .fetch_one(app.database.pool())
        .await
        .unwrap();
    let redis = &app.context.redis;
    eventually("it is broken off", || async {
        redis.publish(redis.keys().cancel(), job.clone()).await;
        let sql = "SELECT epoch::bigint FROM jobs WHERE kind = 'deliver_webhook'";
        app.count(sql).await > 1
    })
    .await;
    // Requests that were broken off may take some of them.
    for _ in 0..10 {
        receiver.answer(204);
    }
    eventually("it arrives", || async { app.count_live_jobs().await == 0 }).await;
    assert_eq!(only_attempt(&ana, &path).await["statusCode"], 204);
    let deliveries = ana.get(&format!("{path}/deliveries")).await.expect(200);
    assert_eq!(deliveries["data"][0]["status"], "succeeded");
    worker.shutdown().await;
    app.finish().await;
}
