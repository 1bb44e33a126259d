//! Notifications: when users are told, how often, and what they do with it.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use shared::models::notification::{self, Failure};
use tests::{Actor, TestApp, fakes::receiver::Receiver};
use wiremock::ResponseTemplate;

const NOTIFICATIONS: &str = "/api/v1/notifications";
const UNREAD_COUNT: &str = "/api/v1/notifications/unread-count";

async fn list(actor: &Actor, query: &str) -> Vec<Value> {
    let path = format!("{NOTIFICATIONS}{query}");
    let page = actor.get(&path).await.expect(200);
    page["data"].as_array().unwrap().clone()
}

async fn unread(actor: &Actor) -> i64 {
    let count = actor.get(UNREAD_COUNT).await.expect(200);
    count["unreadCount"].as_i64().unwrap()
}

fn path_of(row: &Value) -> String {
    format!("{NOTIFICATIONS}/{}", row["id"].as_str().unwrap())
}

/// Tells somebody of trouble with a thing.
async fn tell(app: &TestApp, actor: &Actor, topic: &str) {
    let user = app.id_of(actor).await;
    let mut tx = app.begin().await;
    notification::tell_failure(&mut tx, trouble(user, topic), app.clock.now())
        .await
        .unwrap();
    tx.commit().await.unwrap();
}

fn trouble(user: shared::ids::UserId, topic: &str) -> Failure {
    Failure {
        user,
        kind: "test.failed",
        topic: topic.to_owned(),
        title: "It failed",
        body: format!("{topic} failed."),
        data: json!({ "topic": topic }),
    }
}

#[tokio::test]
async fn a_delivery_that_is_given_up_tells_the_endpoints_owner() {
    let app = TestApp::spawn().await;
    let (ana, ben) = (app.user("ana").await, app.user("ben").await);
    let receiver = Receiver::answering(ResponseTemplate::new(500)).await;
    let webhook = ana.webhook(&format!("{}?key=hidden", receiver.url())).await;
    app.ocr_completed(&ana, "text").await;
    app.run_due_jobs().await;
    assert!(list(&ana, "").await.is_empty(), "it is tried again");
    app.run_jobs().await;

    let deliveries = format!(
        "/api/v1/webhooks/{}/deliveries",
        webhook["id"].as_str().unwrap()
    );
    let delivery = ana.get(&deliveries).await.expect(200)["data"][0].clone();
    let rows = list(&ana, "").await;
    let expected = json!([{
        "id": rows[0]["id"],
        "kind": "webhook.delivery_failed",
        "title": "A webhook could not be delivered",
        "body": "image.ocr_completed did not reach 127.0.0.1, and was given up: the endpoint answered 500.",
        "data": {
            "webhookId": webhook["id"], "deliveryId": delivery["id"], "event": "image.ocr_completed",
            "reason": "the endpoint answered 500", "failures": 1,
        },
        "readAt": null,
        "createdAt": delivery["finishedAt"],
        "updatedAt": delivery["finishedAt"],
    }]);
    assert_eq!(json!(rows), expected);
    assert!(list(&ben, "").await.is_empty());
    app.expect_failed(1);
    app.finish().await;
}

#[tokio::test]
async fn an_endpoint_that_goes_on_failing_has_one_unread_notification() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let receiver = Receiver::answering(ResponseTemplate::new(500)).await;
    let (first, second) = (
        ana.webhook(&receiver.url()).await,
        ana.webhook(&receiver.url()).await,
    );
    for _ in 0..2 {
        app.ocr_completed(&ana, "text").await;
        app.run_jobs().await;
    }
    app.advance(Duration::from_secs(1)).await;
    app.ocr_failed(&ana, "why").await;
    app.run_jobs().await;
    let rows = list(&ana, "").await;
    assert_eq!(rows.len(), 2, "one for each endpoint");
    let mut about: Vec<&Value> = rows.iter().map(|row| &row["data"]["webhookId"]).collect();
    about.reverse();
    about.sort_by_key(|id| *id != &first["id"]);
    assert_eq!(about, [&first["id"], &second["id"]]);
    for row in &rows {
        assert_eq!(row["data"]["failures"], 3);
        assert_eq!(row["data"]["event"], "image.ocr_failed", "the latest");
        assert_ne!(row["updatedAt"], row["createdAt"]);
    }

    ana.post(&format!("{}/read", path_of(&rows[0])))
        .await
        .expect(200);
    app.ocr_completed(&ana, "text").await;
    app.run_jobs().await;
    let mut failures: Vec<i64> = list(&ana, "?unread=true")
        .await
        .iter()
        .map(|row| row["data"]["failures"].as_i64().unwrap())
        .collect();
    failures.sort_unstable();
    assert_eq!(failures, [1, 4], "what was read is not counted again");
    assert_eq!(list(&ana, "").await.len(), 3);
    app.expect_failed(8);
    app.finish().await;
}

#[tokio::test]
async fn an_endpoint_that_is_switched_off_tells_so_instead() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let mut answers = vec![ResponseTemplate::new(500); 4];
    answers.push(ResponseTemplate::new(410));
    let receiver = Receiver::scripted(answers).await;
    ana.webhook(&receiver.url()).await;
    for _ in 0..2 {
        app.ocr_completed(&ana, "text").await;
        app.run_jobs().await;
    }
    let rows = list(&ana, "").await;
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0]["kind"], "webhook.disabled");
    assert_eq!(rows[0]["title"], "A webhook was switched off");
    assert_eq!(rows[0]["data"]["failures"], 2);
    let reason = "the endpoint answered 410 Gone and was switched off";
    assert_eq!(rows[0]["data"]["reason"], reason);
    app.expect_failed(2);
    app.finish().await;
}

#[tokio::test]
async fn what_arrives_or_is_cancelled_tells_nobody() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let answers = [500, 204, 500].map(ResponseTemplate::new);
    let receiver = Receiver::scripted(answers.to_vec()).await;
    ana.webhook(&receiver.url()).await;
    app.ocr_completed(&ana, "arrives at the second try").await;
    app.run_jobs().await;
    app.ocr_completed(&ana, "is cancelled").await;
    app.run_due_jobs().await;
    let jobs = ana.get("/api/v1/jobs?status=retrying").await.expect(200);
    let job = jobs["data"][0]["id"].as_str().unwrap();
    ana.post(&format!("/api/v1/jobs/{job}/cancel"))
        .await
        .expect(200);
    assert!(list(&ana, "").await.is_empty());
    app.finish().await;
}

#[tokio::test]
async fn a_job_is_given_up_and_told_together_or_not_at_all() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let receiver = Receiver::answering(ResponseTemplate::new(410)).await;
    let webhook = ana.webhook(&receiver.url()).await;
    let rename = async |from: &str, to: &str| {
        let sql = format!("ALTER TABLE {from} RENAME TO {to}");
        sqlx::query(sqlx::AssertSqlSafe(sql))
            .execute(app.database.pool())
            .await
            .unwrap();
    };
    rename("notifications", "away").await;
    app.ocr_completed(&ana, "text").await;
    app.run_due_jobs().await;
    assert_eq!(receiver.requests().await.len(), 1);
    let path = format!("/api/v1/webhooks/{}", webhook["id"].as_str().unwrap());
    assert_eq!(ana.get(&path).await.expect(200)["isActive"], true);
    let deliveries = ana.get(&format!("{path}/deliveries")).await.expect(200);
    assert_eq!(deliveries["data"][0]["status"], "pending");
    assert_eq!(deliveries["data"][0]["attemptCount"], 0);
    assert_eq!(app.count_jobs("failed").await, 0);

    rename("away", "notifications").await;
    app.run_jobs().await;
    assert_eq!(list(&ana, "").await[0]["kind"], "webhook.disabled");
    app.expect_failed(1);
    app.finish().await;
}

#[tokio::test]
async fn notifications_are_read_and_deleted() {
    let app = TestApp::spawn().await;
    let (ana, ben) = (app.user("ana").await, app.user("ben").await);
    for topic in ["a", "b", "c"] {
        tell(&app, &ana, topic).await;
        app.advance(Duration::from_secs(1)).await;
    }
    let rows = list(&ana, "").await;
    let topics = |rows: &[Value]| -> Vec<String> {
        let topics = rows
            .iter()
            .map(|row| row["data"]["topic"].as_str().unwrap().to_owned());
        topics.collect()
    };
    assert_eq!(topics(&rows), ["c", "b", "a"]);
    assert_eq!(unread(&ana).await, 3);

    let read = format!("{}/read", path_of(&rows[1]));
    let told = ana.post(&read).await.expect(200);
    assert_eq!(told["readAt"], json!(app.clock.now()));
    app.advance(Duration::from_secs(1)).await;
    assert_eq!(
        ana.post(&read).await.expect(200),
        told,
        "the first time counts"
    );
    assert_eq!(unread(&ana).await, 2);
    assert_eq!(topics(&list(&ana, "?unread=true").await), ["c", "a"]);
    assert_eq!(topics(&list(&ana, "?unread=false").await), ["b"]);
    let page = ana
        .get(&format!("{NOTIFICATIONS}?limit=2"))
        .await
        .expect(200);
    let next = page["pagination"]["nextCursor"].as_str().unwrap();
    assert_eq!(
        topics(&list(&ana, &format!("?limit=2&cursor={next}")).await),
        ["a"]
    );

    tell(&app, &ben, "a").await;
    let all = format!("{NOTIFICATIONS}/read-all");
    assert_eq!(ana.post(&all).await.expect(200), json!({ "readCount": 2 }));
    assert_eq!(ana.post(&all).await.expect(200), json!({ "readCount": 0 }));
    assert_eq!((unread(&ana).await, unread(&ben).await), (0, 1));

    ana.delete(&path_of(&rows[0])).await.expect(204);
    let again = ana.delete(&path_of(&rows[0])).await;
    again.expect_problem(404, "not_found");
    assert_eq!(topics(&list(&ana, "").await), ["b", "a"]);
    app.finish().await;
}

#[tokio::test]
async fn nobody_reads_or_deletes_anothers_notifications() {
    let app = TestApp::spawn().await;
    let (ana, ben) = (app.user("ana").await, app.user("ben").await);
    tell(&app, &ana, "a").await;
    let path = path_of(&list(&ana, "").await[0]);
    let read = format!("{path}/read");
    ben.post(&read).await.expect_problem(404, "not_found");
    ben.delete(&path).await.expect_problem(404, "not_found");
    assert_eq!(unread(&ana).await, 1);

    let anonymous = app.anonymous();
    for (method, path) in [
        (Method::GET, NOTIFICATIONS),
        (Method::GET, UNREAD_COUNT),
        (Method::POST, &format!("{NOTIFICATIONS}/read-all")),
        (Method::POST, &read),
        (Method::DELETE, &path),
    ] {
        let reply = anonymous.send(anonymous.request(method, path)).await;
        reply.expect_problem(401, "unauthenticated");
    }
    let bad = format!("{NOTIFICATIONS}?unread=maybe&limit=0&kind=x");
    let fields = ana.get(&bad).await.expect_bad_fields();
    assert_eq!(fields, ["/kind", "/limit", "/unread"]);
    let bad = ana.get(&format!("{NOTIFICATIONS}?cursor=x")).await;
    bad.expect_problem(400, "malformed_request");
    let bad = ana.post(&format!("{NOTIFICATIONS}/x/read")).await;
    bad.expect_problem(404, "not_found");
    app.finish().await;
}

#[tokio::test]
async fn failures_at_the_same_time_are_counted_one_by_one() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let tells = (0..20).map(|_| tell(&app, &ana, "a"));
    futures::future::join_all(tells).await;
    let rows = list(&ana, "").await;
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0]["data"]["failures"], 20);

    // One that is being read when another failure comes.
    let user = app.id_of(&ana).await;
    let mut reading = app.begin().await;
    notification::mark_all_read(&mut reading, user, app.clock.now())
        .await
        .unwrap();
    let read = async {
        tests::eventually("the failure waits for the reader", || async {
            let sql =
                "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database()
                                      AND wait_event_type = 'Lock')";
            sqlx::query_scalar(sql)
                .fetch_one(app.database.pool())
                .await
                .unwrap()
        })
        .await;
        reading.commit().await.unwrap();
    };
    tokio::join!(tell(&app, &ana, "a"), read);
    let rows = list(&ana, "?unread=true").await;
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0]["data"]["failures"], 1);
    app.finish().await;
}

#[tokio::test]
async fn old_notifications_go_unless_they_told_something_new() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    for topic in ["a", "b", "c"] {
        tell(&app, &ana, topic).await;
    }
    app.advance(Duration::from_hours(1)).await;
    let ana = app.login(&ana).await;
    tell(&app, &ana, "b").await;
    let prune = async |limit: u64| -> u64 {
        let mut tx = app.begin().await;
        let gone = notification::prune(&mut tx, app.clock.now(), limit).await;
        tx.commit().await.unwrap();
        gone.unwrap()
    };
    assert_eq!(
        [prune(1).await, prune(10).await, prune(10).await],
        [1, 1, 0]
    );
    let left = list(&ana, "").await;
    assert_eq!(left.len(), 1);
    assert_eq!(left[0]["data"]["topic"], "b");
    app.finish().await;
}
