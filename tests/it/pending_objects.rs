//! Objects of uploads that came to nothing: whoever died when, they go.

use std::time::Duration;

use futures::StreamExt as _;
use rustix::process::Signal;
use shared::{clients::storage::Kind, models::pending_object};
use tests::{
    Options, TestApp, eventually, fixture,
    process::{Process, free_port, program},
};

use crate::{
    deletions::objects,
    s3_server::S3Server,
    storage::{MEBIBYTE, begin, noise},
};

/// A process that dies drops nothing: between the last byte and the commit, and in the midst of the bytes.
async fn leave_behind(app: &TestApp) {
    let storage = &app.context.storage;
    let stored = storage.random_key(Kind::Image);
    pending_object::begin(&app.context.db, &stored)
        .await
        .unwrap();
    let upload = begin(storage, &stored, b"one").await;
    upload.finish().await.unwrap().keep();
    let unfinished = storage.random_key(Kind::Image);
    pending_object::begin(&app.context.db, &unfinished)
        .await
        .unwrap();
    std::mem::forget(begin(storage, &unfinished, &noise(12 * MEBIBYTE)).await);
}

async fn what_a_dead_process_left_goes_after_a_day(app: TestApp, unfinished: impl Fn() -> usize) {
    let ana = app.user("ana").await;
    ana.upload("a.jpg", fixture("two-lines.jpg"), &[])
        .await
        .expect(201);
    app.run_jobs().await;
    leave_behind(&app).await;
    // A picture with its variants, and what was left.
    assert_eq!(objects(&app).await.len(), 5);
    assert!(unfinished() > 0);

    app.advance(pending_object::GRACE).await;
    assert_eq!(app.sweep_objects().await, 0, "they may still be written to");
    app.advance(Duration::from_secs(1)).await;
    assert_eq!(app.sweep_objects().await, 2);
    assert_eq!(app.sweep_objects().await, 0);
    app.run_jobs().await;
    assert_eq!(unfinished(), 0);
    let kept: Vec<String> = sqlx::query_scalar(
        "SELECT storage_key FROM attachments UNION SELECT storage_key FROM image_variants ORDER BY 1",
    )
    .fetch_all(app.database.pool())
    .await
    .unwrap();
    assert_eq!(objects(&app).await, kept);
    app.finish().await;
}

#[tokio::test]
async fn what_a_dead_process_left_in_a_folder_goes_after_a_day() {
    let app = TestApp::spawn().await;
    let folder = app.folder.path().join("unfinished");
    let unfinished = move || std::fs::read_dir(&folder).unwrap().count();
    what_a_dead_process_left_goes_after_a_day(app, unfinished).await;
}

#[tokio::test]
async fn what_a_dead_process_left_in_a_bucket_goes_after_a_day() {
    let server = S3Server::start().await;
    let app = TestApp::with(Options {
        storage_url: Some(server.url()),
        ..Options::default()
    })
    .await;
    let unfinished = || server.unfinished() + server.parts();
    what_a_dead_process_left_goes_after_a_day(app, unfinished).await;
}

#[tokio::test]
async fn what_a_killed_api_left_is_found() {
    let app = TestApp::spawn_live().await;
    let ana = app.user("ana").await;
    let environment = app.environment();
    let mut environment: Vec<(&str, &str)> = environment
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    let port = free_port().to_string();
    environment.extend([("PORT", port.as_str()), ("HOST", "127.0.0.1")]);
    let mut api = Process::start(&program("baatcheet-api"), &[], &environment);
    api.wait_for_line("listening on").await;
    let ana = tests::Actor {
        base: format!("http://127.0.0.1:{port}"),
        ..ana
    };

    // A picture whose end never comes.
    let mut head = fixture("two-lines.jpg");
    head.resize(MEBIBYTE, 0);
    let bytes =
        futures::stream::iter([Ok::<_, std::io::Error>(head)]).chain(futures::stream::pending());
    let file = reqwest::multipart::Part::stream(reqwest::Body::wrap_stream(bytes));
    let form = reqwest::multipart::Form::new().part("file", file.file_name("x.jpg"));
    let upload = ana
        .request(reqwest::Method::POST, "/api/v1/attachments")
        .multipart(form)
        .send();
    let folder = app.folder.path().join("unfinished");
    let unfinished = || std::fs::read_dir(&folder).unwrap().count();
    let (uploaded, ()) = tokio::join!(upload, async {
        eventually("it is being written", || async { unfinished() == 1 }).await;
        api.signal(Signal::KILL);
        api.wait().await;
    });
    assert!(uploaded.is_err());
    assert_eq!(unfinished(), 1);

    sqlx::query("UPDATE pending_objects SET created_at = created_at - interval '25 hours'")
        .execute(app.database.pool())
        .await
        .unwrap();
    assert_eq!(app.sweep_objects().await, 1);
    app.run_due_jobs().await;
    assert_eq!(unfinished(), 0);
    app.finish().await;
}

#[tokio::test]
async fn a_refused_upload_leaves_a_row_that_is_swept() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let refused = ana
        .upload("x.jpg", fixture("two-lines.jpg"), &[("colour", "red")])
        .await;
    refused.expect_bad_fields();
    app.advance(pending_object::GRACE + Duration::from_secs(1))
        .await;
    let swept = app.sweep_objects().await;
    assert!(swept <= 1, "{swept} rows of one upload");
    app.run_jobs().await;
    assert!(objects(&app).await.is_empty());
    app.finish().await;
}

#[tokio::test]
async fn an_attachment_is_made_of_a_pending_object_only() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    // Somebody has swept the object before its upload was through.
    sqlx::raw_sql(
        "CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
         CREATE TRIGGER nothing BEFORE INSERT ON pending_objects FOR EACH ROW EXECUTE FUNCTION nothing()",
    )
    .execute(app.database.pool())
    .await
    .unwrap();
    ana.upload("x.jpg", fixture("two-lines.jpg"), &[])
        .await
        .expect_problem(500, "internal");
    eventually("its object is gone", || async {
        objects(&app).await.is_empty()
    })
    .await;
    app.finish().await;
}
