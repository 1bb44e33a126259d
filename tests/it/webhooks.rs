//! Webhooks: their endpoints, what is sent, and what comes of it.

use std::time::Duration;

use serde_json::{Value, json};
use standardwebhooks::Webhook;
use tests::{Actor, Options, TestApp, fakes::receiver::Receiver, fixture};
use wiremock::ResponseTemplate;

const WEBHOOKS: &str = "/api/v1/webhooks";

/// Uploads a picture, so that an event happens.
async fn cause_event(app: &TestApp, user: &Actor) -> Value {
    let created = user
        .upload("a.jpg", fixture("two-lines.jpg"), &[])
        .await
        .expect(201);
    app.run_jobs().await;
    created
}

async fn attempts(app: &TestApp) -> Vec<(i32, i16, Option<String>)> {
    sqlx::query_as("SELECT attempt, status_code, error FROM delivery_attempts ORDER BY attempt")
        .fetch_all(app.database.pool())
        .await
        .unwrap()
}

async fn delivery(app: &TestApp) -> (String, Option<String>) {
    sqlx::query_as("SELECT status, error FROM deliveries")
        .fetch_one(app.database.pool())
        .await
        .unwrap()
}

#[tokio::test]
async fn an_endpoint_shows_its_secret_once() {
    let app = TestApp::spawn().await;
    let (ana, ben) = (app.user("ana").await, app.user("ben").await);
    let receiver = Receiver::start().await;
    let created = ana.webhook(&receiver.url()).await;
    assert!(created["secret"].as_str().unwrap().starts_with("whsec_"));
    assert_eq!(created["isActive"], true);

    let path = format!("{WEBHOOKS}/{}", created["id"].as_str().unwrap());
    let got = ana.get(&path).await.expect(200);
    assert!(got.get("secret").is_none());
    assert_eq!(got["url"], receiver.url());
    let listed = ana.get(WEBHOOKS).await.expect(200);
    assert_eq!(listed["data"], json!([got]));
    assert_eq!(
        listed["pagination"],
        json!({ "nextCursor": null, "hasMore": false })
    );

    let stored: Vec<u8> = sqlx::query_scalar("SELECT secret FROM webhooks")
        .fetch_one(app.database.pool())
        .await
        .unwrap();
    let secret = created["secret"].as_str().unwrap().as_bytes();
    assert!(
        !stored.windows(secret.len()).any(|part| part == secret),
        "the secret is stored in clear"
    );

    ben.get(&path).await.expect_problem(404, "not_found");
    ben.delete(&path).await.expect_problem(404, "not_found");
    assert_eq!(ana.delete(&path).await.status, 204);
    ana.get(&path).await.expect_problem(404, "not_found");
    app.run_jobs().await;
    app.finish().await;
}

#[tokio::test]
async fn a_list_goes_on_where_its_cursor_stands() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let receiver = Receiver::start().await;
    let mut made = Vec::new();
    for _ in 0..5 {
        made.push(ana.webhook(&receiver.url()).await["id"].clone());
        app.advance(Duration::from_secs(1)).await;
    }
    made.reverse();
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = ana
            .get(&format!("{WEBHOOKS}?limit=2{cursor}"))
            .await
            .expect(200);
        seen.extend(
            page["data"]
                .as_array()
                .unwrap()
                .iter()
                .map(|row| row["id"].clone()),
        );
        match page["pagination"]["nextCursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(seen, made);
    ana.get(&format!("{WEBHOOKS}?cursor=nonsense"))
        .await
        .expect_problem(400, "malformed_request");
    for bad in ["limit=0", "limit=101", "limit=x", "page=2"] {
        ana.get(&format!("{WEBHOOKS}?{bad}"))
            .await
            .expect_problem(422, "invalid_request");
    }
    app.finish().await;
}

#[tokio::test]
async fn a_url_that_we_do_not_call_is_refused_with_its_reason() {
    let app = TestApp::with(Options {
        outbound_allow: Some(String::new()),
        ..Options::default()
    })
    .await;
    let ana = app.user("ana").await;
    for url in [
        "https://127.0.0.1/hook",
        "https://localhost/",
        "http://169.254.169.254/latest",
        "https://[::1]/",
        "ftp://example.com/",
    ] {
        let body = json!({ "url": url, "events": ["image.ocr_completed"] });
        let problem = ana.post_json(WEBHOOKS, body).await.expect(422);
        assert!(
            !problem["detail"].as_str().unwrap().is_empty(),
            "{url}: {problem}"
        );
    }
    let fields = ana
        .post_json(
            WEBHOOKS,
            json!({ "url": "not a url", "events": [], "x": 1 }),
        )
        .await
        .expect_bad_fields();
    assert_eq!(fields, ["/events", "/url", "/x"]);
    let unknown = json!({ "url": "https://example.com/", "events": ["image.eaten"] });
    assert_eq!(
        ana.post_json(WEBHOOKS, unknown).await.expect_bad_fields(),
        ["/events/0"]
    );
    app.finish().await;
}

#[tokio::test]
async fn a_delivery_is_signed_in_both_ways_and_tells_what_was_read() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let receiver = Receiver::start().await;
    let secret = ana.webhook(&receiver.url()).await["secret"]
        .as_str()
        .unwrap()
        .to_owned();
    let created = cause_event(&app, &ana).await;

    let requests = receiver.requests().await;
    assert_eq!(requests.len(), 1);
    let request = &requests[0];
    let header = |name: &str| request.headers[name].to_str().unwrap();
    // The official library; its clock is the machine's, so only the signature is compared here.
    let webhook = Webhook::new(&secret).unwrap();
    let timestamp: i64 = header("webhook-timestamp").parse().unwrap();
    let expected = webhook
        .sign(header("webhook-id"), timestamp, &request.body)
        .unwrap();
    assert_eq!(header("webhook-signature"), expected);
    assert_eq!(timestamp, app.clock.now().timestamp());
    let plain = hex::encode(shared::keyring::hmac_sha256(
        secret.as_bytes(),
        &request.body,
    ));
    assert_eq!(header("x-baatcheet-signature"), plain);
    assert_eq!(header("x-baatcheet-event"), "image.ocr_completed");
    assert!(
        header("x-baatcheet-delivery-id")
            .parse::<uuid::Uuid>()
            .is_ok()
    );
    assert_eq!(header("content-type"), "application/json");

    let body: Value = serde_json::from_slice(&request.body).unwrap();
    assert_eq!(body["type"], "image.ocr_completed");
    assert!(body["timestamp"].as_str().unwrap().ends_with('Z'));
    let data = &body["data"];
    assert_eq!(data["attachmentId"], created["attachment"]["id"]);
    assert!(data["extractedText"].as_str().unwrap().contains("4711"));
    assert!(data["confidence"].as_f64().unwrap() > 60.0);
    assert_eq!(data["language"], "en");
    assert!(data["conversationId"].is_null() && data["messageId"].is_null());
    assert_eq!(attempts(&app).await, [(1, 204, None)]);
    assert_eq!(delivery(&app).await, ("succeeded".to_owned(), None));
    app.finish().await;
}

#[tokio::test]
async fn a_failed_reading_is_told_too() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let receiver = Receiver::start().await;
    ana.webhook(&receiver.url()).await;
    ana.upload("a.png", fixture("broken.png"), &[])
        .await
        .expect(201);
    app.run_jobs().await;
    let requests = receiver.requests().await;
    let body: Value = serde_json::from_slice(&requests[0].body).unwrap();
    assert_eq!(body["type"], "image.ocr_failed");
    assert!(body["data"]["extractedText"].is_null());
    assert!(body["data"]["error"].as_str().unwrap().contains("damaged"));
    app.expect_failed(2);
    app.finish().await;
}

#[tokio::test]
async fn a_failing_endpoint_is_tried_again_with_the_same_ids_and_body() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let receiver =
        Receiver::answering(ResponseTemplate::new(500).set_body_string("no\u{0}pe")).await;
    ana.webhook(&receiver.url()).await;
    cause_event(&app, &ana).await;
    let requests = receiver.requests().await;
    assert_eq!(requests.len(), 3);
    for request in &requests[1..] {
        for name in ["webhook-id", "x-baatcheet-delivery-id"] {
            assert_eq!(request.headers[name], requests[0].headers[name], "{name}");
        }
        assert_ne!(
            request.headers["webhook-timestamp"],
            requests[0].headers["webhook-timestamp"]
        );
        assert_eq!(request.body, requests[0].body);
    }
    let error = Some("the endpoint answered 500".to_owned());
    assert_eq!(
        attempts(&app).await,
        [1, 2, 3].map(|attempt| (attempt, 500, error.clone()))
    );
    assert_eq!(delivery(&app).await, ("failed".to_owned(), error));
    app.expect_failed(1);
    app.finish().await;
}

#[tokio::test]
async fn a_redirect_is_a_failure_and_410_switches_the_endpoint_off() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let answers = vec![
        ResponseTemplate::new(302).insert_header("location", "http://127.0.0.1:1/"),
        ResponseTemplate::new(410),
    ];
    let receiver = Receiver::scripted(answers).await;
    let id = ana.webhook(&receiver.url()).await["id"]
        .as_str()
        .unwrap()
        .to_owned();
    cause_event(&app, &ana).await;
    let codes: Vec<i16> = attempts(&app)
        .await
        .into_iter()
        .map(|(_, code, _)| code)
        .collect();
    assert_eq!(codes, [302, 410]);
    let endpoint = ana.get(&format!("{WEBHOOKS}/{id}")).await.expect(200);
    assert_eq!(endpoint["isActive"], false);
    assert!(endpoint["disabledReason"].as_str().unwrap().contains("410"));
    cause_event(&app, &ana).await;
    assert_eq!(
        receiver.requests().await.len(),
        2,
        "nothing is sent to an endpoint that is off"
    );
    app.expect_failed(1);
    app.finish().await;
}

#[tokio::test]
async fn retry_after_is_honoured() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let busy = ResponseTemplate::new(503).insert_header("retry-after", "900");
    let receiver = Receiver::scripted(vec![busy, ResponseTemplate::new(200)]).await;
    ana.webhook(&receiver.url()).await;
    let began = app.clock.now();
    cause_event(&app, &ana).await;
    assert_eq!(receiver.requests().await.len(), 2);
    assert!(app.clock.now() - began >= chrono::TimeDelta::seconds(900));
    app.finish().await;
}

#[tokio::test]
async fn a_large_answer_is_not_read_to_its_end() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let receiver =
        Receiver::answering(ResponseTemplate::new(200).set_body_bytes(vec![b'x'; 1 << 20])).await;
    ana.webhook(&receiver.url()).await;
    cause_event(&app, &ana).await;
    let kept: String = sqlx::query_scalar("SELECT response_body FROM delivery_attempts")
        .fetch_one(app.database.pool())
        .await
        .unwrap();
    assert_eq!(kept.len(), 16 * 1024);
    app.finish().await;
}

#[tokio::test]
async fn an_address_that_is_not_allowed_any_more_is_blocked_at_delivery() {
    let app = TestApp::with(Options {
        outbound_allow: Some(String::new()),
        ..Options::default()
    })
    .await;
    let ana = app.user("ana").await;
    let receiver = Receiver::start().await;
    // As if it had been registered while it was allowed.
    let url = receiver.url();
    let user: uuid::Uuid = sqlx::query_scalar("SELECT id FROM users")
        .fetch_one(app.database.pool())
        .await
        .unwrap();
    let mut tx = app.begin().await;
    let events = vec!["image.ocr_completed".to_owned()];
    let keyring = &app.context.keyring;
    let user = shared::ids::UserId(user);
    shared::models::webhook::create(
        &mut tx,
        keyring,
        user,
        shared::models::webhook::Settings::new(url, events),
        "whsec_AAAA",
        app.clock.now(),
    )
    .await
    .unwrap();
    tx.commit().await.unwrap();
    cause_event(&app, &ana).await;
    assert!(receiver.requests().await.is_empty());
    let (status, error) = delivery(&app).await;
    assert_eq!(status, "failed");
    assert!(error.unwrap().starts_with("blocked"));
    assert_eq!(attempts(&app).await[0].1, 0);
    app.expect_failed(1);
    app.finish().await;
}

#[tokio::test]
async fn deleting_an_endpoint_ends_its_deliveries() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let receiver = Receiver::answering(ResponseTemplate::new(500)).await;
    let id = ana.webhook(&receiver.url()).await["id"]
        .as_str()
        .unwrap()
        .to_owned();
    ana.upload("a.jpg", fixture("two-lines.jpg"), &[])
        .await
        .expect(201);
    app.run_due_jobs().await;
    assert_eq!(receiver.requests().await.len(), 1);
    ana.delete(&format!("{WEBHOOKS}/{id}")).await;
    app.run_jobs().await;
    assert_eq!(receiver.requests().await.len(), 1);
    app.finish().await;
}
