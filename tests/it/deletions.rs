//! Deleting attachments: the row at once, the object as soon as its store can.

use std::time::Duration;

use serde_json::{Value, json};
use shared::{
    ids::{AttachmentId, ConversationId},
    models::{attachment, pending_object},
};
use tests::{
    Actor, Options, TestApp, eventually,
    fakes::receiver::Receiver,
    fixture,
    pdf::{pdf, scan},
    picture,
};

use crate::{downloads::path_of, s3_server::S3Server};

async fn upload(user: &Actor) -> Value {
    user.upload("a.jpg", fixture("two-lines.jpg"), &[])
        .await
        .expect(201)
}

fn path(created: &Value) -> String {
    let id = created["attachment"]["id"].as_str().unwrap();
    format!("/api/v1/attachments/{id}")
}

/// Keys of all objects.
pub(crate) async fn objects(app: &TestApp) -> Vec<String> {
    use futures::TryStreamExt as _;
    let objects: Vec<_> = app.context.storage.list().try_collect().await.unwrap();
    objects.into_iter().map(|object| object.key).collect()
}

async fn redis(app: &TestApp) -> redis::aio::MultiplexedConnection {
    let client = redis::Client::open(app.redis_url.as_str()).unwrap();
    client.get_multiplexed_async_connection().await.unwrap()
}

#[tokio::test]
async fn a_deleted_attachment_is_gone_with_all_there_is_of_it() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let receiver = Receiver::start().await;
    let webhook = json!({ "url": receiver.url(), "events": ["attachment.deleted"] });
    ana.post_json("/api/v1/webhooks", webhook).await.expect(201);
    let created = upload(&ana).await;
    app.run_jobs().await;
    let (path, url) = (path(&created), path_of(&created["attachment"]["url"]));
    let id: AttachmentId = serde_json::from_value(created["attachment"]["id"].clone()).unwrap();
    let mut redis = redis(&app).await;
    let cached = app.context.redis.keys().attachment_text(id);
    let _: () = redis::AsyncCommands::set(&mut redis, &cached, "what was read")
        .await
        .unwrap();

    assert_eq!(ana.delete(&path).await.status, 204);
    ana.get(&path).await.expect_problem(404, "not_found");
    ana.delete(&path).await.expect_problem(404, "not_found");
    app.anonymous()
        .get(&url)
        .await
        .expect_problem(404, "not_found");
    assert_eq!(app.count("SELECT count(*) FROM recognitions").await, 0);
    assert_eq!(
        objects(&app).await.len(),
        4,
        "jobs delete it and its variants"
    );
    app.run_jobs().await;
    assert!(objects(&app).await.is_empty());
    let left: Option<String> = redis::AsyncCommands::get(&mut redis, &cached)
        .await
        .unwrap();
    assert_eq!(left, None);

    let told = receiver.requests().await;
    assert_eq!(told.len(), 1);
    let told: Value = serde_json::from_slice(&told[0].body).unwrap();
    assert_eq!(told["type"], "attachment.deleted");
    assert_eq!(
        told["data"],
        json!({ "attachmentId": id, "conversationId": null, "messageId": null })
    );
    // It is nobody's job, so its user can neither see nor cancel it.
    let jobs = ana.get("/api/v1/jobs?kind=delete_object").await.expect(200);
    assert_eq!(jobs["data"], json!([]));
    app.finish().await;
}

#[tokio::test]
async fn nobody_deletes_anothers_attachment() {
    let app = TestApp::spawn().await;
    let (ana, ben) = (app.user("ana").await, app.user("ben").await);
    let created = upload(&ana).await;
    let path = path(&created);
    ben.delete(&path).await.expect_problem(404, "not_found");
    app.anonymous()
        .delete(&path)
        .await
        .expect_problem(401, "unauthenticated");
    ana.delete("/api/v1/attachments/not-an-id")
        .await
        .expect_problem(404, "not_found");
    app.run_jobs().await;
    assert_eq!(
        ana.get(&path).await.expect(200)["ocr"]["status"],
        "succeeded"
    );
    app.finish().await;
}

#[tokio::test]
async fn a_reading_that_waits_is_cancelled_with_its_attachment() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let receiver = Receiver::start().await;
    ana.webhook(&receiver.url()).await;
    let created = upload(&ana).await;
    assert_eq!(ana.delete(&path(&created)).await.status, 204);
    app.run_jobs().await;
    let job = format!("/api/v1/jobs/{}", created["job"]["id"].as_str().unwrap());
    let job = ana.get(&job).await.expect(200);
    assert_eq!(
        (job["status"].as_str(), job["attempt"].as_i64()),
        (Some("cancelled"), Some(0))
    );
    assert!(receiver.requests().await.is_empty());
    assert!(objects(&app).await.is_empty());
    app.finish().await;
}

#[tokio::test]
async fn a_reading_that_runs_ends_quietly_with_its_attachment() {
    let app = TestApp::spawn_live().await;
    let ana = app.user("ana").await;
    let receiver = Receiver::start().await;
    ana.webhook(&receiver.url()).await;
    let worker = app.start_worker();
    // It takes a while, however fast the machine is.
    let pages = vec![scan(picture("phone-photo.jpg")); 12];
    let created = ana.upload("a.pdf", pdf(&pages), &[]).await.expect(201);
    eventually("it is read", || async {
        app.count_jobs("running").await > 0
    })
    .await;
    assert_eq!(ana.delete(&path(&created)).await.status, 204);
    eventually("nothing is left to do", || async {
        app.count_live_jobs().await == 0
    })
    .await;
    let job = format!("/api/v1/jobs/{}", created["job"]["id"].as_str().unwrap());
    assert_eq!(ana.get(&job).await.expect(200)["status"], "cancelled");
    eventually("nothing is left", || async {
        objects(&app).await.is_empty()
    })
    .await;
    assert!(receiver.requests().await.is_empty());
    assert_eq!(app.count("SELECT count(*) FROM recognitions").await, 0);
    worker.shutdown().await;
    app.finish().await;
}

#[tokio::test]
async fn an_object_goes_as_soon_as_its_store_is_back() {
    let store = S3Server::start().await;
    let app = TestApp::with(Options {
        storage_url: Some(store.url()),
        ..Options::default()
    })
    .await;
    let ana = app.user("ana").await;
    let created = upload(&ana).await;
    app.run_jobs().await;
    store.go_down();
    assert_eq!(ana.delete(&path(&created)).await.status, 204);
    for _ in 0..4 {
        assert_eq!(app.run_due_jobs().await, 4);
        assert_eq!(app.count_jobs("queued").await, 4, "one was given up");
        app.advance(Duration::from_hours(1)).await;
    }
    store.come_back();
    app.run_jobs().await;
    assert!(objects(&app).await.is_empty());
    app.finish().await;
}

#[tokio::test]
async fn an_object_on_whose_job_workers_died_goes_a_day_later() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let created = upload(&ana).await;
    app.run_jobs().await;
    assert_eq!(ana.delete(&path(&created)).await.status, 204);
    // The third worker dies on it.
    sqlx::query(
        "UPDATE jobs SET state = 'running', attempt = 1, epoch = 1, worker_id = 'dead', crash_count = 2,
                lease_until = job_now() WHERE kind = 'delete_object'",
    )
    .execute(app.database.pool())
    .await
    .unwrap();
    app.advance(Duration::from_secs(1)).await;
    assert_eq!(app.sweep().await, 4, "of it and of its variants");
    assert_eq!(app.count_jobs("quarantined").await, 4);

    app.advance(pending_object::GRACE).await;
    assert_eq!(app.sweep_objects().await, 0);
    app.advance(Duration::from_secs(1)).await;
    assert_eq!(app.sweep_objects().await, 4);
    app.run_jobs().await;
    assert!(objects(&app).await.is_empty());
    app.expect_failed(4);
    app.finish().await;
}

#[tokio::test]
async fn nobody_sees_the_attachments_of_a_deleted_conversation() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let conversation = ana.conversation("Plans").await;
    let fields = [("conversationId", conversation.as_str())];
    let created = ana
        .upload("a.jpg", fixture("two-lines.jpg"), &fields)
        .await
        .expect(201);
    app.run_jobs().await;
    let (path, url) = (path(&created), path_of(&created["attachment"]["url"]));
    assert_eq!(app.anonymous().get(&url).await.status, 200);
    let deleted = format!("/api/v1/conversations/{conversation}");
    assert_eq!(ana.delete(&deleted).await.status, 204);

    for gone in [
        ana.get(&path).await,
        ana.post(&format!("{path}/ocr")).await,
        ana.delete(&path).await,
        app.anonymous().get(&url).await,
    ] {
        gone.expect_problem(404, "not_found");
    }
    let listed = ana.get("/api/v1/attachments").await.expect(200);
    assert_eq!(listed["data"], json!([]));
    assert_eq!(
        objects(&app).await.len(),
        4,
        "jobs delete it and its variants"
    );
    app.run_jobs().await;
    assert!(objects(&app).await.is_empty());
    app.finish().await;
}

#[tokio::test]
async fn an_attachment_that_is_being_deleted_is_not_read_again() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let created = upload(&ana).await;
    app.run_jobs().await;
    let mut deleting = app.database.pool().begin().await.unwrap();
    for sql in ["DELETE FROM image_variants", "DELETE FROM attachments"] {
        sqlx::query(sql).execute(&mut *deleting).await.unwrap();
    }
    let ocr = format!("{}/ocr", path(&created));
    let (read, ()) = tokio::join!(ana.post(&ocr), async {
        eventually("it waits for the row", || async {
            let sql = "SELECT count(*) FROM pg_stat_activity
                        WHERE datname = current_database() AND wait_event_type = 'Lock'";
            app.count(sql).await == 1
        })
        .await;
        deleting.commit().await.unwrap();
    });
    read.expect_problem(404, "not_found");
    assert_eq!(app.count_live_jobs().await, 0);
    app.finish().await;
}

#[tokio::test]
async fn the_attachments_of_a_conversation_go_together() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let receiver = Receiver::start().await;
    let webhook = json!({ "url": receiver.url(), "events": ["attachment.deleted"] });
    ana.post_json("/api/v1/webhooks", webhook).await.expect(201);
    let conversation = ConversationId::new();
    let kept = upload(&ana).await;
    app.run_jobs().await;
    for _ in 0..3 {
        let created = upload(&ana).await;
        let id: AttachmentId = serde_json::from_value(created["attachment"]["id"].clone()).unwrap();
        sqlx::query("UPDATE attachments SET conversation_id = $1 WHERE id = $2")
            .bind(conversation.0)
            .bind(id.0)
            .execute(app.database.pool())
            .await
            .unwrap();
    }
    for deleted in [3, 0] {
        let mut tx = app.begin().await;
        let of = attachment::delete_some_of_conversation(&mut tx, conversation).await;
        assert_eq!(of.unwrap(), deleted);
        tx.commit().await.unwrap();
    }
    app.run_jobs().await;
    assert_eq!(app.count("SELECT count(*) FROM attachments").await, 1);
    assert_eq!(objects(&app).await.len(), 4);
    assert_eq!(ana.get(&path(&kept)).await.status, 200);
    assert!(receiver.requests().await.is_empty());
    app.finish().await;
}
