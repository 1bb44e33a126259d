//! Deliveries that are sent again, and what is kept for it.

use std::time::Duration;

use serde_json::{Value, json};
use shared::models::event;
use standardwebhooks::Webhook;
use tests::{Actor, TestApp, fakes::receiver::Receiver};
use wiremock::{Request, ResponseTemplate};

fn deliveries_of(webhook: &Value) -> String {
    format!(
        "/api/v1/webhooks/{}/deliveries",
        webhook["id"].as_str().unwrap()
    )
}

/// The rows of a list, newest first.
async fn list(actor: &Actor, path: &str) -> Vec<Value> {
    let page = actor.get(path).await.expect(200);
    page["data"].as_array().unwrap().clone()
}

fn id(row: &Value) -> &str {
    row["id"].as_str().unwrap()
}

/// Checks a request as the official library does, but for its time, and returns its ids.
fn verified(request: &Request, secret: &Value) -> (String, String) {
    let header = |name: &str| request.headers[name].to_str().unwrap().to_owned();
    let timestamp = header("webhook-timestamp").parse().unwrap();
    let webhook = Webhook::new(secret.as_str().unwrap()).unwrap();
    let expected = webhook
        .sign(&header("webhook-id"), timestamp, &request.body)
        .unwrap();
    assert_eq!(header("webhook-signature"), expected);
    (header("webhook-id"), header("x-baatcheet-delivery-id"))
}

#[tokio::test]
async fn a_delivery_that_failed_is_sent_again_as_itself() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let mut answers = vec![ResponseTemplate::new(500); 3];
    answers.push(ResponseTemplate::new(204));
    let receiver = Receiver::scripted(answers).await;
    let webhook = ana.webhook(&receiver.url()).await;
    app.ocr_completed(&ana, "text").await;
    app.run_jobs().await;
    let path = deliveries_of(&webhook);
    let failed = list(&ana, &path).await.remove(0);
    assert_eq!(failed["status"], "failed");

    let resend = format!("{path}/{}/resend", id(&failed));
    let sent = ana.post(&resend).await.expect(202);
    let delivery = &sent["delivery"];
    assert_eq!(delivery["id"], failed["id"]);
    assert_eq!(delivery["status"], "pending");
    assert_eq!(delivery["nextAttemptAt"], json!(app.clock.now()));
    assert_eq!(delivery["attemptCount"], 3, "what was tried stays known");
    let job = &sent["job"];
    assert_eq!(
        (&job["kind"], &job["status"]),
        (&json!("deliver_webhook"), &json!("queued"))
    );
    assert_eq!(list(&ana, "/api/v1/jobs").await.len(), 1, "the same job");

    app.run_jobs().await;
    let requests = receiver.requests().await;
    assert_eq!(requests.len(), 4);
    let (first, last) = (&requests[0], &requests[3]);
    let ids = verified(last, &webhook["secret"]);
    assert_eq!(ids, verified(first, &webhook["secret"]));
    assert_eq!(last.body, first.body);
    let shown = list(&ana, &path).await;
    assert_eq!(shown.len(), 1);
    assert_eq!(shown[0]["status"], "succeeded");
    assert_eq!(shown[0]["attemptCount"], 4);
    assert!(shown[0]["errorMessage"].is_null());
    app.finish().await;
}

#[tokio::test]
async fn a_delivery_that_arrived_is_sent_again_as_another_one_of_the_same_event() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let receiver = Receiver::start().await;
    let webhook = ana.webhook(&receiver.url()).await;
    app.ocr_completed(&ana, "text").await;
    app.run_jobs().await;
    app.advance(Duration::from_mins(1)).await;
    let path = deliveries_of(&webhook);
    let old = list(&ana, &path).await.remove(0);
    let resend = format!("{path}/{}/resend", id(&old));
    let new = ana.post(&resend).await.expect(202)["delivery"].clone();
    assert_ne!(new["id"], old["id"]);
    for same in ["eventId", "event", "payload", "webhookId"] {
        assert_eq!(new[same], old[same], "{same}");
    }
    app.run_jobs().await;
    let requests = receiver.requests().await;
    assert_eq!(requests.len(), 2);
    let (first, second) = (
        verified(&requests[0], &webhook["secret"]),
        verified(&requests[1], &webhook["secret"]),
    );
    assert_eq!(first.0, second.0, "receivers know the event by its id");
    assert_eq!(second.1, id(&new));
    assert_eq!(requests[0].body, requests[1].body);
    let ids: Vec<Value> = list(&ana, &path)
        .await
        .iter()
        .map(|row| row["id"].clone())
        .collect();
    assert_eq!(ids, [new["id"].clone(), old["id"].clone()]);
    app.finish().await;
}

#[tokio::test]
async fn what_waits_or_has_nowhere_to_go_is_not_sent_again() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let receiver = Receiver::answering(ResponseTemplate::new(500)).await;
    let webhook = ana.webhook(&receiver.url()).await;
    app.ocr_completed(&ana, "text").await;
    let path = deliveries_of(&webhook);
    let resend = format!("{path}/{}/resend", id(&list(&ana, &path).await[0]));
    let waits = ana.post(&resend).await;
    waits.expect_problem(409, "delivery_pending");
    app.run_due_jobs().await;
    let waits = ana.post(&resend).await;
    waits.expect_problem(409, "delivery_pending");
    app.run_jobs().await;

    let endpoint = path.strip_suffix("/deliveries").unwrap();
    let switch = async |on: bool| {
        let body = json!({ "isActive": on });
        ana.patch_json(endpoint, body).await.expect(200)
    };
    switch(false).await;
    let off = ana.post(&resend).await;
    off.expect_problem(409, "webhook_inactive");
    switch(true).await;

    // Several at once: one is taken.
    let resends = (0..6).map(|_| ana.post(&resend));
    let mut statuses: Vec<u16> = futures::future::join_all(resends)
        .await
        .iter()
        .map(|reply| reply.status.as_u16())
        .collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [202, 409, 409, 409, 409, 409]);
    assert_eq!(app.count_live_jobs().await, 1);
    app.run_jobs().await;
    assert_eq!(receiver.requests().await.len(), 6);
    app.expect_failed(1);
    app.finish().await;
}

/// Waits until so many sessions of the product wait for a lock.
async fn waiting(app: &TestApp, sessions: i64) {
    tests::eventually("they wait for the lock", || async {
        let sql = "SELECT count(*) = $1 FROM pg_stat_activity
                    WHERE datname = current_database() AND wait_event_type = 'Lock'";
        sqlx::query_scalar(sql)
            .bind(sessions)
            .fetch_one(app.database.pool())
            .await
            .unwrap()
    })
    .await;
}

#[tokio::test]
async fn a_delivery_whose_job_is_just_put_back_does_not_get_a_second_one() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let receiver = Receiver::answering(ResponseTemplate::new(500)).await;
    let webhook = ana.webhook(&receiver.url()).await;
    app.ocr_completed(&ana, "text").await;
    app.run_jobs().await;
    let path = deliveries_of(&webhook);
    let resend = format!("{path}/{}/resend", id(&list(&ana, &path).await[0]));
    let job = list(&ana, "/api/v1/jobs").await.remove(0);
    let retry = format!("/api/v1/jobs/{}/retry", id(&job));

    let mut holder = app.database.pool().begin().await.unwrap();
    sqlx::query("SELECT FROM jobs FOR UPDATE")
        .execute(&mut *holder)
        .await
        .unwrap();
    let second = async {
        waiting(&app, 1).await;
        let release = async {
            waiting(&app, 2).await;
            holder.commit().await.unwrap();
        };
        tokio::join!(ana.post(&resend), release).0
    };
    let (retried, refused) = tokio::join!(ana.post(&retry), second);
    retried.expect(200);
    refused.expect_problem(409, "delivery_pending");
    assert_eq!(app.count_live_jobs().await, 1);
    app.run_jobs().await;
    assert_eq!(receiver.requests().await.len(), 6);
    app.expect_failed(1);
    app.finish().await;
}

#[tokio::test]
async fn a_delivery_without_a_job_to_put_back_gets_another_one() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let receiver = Receiver::start().await;
    let webhook = ana.webhook(&receiver.url()).await;
    let path = deliveries_of(&webhook);
    let endpoint = path.strip_suffix("/deliveries").unwrap();
    for prune in [false, true] {
        app.ocr_completed(&ana, "text").await;
        for on in [false, true] {
            let body = json!({ "isActive": on });
            ana.patch_json(endpoint, body).await.expect(200);
            // While it is off, the job ends because there is nothing to do.
            app.run_jobs().await;
        }
        let cancelled = list(&ana, &path).await.remove(0);
        assert_eq!(cancelled["status"], "cancelled");
        assert_eq!(cancelled["errorMessage"], "the endpoint is switched off");
        if prune {
            app.forget_jobs().await;
        }
        let resend = format!("{path}/{}/resend", id(&cancelled));
        let resends = (0..4).map(|_| ana.post(&resend));
        let replies = futures::future::join_all(resends).await;
        let taken: Vec<_> = replies
            .into_iter()
            .filter(|reply| reply.status == 202)
            .collect();
        assert_eq!(taken.len(), 1);
        let sent = taken.into_iter().next().unwrap().expect(202);
        assert_eq!(sent["delivery"]["id"], cancelled["id"]);
        assert_eq!(sent["job"]["status"], "queued");
        assert!(sent["delivery"]["nextAttemptAt"].is_string());
        app.run_jobs().await;
        assert_eq!(list(&ana, &path).await[0]["status"], "succeeded");
        app.advance(Duration::from_secs(1)).await;
    }
    assert_eq!(receiver.requests().await.len(), 2);
    app.finish().await;
}

#[tokio::test]
async fn old_events_go_with_their_deliveries_but_not_what_is_sent_again() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let receiver = Receiver::start().await;
    let webhook = ana.webhook(&receiver.url()).await;
    let path = deliveries_of(&webhook);
    for text in ["waits", "resent", "gone 1", "gone 2", "gone 3"] {
        app.ocr_completed(&ana, text).await;
    }
    app.run_jobs().await;
    let all = list(&ana, &path).await;
    sqlx::query("UPDATE deliveries SET status = 'pending' WHERE id = $1")
        .bind(id(&all[4]).parse::<uuid::Uuid>().unwrap())
        .execute(app.database.pool())
        .await
        .unwrap();
    app.advance(Duration::from_hours(30 * 24)).await;
    let ana = app.login(&ana).await;
    let prune = async |limit: u64| -> u64 {
        let mut tx = app.begin().await;
        let before = app.clock.now() - chrono::TimeDelta::days(30);
        let gone = event::prune(&mut tx, before, limit).await.unwrap();
        tx.commit().await.unwrap();
        gone
    };
    assert_eq!(prune(10).await, 0, "they are not older than thirty days");
    app.advance(Duration::from_secs(1)).await;
    let resend = format!("{path}/{}/resend", id(&all[3]));
    ana.post(&resend).await.expect(202);
    app.run_jobs().await;
    let mut pruned = Vec::new();
    for _ in 0..3 {
        pruned.push(prune(2).await);
    }
    // And that the account was made.
    assert_eq!(pruned, [2, 2, 0]);
    let left = list(&ana, &path).await;
    let texts: Vec<&Value> = left
        .iter()
        .map(|row| &row["payload"]["data"]["extractedText"])
        .collect();
    assert_eq!(texts, ["resent", "resent", "waits"]);
    let tries: i64 = sqlx::query_scalar("SELECT count(*) FROM delivery_attempts")
        .fetch_one(app.database.pool())
        .await
        .unwrap();
    assert_eq!(tries, 3, "tries go with their delivery");
    app.finish().await;
}

#[tokio::test]
async fn an_event_that_is_about_to_be_sent_again_is_not_pruned() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    ana.webhook(&Receiver::start().await.url()).await;
    app.ocr_completed(&ana, "text").await;
    app.run_jobs().await;
    sqlx::query("DELETE FROM events WHERE kind = 'user.created'")
        .execute(app.database.pool())
        .await
        .unwrap();
    let event_id: uuid::Uuid = sqlx::query_scalar("SELECT id FROM events")
        .fetch_one(app.database.pool())
        .await
        .unwrap();
    let (mut resending, mut pruning) = (app.begin().await, app.begin().await);
    let event_id = shared::ids::EventId(event_id);
    assert!(event::hold(&mut resending, event_id).await.unwrap());
    let later = app.clock.now() + chrono::TimeDelta::days(1);
    assert_eq!(event::prune(&mut pruning, later, 10).await.unwrap(), 0);
    resending.commit().await.unwrap();
    assert_eq!(event::prune(&mut pruning, later, 10).await.unwrap(), 1);
    pruning.commit().await.unwrap();
    let mut tx = app.begin().await;
    assert!(!event::hold(&mut tx, event_id).await.unwrap());
    app.finish().await;
}
