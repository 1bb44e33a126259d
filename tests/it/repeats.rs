//! Requests that come again, and changes of what somebody else has changed.

use reqwest::Method;
use serde_json::{Value, json};
use tests::{Actor, Reply, TestApp, pdf, picture};

const WEBHOOKS: &str = "/api/v1/webhooks";

fn endpoint(url: &str) -> Value {
    json!({ "url": url, "events": ["image.ocr_completed"] })
}

async fn post_with_key(actor: &Actor, key: &str, body: &Value) -> Reply {
    let request = actor.request(Method::POST, WEBHOOKS).json(body);
    actor.send(request.header("idempotency-key", key)).await
}

async fn count(actor: &Actor) -> usize {
    let list = actor.get(WEBHOOKS).await.expect(200);
    list["data"].as_array().unwrap().len()
}

#[tokio::test]
async fn a_repeated_request_is_carried_out_once_and_answered_alike() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let body = endpoint("http://127.0.0.1:9/a");

    let first = post_with_key(&ana, "\"k-1\"", &body).await;
    assert!(first.headers.get("idempotent-replayed").is_none());
    let again = post_with_key(&ana, "k-1", &body).await;
    assert_eq!(again.headers["idempotent-replayed"], "true");
    assert_eq!(again.headers["etag"], first.headers["etag"]);
    assert_eq!(again.headers["content-type"], "application/json");
    assert_eq!(again.expect(201), first.expect(201), "the secret too");
    assert_eq!(count(&ana).await, 1);

    let other = endpoint("http://127.0.0.1:9/b");
    post_with_key(&ana, "k-1", &other)
        .await
        .expect_problem(422, "idempotency_key_reused");
    post_with_key(&ana, "k-2", &other).await.expect(201);
    assert_eq!(count(&ana).await, 2);
    app.finish().await;
}

#[tokio::test]
async fn a_key_is_its_users_own_and_lives_for_a_day() {
    let app = TestApp::spawn().await;
    let (ana, ben) = (app.user("ana").await, app.user("ben").await);
    let body = endpoint("http://127.0.0.1:9/a");
    let first = post_with_key(&ana, "k", &body).await.expect(201);
    let bens = post_with_key(&ben, "k", &body).await.expect(201);
    assert_ne!(first["id"], bens["id"]);

    app.advance(std::time::Duration::from_hours(24)).await;
    let ana = app.login(&ana).await;
    assert_eq!(post_with_key(&ana, "k", &body).await.expect(201), first);
    app.advance(std::time::Duration::from_secs(1)).await;
    let later = post_with_key(&ana, "k", &body).await.expect(201);
    assert_ne!(later["id"], first["id"]);
    assert_eq!(post_with_key(&ana, "k", &body).await.expect(201), later);
    app.finish().await;
}

#[tokio::test]
async fn what_failed_can_be_sent_again_under_its_key() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    post_with_key(&ana, "k", &json!({ "url": 1 }))
        .await
        .expect_problem(422, "invalid_request");
    post_with_key(&ana, "k", &endpoint("http://10.0.0.1/"))
        .await
        .expect(422);
    post_with_key(&ana, "k", &endpoint("http://127.0.0.1:9/"))
        .await
        .expect(201);
    for bad in ["", "\"\"", "a b", &"a".repeat(256)] {
        post_with_key(&ana, bad, &endpoint("http://127.0.0.1:9/"))
            .await
            .expect_problem(400, "malformed_request");
    }
    assert_eq!(count(&ana).await, 1);
    app.finish().await;
}

#[tokio::test]
async fn a_request_whose_first_one_still_runs_is_refused() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let body = endpoint("http://127.0.0.1:9/");
    // Whoever inserts into `webhooks` waits for this transaction.
    let mut holder = app.database.pool().begin().await.unwrap();
    sqlx::query("LOCK TABLE webhooks IN SHARE ROW EXCLUSIVE MODE")
        .execute(&mut *holder)
        .await
        .unwrap();
    let others = async {
        app.database.somebody_waits().await;
        post_with_key(&ana, "k", &body)
            .await
            .expect_problem(409, "idempotency_in_progress");
        holder.rollback().await.unwrap();
    };
    let (first, ()) = tokio::join!(post_with_key(&ana, "k", &body), others);
    let first = first.expect(201);
    assert_eq!(post_with_key(&ana, "k", &body).await.expect(201), first);
    app.finish().await;
}

#[tokio::test]
async fn a_repeated_upload_stores_nothing_new() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let upload = async |bytes: Vec<u8>| {
        let part = reqwest::multipart::Part::bytes(bytes).file_name("scan.png");
        let form = reqwest::multipart::Form::new().part("file", part);
        let request = ana.request(Method::POST, "/api/v1/attachments");
        ana.send(request.multipart(form).header("idempotency-key", "up-1"))
            .await
    };
    let scan = picture("english-scan.png");
    let first = upload(scan.clone()).await.expect(201);
    let again = upload(scan).await;
    assert_eq!(again.headers["idempotent-replayed"], "true");
    assert_eq!(again.expect(201), first);
    upload(picture("hindi.png"))
        .await
        .expect_problem(422, "idempotency_key_reused");
    tests::eventually("only the first upload is stored", || async {
        objects(app.folder.path()) == 1
    })
    .await;
    app.run_jobs().await;
    app.finish().await;
}

fn objects(folder: &std::path::Path) -> usize {
    let entries = std::fs::read_dir(folder).unwrap();
    entries
        .map(|entry| entry.unwrap().path())
        .map(|path| if path.is_dir() { objects(&path) } else { 1 })
        .sum()
}

#[tokio::test]
async fn only_what_one_has_seen_is_changed() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let created = ana
        .post_json(WEBHOOKS, endpoint("http://127.0.0.1:9/"))
        .await
        .expect(201);
    let path = format!("{WEBHOOKS}/{}", created["id"].as_str().unwrap());
    let seen = ana.get(&path).await;
    assert_eq!(seen.headers["etag"], "\"1\"");

    let fresh = ana
        .request(Method::GET, &path)
        .header("if-none-match", "\"1\"");
    let fresh = ana.send(fresh).await;
    assert_eq!((fresh.status.as_u16(), fresh.text.as_str()), (304, ""));
    assert_eq!(fresh.headers["etag"], "\"1\"");
    let stale = ana
        .request(Method::DELETE, &path)
        .header("if-match", "\"2\"");
    ana.send(stale)
        .await
        .expect_problem(412, "precondition_failed");
    let delete = ana
        .request(Method::DELETE, &path)
        .header("if-match", "\"1\"");
    ana.send(delete).await.expect(204);
    // The history of the endpoint goes.
    app.run_due_jobs().await;
    app.finish().await;
}

#[tokio::test]
async fn a_repetition_is_answered_alike_whatever_has_gone_since() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let id = ana.conversation("Plans").await;
    let said = ana.say(&id, "hello").await;
    let message = format!("/api/v1/messages/{}", said["id"].as_str().unwrap());
    let expires = app.clock.now() + chrono::TimeDelta::minutes(1);
    let requests = [
        (
            format!("{message}/edit"),
            json!({ "content": "hi", "clientId": "c" }),
        ),
        (
            format!("/api/v1/conversations/{id}/messages"),
            json!({ "content": "more" }),
        ),
        (
            "/api/v1/api-keys".to_owned(),
            json!({ "name": "bot", "scopes": ["read"], "expiresAt": expires }),
        ),
    ];
    let send = async |path: &str, body: &Value| {
        let request = ana.request(Method::POST, path).json(body);
        ana.send(request.header("idempotency-key", "k")).await
    };
    let mut first = Vec::new();
    for (path, body) in &requests {
        first.push(send(path, body).await.expect(201));
    }
    ana.delete(&message).await.expect(204);
    let again = ana.post_json(&requests[0].0, requests[0].1.clone()).await;
    assert_eq!(again.expect(200), first[0], "under its clientId");
    ana.post_json(&requests[0].0, json!({ "content": "other" }))
        .await
        .expect_problem(404, "not_found");

    let path = format!("/api/v1/conversations/{id}");
    ana.delete(&path).await.expect(204);
    app.advance(std::time::Duration::from_mins(2)).await;
    for ((path, body), first) in requests.iter().zip(first) {
        assert_eq!(send(path, body).await.expect(201), first, "{path}");
    }
    app.run_jobs().await;
    app.finish().await;
}

#[tokio::test]
async fn no_bare_hash_of_a_body_is_kept() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let body = endpoint("http://127.0.0.1:9/a");
    post_with_key(&ana, "k", &body).await.expect(201);
    let kept: Vec<u8> = sqlx::query_scalar("SELECT fingerprint FROM idempotency_keys")
        .fetch_one(app.database.pool())
        .await
        .unwrap();
    let bare = shared::keyring::sha256(body.to_string().as_bytes());
    assert_ne!(kept, bare);
    app.finish().await;
}

#[tokio::test]
async fn reading_a_long_text_again_may_be_repeated() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let page = || pdf::Page::Text("The library opens on Saturday at nine.\n".repeat(50));
    let pages: Vec<pdf::Page> = (0..50).map(|_| page()).collect();
    let created = ana.upload("x.pdf", pdf::pdf(&pages), &[]).await.expect(201);
    app.run_jobs().await;
    let id = created["attachment"]["id"].as_str().unwrap();
    let whole = ana.get(&format!("/api/v1/attachments/{id}")).await;
    let text = whole.expect(200)["extractedText"].clone();
    assert!(text.as_str().unwrap().len() > 64 * 1024);

    let path = format!("/api/v1/attachments/{id}/ocr");
    let read = async || {
        let request = ana.request(Method::POST, &path);
        let request = request.header("idempotency-key", "again");
        ana.send(request).await.expect(202)
    };
    let (first, second) = (read().await, read().await);
    assert_eq!(first, second);
    let beginning = first["attachment"]["extractedText"].as_str().unwrap();
    assert_eq!(beginning.len(), 1_000);
    assert!(text.as_str().unwrap().starts_with(beginning));
    app.run_jobs().await;
    app.finish().await;
}
