//! Uploads while their store is away: the client is told in time, and may try again.

use std::time::{Duration, Instant};

use tests::{Options, TestApp, eventually, fixture};

use crate::{
    s3_server::S3Server,
    storage::{MEBIBYTE, noise},
};

async fn is_refused_while_the_store_is_away(server: &S3Server, app: &TestApp, seconds: u64) {
    let ana = app.user("ana").await;
    // In parts, so that the store is asked before the end of it.
    let mut large = fixture("two-lines.jpg");
    large.extend(noise(7 * MEBIBYTE));
    let begun = Instant::now();
    let refused = ana.upload("a.jpg", large, &[]).await;
    refused.expect_problem(503, "unavailable");
    assert!(begun.elapsed() < Duration::from_secs(seconds));
    server.come_back();
    eventually("no part is left", || async {
        (server.unfinished(), server.parts()) == (0, 0)
    })
    .await;
    assert_eq!(app.count_live_jobs().await, 0);
}

#[tokio::test]
async fn an_upload_to_a_store_that_is_down_may_be_tried_again() {
    let server = S3Server::start().await;
    let app = TestApp::with(Options {
        storage_url: Some(server.url()),
        ..Options::default()
    })
    .await;
    server.go_down();
    let ben = app.user("ben").await;
    let small = ben.upload("a.jpg", fixture("two-lines.jpg"), &[]).await;
    small.expect_problem(503, "unavailable");
    is_refused_while_the_store_is_away(&server, &app, 20).await;
    let again = ben.upload("a.jpg", fixture("two-lines.jpg"), &[]).await;
    again.expect(201);
    app.run_jobs().await;
    app.finish().await;
}

#[tokio::test]
async fn an_upload_to_a_store_that_does_not_answer_is_given_up() {
    let server = S3Server::start().await;
    let app = TestApp::with(Options {
        storage_url: Some(server.url()),
        ..Options::default()
    })
    .await;
    server.stall_parts();
    is_refused_while_the_store_is_away(&server, &app, 29).await;
    app.finish().await;
}

#[tokio::test]
async fn a_store_that_does_not_know_our_key_is_our_fault() {
    let server = S3Server::start().await;
    let app = TestApp::with(Options {
        storage_url: Some(server.url_with_secret("wrong")),
        ..Options::default()
    })
    .await;
    let ana = app.user("ana").await;
    let refused = ana.upload("a.jpg", fixture("two-lines.jpg"), &[]).await;
    refused.expect_problem(500, "internal");
    app.finish().await;
}
