//! Deliveries: what is shown of them.

use std::time::Duration;

use serde_json::{Value, json};
use tests::{Actor, TestApp, fakes::receiver::Receiver};
use wiremock::ResponseTemplate;

/// What is told of an attempt besides its answer.
const DETAILS: [&str; 8] = [
    "requestHeaders",
    "responseHeaders",
    "responseTruncated",
    "address",
    "httpVersion",
    "tls",
    "timings",
    "connectionReused",
];
const NOBODY: &str = "0190b5a0-0000-7000-8000-000000000000";

fn deliveries_of(webhook: &Value) -> String {
    format!(
        "/api/v1/webhooks/{}/deliveries",
        webhook["id"].as_str().unwrap()
    )
}

/// The rows of a list, newest first.
async fn list(actor: &Actor, path: &str) -> Vec<Value> {
    let page = actor.get(path).await.expect(200);
    page["data"].as_array().unwrap().clone()
}

fn id(row: &Value) -> &str {
    row["id"].as_str().unwrap()
}

fn urlencoded(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

#[tokio::test]
async fn a_delivery_is_shown_with_what_was_sent_and_answered() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let receiver = Receiver::answering(ResponseTemplate::new(201).set_body_string("thanks")).await;
    let webhook = ana.webhook(&receiver.url()).await;
    app.ocr_completed(&ana, "नमस्ते").await;
    app.run_jobs().await;
    let request = &receiver.requests().await[0];
    let header = |name: &str| request.headers[name].to_str().unwrap();
    let (event_id, delivery_id) = (header("webhook-id"), header("x-baatcheet-delivery-id"));

    let path = deliveries_of(&webhook);
    let rows = list(&ana, &path).await;
    assert_eq!(rows.len(), 1);
    let delivery = &rows[0];
    let time = app
        .clock
        .now()
        .to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
    let duration = delivery["durationMs"].as_i64().unwrap();
    assert!((0..10_000).contains(&duration));
    let payload: Value = serde_json::from_slice(&request.body).unwrap();
    let expected = json!({
        "id": delivery_id, "webhookId": webhook["id"], "eventId": event_id, "event": "image.ocr_completed",
        "status": "succeeded", "payload": payload, "success": true, "statusCode": 201, "errorMessage": null,
        "errorCode": null, "isTest": false, "durationMs": duration, "attemptCount": 1, "createdAt": time, "finishedAt": time, "nextAttemptAt": null,
    });
    assert_eq!(delivery, &expected);
    assert_eq!(
        delivery["payload"].to_string().as_bytes(),
        request.body,
        "byte for byte"
    );

    // How it went in detail is tested with the worker that records it.
    let without_details = |mut tries: Value| {
        for one in tries.as_array_mut().unwrap() {
            let one = one.as_object_mut().unwrap();
            for detail in DETAILS {
                assert!(one.remove(detail).is_some(), "{detail}");
            }
        }
        tries
    };
    let tries = list(&ana, &format!("{path}/{delivery_id}/attempts")).await;
    let expected = json!([{
        "id": tries[0]["id"], "webhookId": webhook["id"], "deliveryId": delivery_id, "attempt": 1,
        "event": "image.ocr_completed", "payload": payload, "success": true, "statusCode": 201, "errorMessage": null,
        "status": "succeeded", "errorCode": null, "responseBody": "thanks", "durationMs": duration, "createdAt": time,
    }]);
    assert_eq!(without_details(json!(tries)), expected);

    let mut got = ana.get(&format!("{path}/{delivery_id}")).await.expect(200);
    let mut own = got.as_object_mut().unwrap().remove("attempts").unwrap();
    assert_eq!(&got, delivery);
    own[0]["payload"] = payload;
    assert_eq!(without_details(own), expected);
    app.finish().await;
}

#[tokio::test]
async fn nobody_sees_or_resends_anothers_deliveries() {
    let app = TestApp::spawn().await;
    let (ana, ben) = (app.user("ana").await, app.user("ben").await);
    let receiver = Receiver::start().await;
    let webhook = ana.webhook(&receiver.url()).await;
    app.ocr_completed(&ana, "text").await;
    app.run_jobs().await;
    let path = deliveries_of(&webhook);
    let delivery = format!("{path}/{}", id(&list(&ana, &path).await[0]));
    let (attempts, resend) = (format!("{delivery}/attempts"), format!("{delivery}/resend"));
    for get in [&path, &delivery, &attempts] {
        ana.get(get).await.expect(200);
        ben.get(get).await.expect_problem(404, "not_found");
        let anonymous = app.anonymous().get(get).await;
        anonymous.expect_problem(401, "unauthenticated");
    }
    ben.post(&resend).await.expect_problem(404, "not_found");
    let anonymous = app.anonymous().post(&resend).await;
    anonymous.expect_problem(401, "unauthenticated");

    // One's own delivery under another endpoint of one's own is not there, nor is what never was.
    let other = deliveries_of(&ana.webhook(&receiver.url()).await);
    let moved = delivery.replace(&path, &other);
    let [nothing, no_webhook] = [
        format!("{path}/{NOBODY}"),
        delivery.replace(webhook["id"].as_str().unwrap(), NOBODY),
    ];
    for wrong in [&moved, &nothing, &no_webhook, &format!("{path}/x")] {
        ana.get(wrong).await.expect_problem(404, "not_found");
        let attempts = ana.get(&format!("{wrong}/attempts")).await;
        attempts.expect_problem(404, "not_found");
        let resend = ana.post(&format!("{wrong}/resend")).await;
        resend.expect_problem(404, "not_found");
    }
    assert!(list(&ana, &other).await.is_empty());
    assert_eq!(receiver.requests().await.len(), 1);
    app.finish().await;
}

#[tokio::test]
async fn deliveries_are_filtered_and_come_in_pages() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let answers = [204, 400, 204].map(ResponseTemplate::new);
    let receiver = Receiver::scripted(answers.to_vec()).await;
    let path = deliveries_of(&ana.webhook(&receiver.url()).await);
    app.ocr_completed(&ana, "1").await;
    app.run_due_jobs().await;
    app.ocr_failed(&ana, "2").await;
    app.run_due_jobs().await;
    app.ocr_completed(&ana, "3").await;
    app.run_due_jobs().await;
    app.ocr_failed(&ana, "4").await;

    let texts = async |query: &str| -> Vec<String> {
        let rows = list(&ana, &format!("{path}{query}")).await;
        let texts = rows
            .iter()
            .map(|row| &row["payload"]["data"]["extractedText"]);
        texts
            .map(|text| text.as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(texts("").await, ["4", "3", "2", "1"]);
    assert_eq!(texts("?status=succeeded").await, ["3", "1"]);
    assert_eq!(texts("?status=pending").await, ["4", "2"]);
    assert!(texts("?status=failed").await.is_empty());
    assert_eq!(texts("?event=image.ocr_failed").await, ["4", "2"]);
    assert_eq!(texts("?status=succeeded,pending").await.len(), 4);
    assert_eq!(texts("?event=image.*").await.len(), 4);
    assert_eq!(texts("?event=*").await.len(), 4);
    assert!(texts("?event=message.*").await.is_empty());
    assert!(texts("?event=webhook.ping").await.is_empty());
    let time = app.clock.now().to_rfc3339();
    let time = urlencoded(&time);
    assert_eq!(texts(&format!("?since={time}")).await.len(), 4);
    assert!(texts(&format!("?until={time}")).await.is_empty());
    let both = "?event=image.ocr_completed&status=pending";
    assert!(texts(both).await.is_empty());

    // All but the last were made at the same frozen time: the id tells them apart.
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let query = format!("?limit=1{cursor}");
        seen.extend(texts(&query).await);
        let page = ana.get(&format!("{path}{query}")).await.expect(200);
        match page["pagination"]["nextCursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(seen, ["4", "3", "2", "1"]);

    let bad =
        format!("{path}?status=failed,asleep&event=image.eaten&limit=0&page=1&since=today&until=1");
    let fields = ana.get(&bad).await.expect_bad_fields();
    let expected = ["/event", "/limit", "/page", "/since", "/status", "/until"];
    assert_eq!(fields, expected);
    let bad = ana.get(&format!("{path}?cursor=nonsense")).await;
    bad.expect_problem(400, "malformed_request");
    let delivery = format!("{path}/{}", id(&list(&ana, &path).await[0]));
    let bad = ana.get(&format!("{delivery}/attempts?limit=x")).await;
    assert_eq!(bad.expect_bad_fields(), ["/limit"]);
    let bad = ana.get(&format!("{delivery}/attempts?cursor=x")).await;
    bad.expect_problem(400, "malformed_request");
    app.run_jobs().await;
    app.finish().await;
}

#[tokio::test]
async fn a_failing_delivery_shows_its_last_try_and_its_next_one() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let answers = vec![
        ResponseTemplate::new(500),
        ResponseTemplate::new(503).insert_header("retry-after", "300"),
        ResponseTemplate::new(418).set_body_bytes(b"a\0teapot\xff".to_vec()),
    ];
    let receiver = Receiver::scripted(answers).await;
    let path = deliveries_of(&ana.webhook(&receiver.url()).await);
    app.ocr_completed(&ana, "text").await;
    let shown = async || list(&ana, &path).await.remove(0);
    let now = || json!(app.clock.now());

    let waiting = shown().await;
    assert_eq!(waiting["nextAttemptAt"], now());
    assert_eq!(
        (&waiting["statusCode"], &waiting["attemptCount"]),
        (&json!(0), &json!(0))
    );
    assert!(waiting["durationMs"].is_null() && waiting["errorMessage"].is_null());

    app.run_due_jobs().await;
    app.advance(Duration::from_secs(5)).await;
    app.run_due_jobs().await;
    let failing = shown().await;
    assert_eq!(failing["status"], "pending");
    assert_eq!(failing["success"], false);
    assert_eq!(failing["statusCode"], 503);
    assert_eq!(failing["errorMessage"], "the endpoint answered 503");
    assert_eq!(failing["attemptCount"], 2);
    let next = failing["nextAttemptAt"].as_str().unwrap();
    let next = chrono::DateTime::parse_from_rfc3339(next).unwrap().to_utc();
    assert!(next - app.clock.now() >= chrono::TimeDelta::seconds(300));

    app.run_jobs().await;
    let failed = shown().await;
    assert_eq!(failed["status"], "failed");
    assert_eq!(failed["statusCode"], 418);
    assert_eq!(failed["attemptCount"], 3);
    assert!(failed["nextAttemptAt"].is_null() && failed["finishedAt"].is_string());
    let attempts = format!("{path}/{}/attempts", id(&failed));
    let tries = list(&ana, &attempts).await;
    let codes: Vec<i64> = tries
        .iter()
        .map(|row| row["statusCode"].as_i64().unwrap())
        .collect();
    assert_eq!(codes, [418, 503, 500], "newest first");
    assert_eq!(tries[0]["responseBody"], "ateapot\u{fffd}");
    let first = ana.get(&format!("{attempts}?limit=2")).await.expect(200);
    let next = first["pagination"]["nextCursor"].as_str().unwrap();
    let rest = list(&ana, &format!("{attempts}?limit=2&cursor={next}")).await;
    assert_eq!(json!(rest), json!(tries[2..]));
    let one = list(&ana, &format!("{attempts}?statusCode=503")).await;
    assert_eq!(json!(one), json!(tries[1..2]));
    let failed = list(&ana, &format!("{attempts}?status=failed,blocked")).await;
    assert_eq!(failed.len(), 3);
    let none = list(&ana, &format!("{attempts}?status=succeeded")).await;
    assert!(none.is_empty());
    let bad = format!("{attempts}?status=asleep&statusCode=1000&event=x");
    let fields = ana.get(&bad).await.expect_bad_fields();
    assert_eq!(fields, ["/event", "/status", "/statusCode"]);
    app.expect_failed(1);
    app.finish().await;
}

#[tokio::test]
async fn an_address_that_is_not_allowed_any_more_is_told() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let webhook = ana.webhook("http://127.0.0.1:9/").await;
    // As after a change of OUTBOUND_ALLOW.
    sqlx::query("UPDATE webhooks SET url = 'https://10.0.0.1/'")
        .execute(app.database.pool())
        .await
        .unwrap();
    app.ocr_completed(&ana, "text").await;
    app.run_jobs().await;
    let shown = list(&ana, &deliveries_of(&webhook)).await.remove(0);
    assert_eq!(shown["status"], "failed");
    assert_eq!(shown["statusCode"], 0);
    let message = shown["errorMessage"].as_str().unwrap();
    assert!(message.starts_with("blocked: "), "{message}");
    app.expect_failed(1);
    app.finish().await;
}

#[tokio::test]
async fn attempts_of_an_endpoint_are_listed_whatever_they_delivered() {
    let app = TestApp::spawn().await;
    let (ana, ben) = (app.user("ana").await, app.user("ben").await);
    let answers = [204, 500, 204].map(ResponseTemplate::new);
    let receiver = Receiver::scripted(answers.to_vec()).await;
    let webhook = ana.webhook(&receiver.url()).await;
    for text in ["1", "2"] {
        app.ocr_completed(&ana, text).await;
        app.run_due_jobs().await;
        app.advance(Duration::from_secs(1)).await;
    }
    app.run_jobs().await;
    app.advance(Duration::from_secs(1)).await;
    // As after a change of OUTBOUND_ALLOW.
    sqlx::query("UPDATE webhooks SET url = 'https://10.0.0.1/'")
        .execute(app.database.pool())
        .await
        .unwrap();
    app.ocr_failed(&ana, "3").await;
    app.run_jobs().await;
    app.expect_failed(1);

    let path = format!("/api/v1/webhooks/{}/attempts", id(&webhook));
    let codes = async |query: &str| -> Vec<Value> {
        let rows = list(&ana, &format!("{path}{query}")).await;
        rows.iter().map(|row| row["errorCode"].clone()).collect()
    };
    let (refused, status) = (json!("url_address_not_public"), json!("http_status"));
    let all = [refused.clone(), Value::Null, status.clone(), Value::Null];
    assert_eq!(codes("").await, all, "newest first");
    assert_eq!(codes("?status=succeeded").await, [Value::Null, Value::Null]);
    assert_eq!(codes("?status=failed").await, vec![status.clone()]);
    assert_eq!(codes("?status=blocked").await, vec![refused.clone()]);
    assert_eq!(codes("?status=blocked,failed").await.len(), 2);
    assert_eq!(codes("?statusCode=500").await, vec![status.clone()]);
    assert_eq!(codes("?statusCode=0").await, vec![refused.clone()]);
    let failed = "?event=image.ocr_failed";
    assert_eq!(codes(failed).await, vec![refused.clone()]);
    assert_eq!(codes("?event=image.*").await, all);
    assert_eq!(codes("?event=*").await, all);
    assert!(codes("?event=message.*").await.is_empty());
    let failed = "?event=image.ocr_completed&status=failed";
    assert_eq!(codes(failed).await, [status]);
    let newest = &list(&ana, &path).await[0];
    let time = newest["createdAt"].as_str().unwrap();
    assert_eq!(codes(&format!("?since={time}")).await, [refused]);
    assert_eq!(codes(&format!("?until={time}")).await, all[1..]);
    assert_eq!(newest["event"], "image.ocr_failed");
    assert_eq!(newest["webhookId"], webhook["id"]);
    assert_eq!(newest["status"], "blocked");
    assert!(newest.get("payload").is_none());

    let first = ana.get(&format!("{path}?limit=3")).await.expect(200);
    let next = first["pagination"]["nextCursor"].as_str().unwrap();
    let rest = list(&ana, &format!("{path}?limit=3&cursor={next}")).await;
    assert_eq!(rest.len(), 1);
    let bad = "?status=asleep&limit=x&event=image.eaten&since=today&until=1&statusCode=-1";
    let fields = ana.get(&format!("{path}{bad}")).await.expect_bad_fields();
    let expected = [
        "/event",
        "/limit",
        "/since",
        "/status",
        "/statusCode",
        "/until",
    ];
    assert_eq!(fields, expected);
    let bad = ana.get(&format!("{path}?cursor=x")).await;
    bad.expect_problem(400, "malformed_request");
    ben.get(&path).await.expect_problem(404, "not_found");
    app.finish().await;
}

#[tokio::test]
async fn the_next_try_is_not_before_the_endpoint_may_be_asked_again() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let receiver = Receiver::scripted(vec![
        ResponseTemplate::new(429).insert_header("retry-after", "3600"),
        ResponseTemplate::new(204),
    ])
    .await;
    let webhook = ana.webhook(&receiver.url()).await;
    app.ocr_completed(&ana, "one").await;
    app.run_due_jobs().await;
    app.advance(Duration::from_secs(1)).await;
    app.ocr_completed(&ana, "two").await;
    app.run_due_jobs().await;
    app.advance(Duration::from_secs(1)).await;
    let health = format!("/api/v1/webhooks/{}/health", id(&webhook));
    let health = ana.get(&health).await.expect(200);
    let newest = list(&ana, &deliveries_of(&webhook)).await.remove(0);
    assert_eq!(newest["attemptCount"], 0);
    assert!(health["slowedUntil"].is_string());
    assert_eq!(newest["nextAttemptAt"], health["slowedUntil"]);
    app.run_jobs().await;
    app.finish().await;
}
