//! Receivers that send back what they were sent.

use serde_json::{Value, json};
use tests::{TestApp, fakes::receiver::Receiver};
use wiremock::{Mock, MockServer, Request, ResponseTemplate, matchers::method};

/// All headers as JSON, and as text; and one of them in a header.
fn echo(request: &Request) -> ResponseTemplate {
    let headers: serde_json::Map<String, Value> = request
        .headers
        .iter()
        .map(|(name, value)| (name.to_string(), value.to_str().unwrap().into()))
        .collect();
    let text: Vec<&str> = headers.values().filter_map(Value::as_str).collect();
    let body = format!("{}\n{}", Value::Object(headers.clone()), text.join("\n"));
    let json = body.replace('/', "\\/");
    ResponseTemplate::new(200)
        .insert_header("x-echo", headers["authorization"].as_str().unwrap())
        .set_body_string(format!("{body}\n{json}"))
}

#[tokio::test]
async fn secrets_that_are_sent_back_are_not_kept() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let server = MockServer::start().await;
    Mock::given(method("POST"))
        .respond_with(echo)
        .mount(&server)
        .await;
    let receiver = Receiver(server);
    let headers = json!({
        "Authorization": "Bearer very/secret/token", "X-Key": "quoted \"key\" of-mine", "X-Short": "short",
    });
    let body = json!({
        "url": receiver.url(), "events": ["image.*"], "headers": headers, "signatures": ["v1", "v1a"],
    });
    let webhook = ana.post_json("/api/v1/webhooks", body).await.expect(201);
    app.ocr_completed(&ana, "text").await;
    app.run_jobs().await;

    let requests = receiver.requests().await;
    let header = |name: &str| requests[0].headers[name].to_str().unwrap().to_owned();
    let kept: String =
        sqlx::query_scalar("SELECT response_body || details::text FROM delivery_attempts")
            .fetch_one(app.database.pool())
            .await
            .unwrap();
    let mut secrets = vec![
        "very/secret/token".to_owned(),
        "of-mine".to_owned(),
        header("x-baatcheet-signature"),
    ];
    let signatures = header("webhook-signature");
    let signatures = signatures.split(' ').filter_map(|one| one.split_once(','));
    secrets.extend(signatures.map(|(_, signature)| signature.to_owned()));
    assert_eq!(secrets.len(), 5);
    for secret in &secrets {
        for form in [secret.clone(), secret.replace('/', "\\/")] {
            assert!(!kept.contains(&form), "{form} in {kept}");
        }
    }
    // The rest is there to be looked at.
    for known in [
        header("webhook-id"),
        "short".to_owned(),
        "[redacted]".to_owned(),
    ] {
        assert!(kept.contains(&known), "{known} not in {kept}");
    }
    let id = webhook["id"].as_str().unwrap();
    let shown = ana.get(&format!("/api/v1/webhooks/{id}/attempts")).await;
    assert!(!shown.text.contains("very/secret/token"));
    let shown = shown.expect(200);
    assert_eq!(shown["data"][0]["responseHeaders"]["x-echo"], "[redacted]");
    app.finish().await;
}
