//! Sending an endpoint again what it has missed.

use std::{collections::BTreeMap, time::Duration};

use rustix::process::Signal;
use serde_json::{Value, json};
use shared::{ids::WebhookId, jobs::DeliverWebhook, queue::groups};
use tests::{Actor, TestApp, eventually, fakes::receiver::Receiver};

const DAY: chrono::TimeDelta = chrono::TimeDelta::days(1);

fn id(row: &Value) -> &str {
    row["id"].as_str().unwrap()
}

fn path_of(webhook: &Value) -> String {
    format!("/api/v1/webhooks/{}", id(webhook))
}

/// Asks for what has failed for a day.
async fn recover(app: &TestApp, actor: &Actor, webhook: &Value) -> Value {
    let path = format!("{}/recover", path_of(webhook));
    let body = json!({ "since": app.clock.now() - DAY });
    actor.post_json(&path, body).await.expect(202)
}

async fn shown(actor: &Actor, recovery: &Value) -> Value {
    let webhook = recovery["webhookId"].as_str().unwrap();
    let path = format!("/api/v1/webhooks/{webhook}/recoveries/{}", id(recovery));
    actor.get(&path).await.expect(200)
}

/// How often each delivery has arrived.
async fn arrivals(receiver: &Receiver) -> BTreeMap<String, u32> {
    let mut arrivals = BTreeMap::new();
    for request in receiver.requests().await {
        let delivery = request.headers["x-baatcheet-delivery-id"].to_str().unwrap();
        *arrivals.entry(delivery.to_owned()).or_default() += 1;
    }
    arrivals
}

/// Checks that so many deliveries have arrived, each of them once.
async fn each_arrived_once(receiver: &Receiver, number: usize) {
    let arrivals = arrivals(receiver).await;
    assert_eq!(arrivals.len(), number);
    assert!(arrivals.values().all(|&times| times == 1), "{arrivals:?}");
}

/// How many are sent again.
async fn resent(app: &TestApp) -> i64 {
    sqlx::query_scalar("SELECT coalesce(sum(resent), 0)::bigint FROM webhook_recoveries")
        .fetch_one(app.database.pool())
        .await
        .unwrap()
}

#[tokio::test]
async fn exactly_what_has_failed_is_sent_again() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let (receiver, other) = (Receiver::start().await, Receiver::start().await);
    let webhook = ana.webhook(&receiver.url()).await;
    let beside = ana.webhook(&other.url()).await;
    app.failed_deliveries(id(&webhook), 7).await;
    app.failed_deliveries(id(&beside), 1).await;
    // One is too old, one is cancelled, one has succeeded and one still waits.
    for (number, change) in [
        (1, "created_at = d.created_at - interval '2 days'"),
        (2, "status = 'cancelled'"),
        (3, "status = 'succeeded'"),
        (4, "status = 'pending', finished_at = NULL"),
    ] {
        let sql = format!(
            "UPDATE deliveries d SET {change} FROM events e
              WHERE e.id = d.event_id AND d.webhook_id = $1 AND e.data ->> 'number' = '{number}'"
        );
        let webhook: uuid::Uuid = id(&webhook).parse().unwrap();
        sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(webhook)
            .execute(app.database.pool())
            .await
            .unwrap();
    }

    let begun = recover(&app, &ana, &webhook).await;
    let recovery = &begun["recovery"];
    assert_eq!(recovery["status"], "running");
    assert!(recovery["found"].is_null() && recovery["finishedAt"].is_null());
    assert_eq!(recovery["jobId"], begun["job"]["id"]);
    assert_eq!(begun["job"]["kind"], "recover_webhook");
    assert_eq!(begun["job"]["status"], "queued");
    app.run_jobs().await;
    each_arrived_once(&receiver, 3).await;
    let numbers: Vec<Value> = receiver
        .bodies()
        .await
        .iter()
        .map(|body| body["data"]["number"].clone())
        .collect();
    assert!(
        [5, 6, 7]
            .iter()
            .all(|number| numbers.contains(&json!(number)))
    );
    assert!(other.requests().await.is_empty());
    let done = shown(&ana, recovery).await;
    assert_eq!(done["status"], "succeeded");
    assert_eq!((&done["found"], &done["resent"]), (&json!(3), &json!(3)));
    assert!(done["finishedAt"].is_string());
    let job = ana
        .get(&format!("/api/v1/jobs/{}", id(&begun["job"])))
        .await;
    let job = job.expect(200);
    assert_eq!(job["result"], json!({ "found": 3, "resent": 3 }));
    assert_eq!(job["progress"], 100);

    // What has arrived is not sent again.
    let again = recover(&app, &ana, &webhook).await;
    assert_ne!(again["recovery"]["id"], recovery["id"]);
    app.run_jobs().await;
    each_arrived_once(&receiver, 3).await;
    assert_eq!(shown(&ana, &again["recovery"]).await["found"], 0);
    let list = format!("{}/recoveries", path_of(&webhook));
    let list = ana.get(&list).await.expect(200);
    assert_eq!(list["data"].as_array().unwrap().len(), 2);
    app.finish().await;
}

#[tokio::test]
async fn what_failed_with_its_own_job_is_put_back_as_it_was() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let receiver = Receiver::start().await;
    let webhook = ana.webhook(&receiver.url()).await;
    app.ocr_completed(&ana, "text").await;
    sqlx::query("UPDATE jobs SET state = 'failed', finished_at = job_now()")
        .execute(app.database.pool())
        .await
        .unwrap();
    sqlx::query("UPDATE deliveries SET status = 'failed', finished_at = job_now()")
        .execute(app.database.pool())
        .await
        .unwrap();
    recover(&app, &ana, &webhook).await;
    app.run_jobs().await;
    each_arrived_once(&receiver, 1).await;
    let deliveries: i64 =
        sqlx::query_scalar("SELECT count(*) FROM jobs WHERE kind = 'deliver_webhook'")
            .fetch_one(app.database.pool())
            .await
            .unwrap();
    assert_eq!(deliveries, 1, "its job stays the only one");
    app.finish().await;
}

#[tokio::test]
async fn an_endpoint_has_one_recovery_at_a_time() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let receiver = Receiver::start().await;
    let webhook = ana.webhook(&receiver.url()).await;
    app.failed_deliveries(id(&webhook), 3).await;
    let all = (0..5).map(|_| recover(&app, &ana, &webhook));
    let all = futures::future::join_all(all).await;
    for one in &all {
        assert_eq!(one["recovery"]["id"], all[0]["recovery"]["id"]);
        assert_eq!(one["job"]["id"], all[0]["job"]["id"]);
    }
    assert_eq!(app.count_live_jobs().await, 1);
    app.run_jobs().await;
    each_arrived_once(&receiver, 3).await;
    app.finish().await;
}

#[tokio::test]
async fn a_recovery_that_broke_off_goes_on_behind_what_it_has_sent() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let receiver = Receiver::start().await;
    let webhook = ana.webhook(&receiver.url()).await;
    app.failed_deliveries(id(&webhook), 450).await;
    let begun = recover(&app, &ana, &webhook).await;
    // The second page cannot be stored.
    sqlx::raw_sql(
        "CREATE FUNCTION break_off() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN RAISE EXCEPTION 'for a test'; END $$;
         CREATE TRIGGER break_off BEFORE UPDATE ON webhook_recoveries FOR EACH ROW
         WHEN (NEW.resent > 200) EXECUTE FUNCTION break_off()",
    )
    .execute(app.database.pool())
    .await
    .unwrap();
    app.run_due_jobs().await;
    let half = shown(&ana, &begun["recovery"]).await;
    assert_eq!(half["status"], "running");
    assert_eq!(
        (&half["found"], &half["resent"]),
        (&json!(450), &json!(200))
    );
    let job = ana
        .get(&format!("/api/v1/jobs/{}", id(&begun["job"])))
        .await;
    assert_eq!(job.expect(200)["status"], "retrying");

    sqlx::raw_sql("DROP TRIGGER break_off ON webhook_recoveries; DROP FUNCTION break_off")
        .execute(app.database.pool())
        .await
        .unwrap();
    app.run_jobs().await;
    each_arrived_once(&receiver, 450).await;
    let done = shown(&ana, &begun["recovery"]).await;
    assert_eq!(done["status"], "succeeded");
    assert_eq!(
        (&done["found"], &done["resent"]),
        (&json!(450), &json!(450))
    );
    app.finish().await;
}

#[tokio::test]
async fn a_recovery_whose_worker_is_killed_half_way_sends_each_once() {
    let app = TestApp::spawn_live().await;
    let ana = app.user("ana").await;
    let receiver = Receiver::start().await;
    let webhook = ana.webhook(&receiver.url()).await;
    app.failed_deliveries(id(&webhook), 450).await;
    // Nothing is tried meanwhile: a try that dies with its worker is made again, which is not what is tested.
    let webhook_id: WebhookId = id(&webhook).parse().unwrap();
    let group = DeliverWebhook::group(webhook_id);
    let mut tx = app.begin().await;
    groups::hold(&mut tx, &group, Duration::from_hours(1))
        .await
        .unwrap();
    tx.commit().await.unwrap();
    // The second page waits for this row.
    let mut holder = app.database.pool().begin().await.unwrap();
    sqlx::query("SELECT FROM deliveries WHERE id = (SELECT id FROM deliveries ORDER BY created_at, id OFFSET 299 LIMIT 1) FOR UPDATE")
        .execute(&mut *holder)
        .await
        .unwrap();
    let begun = recover(&app, &ana, &webhook).await;

    let short = [("JOB_LEASE_SECONDS", "3")];
    let mut victim = app.start_program("baatcheet-worker", &short);
    eventually("the first page is sent again", || async {
        resent(&app).await == 200
    })
    .await;
    eventually("the second one waits", || async {
        let sql = "SELECT count(*) FROM pg_stat_activity
                    WHERE datname = current_database() AND wait_event_type = 'Lock'";
        let waiting: i64 = sqlx::query_scalar(sql)
            .fetch_one(app.database.pool())
            .await
            .unwrap();
        waiting > 0
    })
    .await;
    victim.signal(Signal::KILL);
    assert_eq!(victim.wait().await, None);
    holder.rollback().await.unwrap();

    let mut heir = app.start_program("baatcheet-worker", &short);
    eventually("all are sent again", || async { resent(&app).await == 450 }).await;
    let mut tx = app.begin().await;
    groups::release(&mut tx, &group).await.unwrap();
    tx.commit().await.unwrap();
    eventually("all have arrived", || async {
        let arrived: i64 =
            sqlx::query_scalar("SELECT count(*) FROM deliveries WHERE status = 'succeeded'")
                .fetch_one(app.database.pool())
                .await
                .unwrap();
        arrived == 450 && app.count_live_jobs().await == 0
    })
    .await;
    each_arrived_once(&receiver, 450).await;
    assert_eq!(shown(&ana, &begun["recovery"]).await["status"], "succeeded");
    let crashes: i16 =
        sqlx::query_scalar("SELECT crash_count FROM jobs WHERE kind = 'recover_webhook'")
            .fetch_one(app.database.pool())
            .await
            .unwrap();
    assert_eq!(crashes, 1, "it was killed at work");
    heir.signal(Signal::TERM);
    assert_eq!(heir.wait().await, Some(0));
    app.finish().await;
}

#[tokio::test]
async fn a_recovery_is_stopped_with_its_job_and_goes_on_with_it() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let receiver = Receiver::start().await;
    let webhook = ana.webhook(&receiver.url()).await;
    app.failed_deliveries(id(&webhook), 3).await;
    let begun = recover(&app, &ana, &webhook).await;
    let (recovery, job) = (&begun["recovery"], id(&begun["job"]));
    ana.post(&format!("/api/v1/jobs/{job}/cancel"))
        .await
        .expect(200);
    app.run_jobs().await;
    assert_eq!(shown(&ana, recovery).await["status"], "cancelled");
    assert!(receiver.requests().await.is_empty());

    ana.post(&format!("/api/v1/jobs/{job}/retry"))
        .await
        .expect(200);
    assert_eq!(shown(&ana, recovery).await["status"], "running");
    app.run_jobs().await;
    assert_eq!(shown(&ana, recovery).await["status"], "succeeded");
    each_arrived_once(&receiver, 3).await;
    app.finish().await;
}

#[tokio::test]
async fn a_recovery_ends_with_its_endpoint() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let receiver = Receiver::start().await;
    let (off, gone) = (
        ana.webhook(&receiver.url()).await,
        ana.webhook(&receiver.url()).await,
    );
    for webhook in [&off, &gone] {
        app.failed_deliveries(id(webhook), 2).await;
    }
    let begun = recover(&app, &ana, &off).await;
    recover(&app, &ana, &gone).await;
    ana.patch_json(&path_of(&off), json!({ "isActive": false }))
        .await
        .expect(200);
    ana.delete(&path_of(&gone)).await.expect(204);
    app.run_jobs().await;
    assert!(receiver.requests().await.is_empty());
    assert_eq!(shown(&ana, &begun["recovery"]).await["status"], "failed");
    let job = ana
        .get(&format!("/api/v1/jobs/{}", id(&begun["job"])))
        .await;
    assert_eq!(job.expect(200)["error"], "the endpoint is switched off");

    let again = format!("{}/recover", path_of(&off));
    let body = json!({ "since": app.clock.now() });
    let refused = ana.post_json(&again, body).await;
    refused.expect_problem(409, "webhook_inactive");
    app.expect_failed(1);
    app.finish().await;
}

#[tokio::test]
async fn a_recovery_goes_back_thirty_days_and_is_its_users_only() {
    let app = TestApp::spawn().await;
    let (ana, ben) = (app.user("ana").await, app.user("ben").await);
    let webhook = ana.webhook("http://127.0.0.1:9/").await;
    let other = ana.webhook("http://127.0.0.1:9/").await;
    let path = path_of(&webhook);
    let recover_path = format!("{path}/recover");
    let (now, second) = (app.clock.now(), chrono::TimeDelta::seconds(1));
    for body in [
        json!({ "since": now + second }),
        json!({ "since": now - DAY * 30 - second }),
        json!({ "since": "yesterday" }),
        json!({ "since": null }),
        json!({}),
    ] {
        let refused = ana.post_json(&recover_path, body.clone()).await;
        assert_eq!(refused.expect_bad_fields(), ["/since"], "{body}");
    }
    let body = json!({ "since": now - DAY * 30 });
    let foreign = ben.post_json(&recover_path, body.clone()).await;
    foreign.expect_problem(404, "not_found");
    let nobody = app.anonymous().post_json(&recover_path, body.clone()).await;
    nobody.expect_problem(401, "unauthenticated");

    let begun = ana.post_json(&recover_path, body).await.expect(202);
    let recovery = id(&begun["recovery"]);
    let list = format!("{path}/recoveries");
    let one = format!("{list}/{recovery}");
    for get in [&list, &one] {
        ana.get(get).await.expect(200);
        ben.get(get).await.expect_problem(404, "not_found");
        let nobody = app.anonymous().get(get).await;
        nobody.expect_problem(401, "unauthenticated");
    }
    let elsewhere = format!("{}/recoveries/{recovery}", path_of(&other));
    let elsewhere = ana.get(&elsewhere).await;
    elsewhere.expect_problem(404, "not_found");
    app.run_jobs().await;
    app.finish().await;
}
