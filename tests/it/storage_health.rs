//! `/api/health` about the storage.

use rustix::process::Signal;
use tests::{
    Options, TestApp, eventually,
    process::{Process, program},
};

use crate::s3_server::S3Server;

#[tokio::test]
async fn health_tells_of_a_worker_that_sees_another_folder() {
    let app = TestApp::spawn_live().await;
    let nobody = app.anonymous();
    let health = async || nobody.get("/api/health").await.expect(200);
    let worker = app.start_worker();
    eventually("the worker has looked", || async {
        let seen: i64 = sqlx::query_scalar("SELECT count(*) FROM storage_views")
            .fetch_one(app.database.pool())
            .await
            .unwrap();
        seen == 1
    })
    .await;
    eventually("all is well", || async {
        health().await["status"] == "healthy"
    })
    .await;
    assert_eq!(health().await["services"]["storage"]["status"], "healthy");
    worker.shutdown().await;

    let elsewhere = tempfile::tempdir().unwrap();
    let elsewhere = format!("file://{}", elsewhere.path().display());
    let environment = app.environment();
    let mut environment: Vec<(&str, &str)> = environment
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    environment.push(("STORAGE_URL", &elsewhere));
    let mut worker = Process::start(&program("baatcheet-worker"), &[], &environment);
    eventually("the other folder shows", || async {
        health().await["services"]["storage"]["status"] == "degraded"
    })
    .await;
    let told = health().await;
    assert_eq!(told["status"], "degraded");
    let hint = told["services"]["storage"]["hint"].as_str().unwrap();
    assert!(hint.contains("STORAGE_URL"), "{hint}");
    worker.signal(Signal::TERM);
    worker.wait().await;
    // A worker that is gone is forgotten.
    sqlx::query("UPDATE storage_views SET seen_at = seen_at - interval '3 minutes'")
        .execute(app.database.pool())
        .await
        .unwrap();
    assert_eq!(health().await["status"], "healthy");
    app.finish().await;
}

#[tokio::test]
async fn health_tells_of_a_bucket_that_does_not_answer() {
    let server = S3Server::start().await;
    let app = TestApp::with(Options {
        storage_url: Some(server.url()),
        ..Options::default()
    })
    .await;
    let nobody = app.anonymous();
    let storage =
        async || nobody.get("/api/health").await.expect(200)["services"]["storage"].clone();
    assert_eq!(storage().await["status"], "healthy");
    server.go_down();
    assert_eq!(storage().await["status"], "unhealthy");
    assert_eq!(
        nobody.get("/api/health").await.expect(200)["status"],
        "degraded"
    );
    app.finish().await;
}
