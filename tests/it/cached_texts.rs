//! Texts that Redis keeps: of their reading only, and no longer than their attachment lives.

use shared::{attachment_text, ids::AttachmentId};
use tests::{Options, TestApp, eventually, process::RedisServer};

use crate::{
    deletions::objects,
    readings::{get, typed, upload},
};

/// Waits for Redis, which programs start without.
async fn redis_is_up(app: &TestApp) {
    eventually("redis is connected", || async {
        app.context.redis.is_up()
            && app.anonymous().get("/api/health").await.expect(200)["status"] == "healthy"
    })
    .await;
}

#[tokio::test]
async fn a_text_is_kept_in_redis_until_it_is_read_again() {
    let app = TestApp::spawn().await;
    redis_is_up(&app).await;
    let (db, redis) = (&app.context.db, &app.context.redis);
    let ana = app.user("ana").await;
    let id = upload(&ana, "two-lines.jpg", &[]).await;
    let kept = || async { attachment_text::get(redis, typed(&id), 1).await };
    assert_eq!(kept().await, None);
    app.run_jobs().await;
    let text = get(&ana, &id).await["extractedText"].clone();
    assert_eq!(kept().await.as_deref(), text.as_str());
    assert_eq!(
        attachment_text::get(redis, typed(&id), 2).await,
        None,
        "of another reading"
    );

    // It is read from there, and put back when it is gone.
    attachment_text::put(db, redis, typed(&id), 1, "from redis").await;
    assert_eq!(get(&ana, &id).await["extractedText"], "from redis");
    attachment_text::remove(redis, typed(&id)).await.unwrap();
    assert_eq!(get(&ana, &id).await["extractedText"], text);
    assert_eq!(kept().await.as_deref(), text.as_str());

    // An entry that outlived its reading counts for nothing.
    let path = format!("/api/v1/attachments/{id}/ocr");
    ana.post(&path).await.expect(202);
    assert_eq!(kept().await, None);
    app.run_jobs().await;
    attachment_text::put(db, redis, typed(&id), 1, "of the first reading").await;
    assert_eq!(get(&ana, &id).await["extractedText"], text);
    assert_eq!(
        attachment_text::get(redis, typed(&id), 2).await.as_deref(),
        text.as_str()
    );

    let long = "a".repeat((1 << 20) + 1);
    attachment_text::put(db, redis, typed(&id), 2, &long).await;
    assert_eq!(attachment_text::get(redis, typed(&id), 2).await, None);
    app.finish().await;
}

#[tokio::test]
async fn texts_are_read_without_redis_too() {
    let app = TestApp::with(Options {
        redis_url: Some("redis://127.0.0.1:1".to_owned()),
        ..Options::default()
    })
    .await;
    let ana = app.user("ana").await;
    let id = upload(&ana, "two-lines.jpg", &[]).await;
    app.run_jobs().await;
    assert!(
        get(&ana, &id).await["extractedText"]
            .as_str()
            .unwrap()
            .contains("4711")
    );
    ana.post(&format!("/api/v1/attachments/{id}/ocr"))
        .await
        .expect(202);
    app.run_jobs().await;
    let read = get(&ana, &id).await;
    assert_eq!(read["ocr"]["status"], "succeeded");
    let nowhere = &app.context.redis;
    attachment_text::put(&app.context.db, nowhere, typed(&id), 2, "x").await;
    assert_eq!(attachment_text::get(nowhere, typed(&id), 2).await, None);
    attachment_text::remove(nowhere, typed(&id))
        .await
        .unwrap_err();
    app.finish().await;
}

#[tokio::test]
async fn a_text_goes_with_its_attachment_once_redis_is_back() {
    let mut redis = RedisServer::start().await;
    let app = TestApp::with(Options {
        redis_url: Some(redis.url()),
        ..Options::default()
    })
    .await;
    redis_is_up(&app).await;
    let ana = app.user("ana").await;
    let id = upload(&ana, "two-lines.jpg", &[]).await;
    app.run_jobs().await;
    let kept = || async { attachment_text::get(&app.context.redis, typed(&id), 1).await };
    assert!(kept().await.is_some());

    redis.stop().await;
    assert_eq!(
        ana.delete(&format!("/api/v1/attachments/{id}"))
            .await
            .status,
        204
    );
    app.run_due_jobs().await;
    assert!(objects(&app).await.is_empty(), "the object waits for Redis");
    assert_eq!(app.count_jobs("queued").await, 1);
    redis.restart().await;
    redis_is_up(&app).await;
    // As if it had been there all the time.
    let key = app.context.redis.keys().attachment_text(typed(&id));
    let entry = [&1_i32.to_be_bytes()[..], b"what was read"].concat();
    let set = app
        .context
        .redis
        .set(&key, entry, attachment_text::LIFETIME);
    set.await.unwrap();
    assert!(kept().await.is_some());
    app.run_jobs().await;
    assert_eq!(kept().await, None);
    app.finish().await;
}

#[tokio::test]
async fn a_text_that_comes_after_its_attachment_is_not_kept() {
    let app = TestApp::spawn().await;
    redis_is_up(&app).await;
    let (db, redis) = (&app.context.db, &app.context.redis);
    let gone = AttachmentId::new();
    attachment_text::put(db, redis, gone, 1, "what was read").await;
    assert_eq!(attachment_text::get(redis, gone, 1).await, None);
    app.finish().await;
}
