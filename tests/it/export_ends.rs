//! How exports end: expired, deleted, cancelled, with their conversation, and while their store is away.

use std::time::Duration;

use serde_json::{Value, json};
use shared::{
    ids::ExportId,
    models::{
        pending_object,
        stored_object::{self, Owner},
    },
};
use tests::{Options, TestApp, eventually, fakes::receiver::Receiver, fixture};

use crate::{
    deletions::objects,
    downloads::path_of,
    exports::{EXPORTS, ask, make, path, say_many},
    s3_server::S3Server,
};

#[tokio::test]
async fn an_export_goes_after_seven_days_with_its_object() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let conversation = ana.conversation("Plans").await;
    let (export, _) = make(&app, &ana, &conversation, json!({ "format": "csv" })).await;
    let path = format!("{EXPORTS}/{}", export["id"].as_str().unwrap());
    app.advance(Duration::from_hours(7 * 24) - Duration::from_secs(1))
        .await;
    let ana = app.login(&ana).await;
    let url = path_of(&ana.get(&path).await.expect(200)["url"]);
    assert_eq!(app.anonymous().get(&url).await.status, 200);
    worker::housekeeping::tidy(&app.context).await.unwrap();
    assert_eq!(app.count("SELECT count(*) FROM exports").await, 1);

    // Nobody sees it any more, tidied away or not.
    app.advance(Duration::from_secs(1)).await;
    ana.get(&path).await.expect_problem(404, "not_found");
    ana.delete(&path).await.expect_problem(404, "not_found");
    app.anonymous()
        .get(&url)
        .await
        .expect_problem(404, "not_found");
    assert_eq!(ana.get(EXPORTS).await.expect(200)["data"], json!([]));
    worker::housekeeping::tidy(&app.context).await.unwrap();
    assert_eq!(app.count("SELECT count(*) FROM exports").await, 0);
    app.run_jobs().await;
    assert!(objects(&app).await.is_empty());
    app.finish().await;
}

#[tokio::test]
async fn an_export_is_deleted_with_its_object_or_its_job() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let conversation = ana.conversation("Plans").await;
    let (export, _) = make(&app, &ana, &conversation, json!({ "format": "csv" })).await;
    let made = format!("{EXPORTS}/{}", export["id"].as_str().unwrap());
    let url = path_of(&export["url"]);
    assert_eq!(ana.delete(&made).await.status, 204);
    ana.get(&made).await.expect_problem(404, "not_found");
    ana.delete(&made).await.expect_problem(404, "not_found");
    app.anonymous()
        .get(&url)
        .await
        .expect_problem(404, "not_found");
    app.run_jobs().await;
    assert!(objects(&app).await.is_empty());

    let waiting = ask(&ana, &conversation, json!({ "format": "csv" })).await;
    assert_eq!(ana.delete(&path(&waiting)).await.status, 204);
    app.run_jobs().await;
    let job = format!("/api/v1/jobs/{}", waiting["job"]["id"].as_str().unwrap());
    assert_eq!(ana.get(&job).await.expect(200)["status"], "cancelled");
    assert!(objects(&app).await.is_empty());
    app.finish().await;
}

#[tokio::test]
async fn an_export_that_is_being_made_is_stopped_when_it_is_deleted() {
    let app = TestApp::spawn_live().await;
    let ana = app.user("ana").await;
    let conversation = ana.conversation("Plans").await;
    say_many(&app, 5_000).await;
    let body = json!({ "format": "pdf", "branch": "all" });
    let created = ask(&ana, &conversation, body).await;
    let job = format!("/api/v1/jobs/{}", created["job"]["id"].as_str().unwrap());
    let worker = app.start_worker();
    eventually("the file is written", || async {
        let job = ana.get(&job).await.expect(200);
        job["progress"].as_i64() >= Some(40)
    })
    .await;
    assert_eq!(ana.delete(&path(&created)).await.status, 204);
    eventually("nothing is left to do", || async {
        app.count_live_jobs().await == 0
    })
    .await;
    assert_eq!(ana.get(&job).await.expect(200)["status"], "cancelled");
    assert!(objects(&app).await.is_empty());
    worker.shutdown().await;
    app.finish().await;
}

#[tokio::test]
async fn a_cancelled_export_says_so_and_can_be_asked_for_again() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let receiver = Receiver::start().await;
    let webhook = json!({ "url": receiver.url(), "events": ["export.completed", "export.failed"] });
    ana.post_json("/api/v1/webhooks", webhook).await.expect(201);
    let conversation = ana.conversation("Plans").await;
    let created = ask(&ana, &conversation, json!({ "format": "csv" })).await;
    let job = format!("/api/v1/jobs/{}", created["job"]["id"].as_str().unwrap());
    ana.post(&format!("{job}/cancel")).await.expect(200);
    let export = ana.get(&path(&created)).await.expect(200);
    assert_eq!(
        (&export["status"], &export["error"]),
        (&json!("cancelled"), &Value::Null)
    );
    assert!(
        receiver.requests().await.is_empty(),
        "the user wanted it so"
    );
    ana.post(&format!("{job}/retry")).await.expect(200);
    app.run_jobs().await;
    assert_eq!(
        ana.get(&path(&created)).await.expect(200)["status"],
        "succeeded"
    );
    app.finish().await;
}

#[tokio::test]
async fn exports_go_with_their_conversation() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let conversation = ana.conversation("Plans").await;
    ana.say(&conversation, "hello").await;
    let (export, _) = make(&app, &ana, &conversation, json!({ "format": "html" })).await;
    let waiting = ask(&ana, &conversation, json!({ "format": "json" })).await;
    let made = format!("{EXPORTS}/{}", export["id"].as_str().unwrap());
    let deleted = format!("/api/v1/conversations/{conversation}");
    assert_eq!(ana.delete(&deleted).await.status, 204);
    for gone in [
        ana.get(&made).await,
        ana.delete(&made).await,
        ana.get(&path(&waiting)).await,
        app.anonymous().get(&path_of(&export["url"])).await,
    ] {
        gone.expect_problem(404, "not_found");
    }
    assert_eq!(ana.get(EXPORTS).await.expect(200)["data"], json!([]));
    app.run_jobs().await;
    assert!(objects(&app).await.is_empty());
    assert_eq!(app.count("SELECT count(*) FROM exports").await, 0);
    assert_eq!(app.count("SELECT count(*) FROM conversations").await, 0);
    app.finish().await;
}

#[tokio::test]
async fn an_export_waits_for_its_store() {
    let store = S3Server::start().await;
    let app = TestApp::with(Options {
        storage_url: Some(store.url()),
        ..Options::default()
    })
    .await;
    let ana = app.user("ana").await;
    let conversation = ana.conversation("Plans").await;
    let created = ask(&ana, &conversation, json!({ "format": "csv" })).await;
    store.go_down();
    assert_eq!(app.run_due_jobs().await, 1);
    let job = format!("/api/v1/jobs/{}", created["job"]["id"].as_str().unwrap());
    let job = ana.get(&job).await.expect(200);
    assert_eq!(job["status"], "retrying", "{job}");
    assert_eq!(
        ana.get(&path(&created)).await.expect(200)["status"],
        "processing"
    );
    store.come_back();
    app.run_jobs().await;
    let export = ana.get(&path(&created)).await.expect(200);
    assert_eq!(export["status"], "succeeded");
    // What the first try left behind is swept away; what the export names is not.
    app.advance(pending_object::GRACE + Duration::from_secs(1))
        .await;
    assert_eq!(app.sweep_objects().await, 1);
    app.run_jobs().await;
    assert_eq!(objects(&app).await.len(), 1);
    app.finish().await;
}

#[tokio::test]
async fn an_object_of_an_export_is_known_to_those_who_look_for_forgotten_ones() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    ana.upload("a.jpg", fixture("two-lines.jpg"), &[])
        .await
        .expect(201);
    let conversation = ana.conversation("Plans").await;
    let (export, _) = make(&app, &ana, &conversation, json!({ "format": "csv" })).await;
    let keys = objects(&app).await;
    // The picture, its three variants and the export.
    assert_eq!(keys.len(), 5);
    let forgotten = pending_object::find_forgotten(&app.context.db, keys.clone()).await;
    assert!(forgotten.unwrap().is_empty());
    let named = stored_object::list(&app.context.db, "", 10).await.unwrap();
    assert_eq!(
        named.iter().map(|(key, _)| key).collect::<Vec<_>>(),
        keys.iter().collect::<Vec<_>>()
    );
    let id: ExportId = serde_json::from_value(export["id"].clone()).unwrap();
    let owner = Owner::ExportId(id);
    assert!(named.iter().any(|(_, named)| *named == owner));
    for key in &keys {
        assert!(stored_object::is_named(&app.context.db, key).await.unwrap());
    }
    app.finish().await;
}
