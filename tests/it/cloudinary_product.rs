//! The product over an account at Cloudinary.

use std::time::{Duration, Instant};

use tests::{Options, TestApp, eventually, fakes::cloudinary::Cloudinary, fixture};

use crate::storage::{MEBIBYTE, noise, signed_path, status};

async fn app(storage_url: String, live: bool) -> TestApp {
    TestApp::with(Options {
        live,
        storage_url: Some(storage_url),
        ..Options::default()
    })
    .await
}

#[tokio::test]
async fn an_upload_is_read_and_downloaded_over_cloudinary() {
    let server = Cloudinary::start().await;
    let app = app(server.url(), true).await;
    let ana = app.user("ana").await;
    let worker = app.start_worker();
    let created = ana
        .upload("a b&c.jpg", fixture("two-lines.jpg"), &[])
        .await
        .expect(201);
    let id = created["attachment"]["id"].as_str().unwrap();
    let path = format!("/api/v1/attachments/{id}");
    eventually("it is read", || async {
        ana.get(&path).await.expect(200)["ocr"]["status"] == "succeeded"
    })
    .await;
    let attachment = ana.get(&path).await.expect(200);
    let text = attachment["extractedText"].as_str().unwrap();
    assert!(text.contains("4711"), "{text}");

    let url = attachment["url"].as_str().unwrap();
    let reply = reqwest::get(url).await.unwrap();
    assert_eq!(reply.status(), 200);
    assert_eq!(reply.headers()["content-type"], "image/jpeg");
    assert_eq!(
        reply.headers()["content-disposition"],
        "attachment; filename=\"a b_c.jpg\""
    );
    assert_eq!(reply.bytes().await.unwrap(), fixture("two-lines.jpg"));
    let preview = attachment["previewUrl"].as_str().unwrap();
    assert_eq!(status(preview).await, 200);

    assert_eq!(ana.delete(&path).await.status, 204);
    eventually("the object is gone", || async { server.objects() == 0 }).await;
    assert_eq!((status(url).await, status(preview).await), (404, 404));
    worker.shutdown().await;
    app.finish().await;
}

#[tokio::test]
async fn our_own_url_gives_out_a_part_of_an_object_at_cloudinary() {
    let server = Cloudinary::start().await;
    let app = app(server.url(), false).await;
    let ana = app.user("ana").await;
    let created = ana
        .upload("a.jpg", fixture("two-lines.jpg"), &[])
        .await
        .expect(201);
    app.run_jobs().await;
    let id = created["attachment"]["id"].as_str().unwrap();
    // As it was given out before the deployment moved to Cloudinary.
    let path = signed_path(&app, id);
    let get = || app.anonymous().request(reqwest::Method::GET, &path);
    let reply = get().header("range", "bytes=10-19").send().await.unwrap();
    assert_eq!(reply.status(), 206);
    assert_eq!(
        reply.bytes().await.unwrap(),
        fixture("two-lines.jpg")[10..20]
    );
    server.go_down();
    let reply = get().send().await.unwrap();
    tests::Reply::of(reply)
        .await
        .expect_problem(503, "unavailable");
    server.come_back();
    ana.delete(&format!("/api/v1/attachments/{id}")).await;
    app.run_jobs().await;
    assert_eq!(server.objects(), 0);
    app.finish().await;
}

#[tokio::test]
async fn an_upload_to_an_account_that_is_away_may_be_tried_again() {
    let server = Cloudinary::start().await;
    let app = app(server.url(), false).await;
    let ana = app.user("ana").await;
    let mut large = fixture("two-lines.jpg");
    large.extend(noise(7 * MEBIBYTE));
    for (stalls, file) in [
        (false, fixture("two-lines.jpg")),
        (false, large.clone()),
        (true, large),
    ] {
        if stalls {
            server.stall_uploads();
        } else {
            server.go_down();
        }
        let begun = Instant::now();
        let refused = ana.upload("a.jpg", file, &[]).await;
        refused.expect_problem(503, "unavailable");
        assert!(begun.elapsed() < Duration::from_secs(29));
        server.come_back();
    }
    assert_eq!((server.objects(), app.count_live_jobs().await), (0, 0));
    let again = ana.upload("a.jpg", fixture("two-lines.jpg"), &[]).await;
    again.expect(201);
    app.run_jobs().await;
    app.finish().await;
}

#[tokio::test]
async fn what_the_account_does_not_take_is_told_and_a_wrong_secret_is_our_fault() {
    let server = Cloudinary::start().await;
    let app = app(server.url(), false).await;
    let ana = app.user("ana").await;
    server.limit(1000);
    let refused = ana.upload("a.jpg", fixture("two-lines.jpg"), &[]).await;
    let told = refused.expect_problem(415, "unsupported_media_type");
    assert!(
        !told.to_string().contains("1000"),
        "the store's own words: {told}"
    );
    app.finish().await;

    let app = self::app(server.url_with_secret("wrong"), false).await;
    let ana = app.user("ana").await;
    let refused = ana.upload("a.jpg", fixture("two-lines.jpg"), &[]).await;
    refused.expect_problem(500, "internal");
    app.finish().await;
}

#[tokio::test]
async fn health_tells_of_an_account_that_does_not_answer() {
    let server = Cloudinary::start().await;
    let app = app(server.url(), false).await;
    let nobody = app.anonymous();
    let storage =
        async || nobody.get("/api/health").await.expect(200)["services"]["storage"].clone();
    assert_eq!(storage().await["status"], "healthy");
    server.go_down();
    assert_eq!(storage().await["status"], "unhealthy");
    app.finish().await;
}
