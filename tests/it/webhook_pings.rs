//! Tests of endpoints that their users ask for.

use serde_json::{Value, json};
use tests::{TestApp, fakes::receiver::Receiver};
use wiremock::ResponseTemplate;

fn path_of(webhook: &Value) -> String {
    format!("/api/v1/webhooks/{}", webhook["id"].as_str().unwrap())
}

#[tokio::test]
async fn a_ping_is_a_delivery_to_one_endpoint() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let (receiver, other) = (Receiver::start().await, Receiver::start().await);
    let webhook = ana.webhook(&receiver.url()).await;
    let body = json!({ "url": other.url(), "events": ["*"] });
    ana.post_json("/api/v1/webhooks", body).await.expect(201);
    let path = path_of(&webhook);

    let sent = ana.post(&format!("{path}/ping")).await.expect(202);
    let delivery = &sent["delivery"];
    assert_eq!(delivery["event"], "webhook.ping");
    assert_eq!(delivery["status"], "pending");
    assert_eq!(delivery["isTest"], true);
    assert_eq!(sent["job"]["kind"], "deliver_webhook");
    app.run_jobs().await;

    let bodies = receiver.bodies().await;
    assert_eq!(bodies.len(), 1);
    assert_eq!(bodies[0]["type"], "webhook.ping");
    assert_eq!(bodies[0]["data"]["webhookId"], webhook["id"]);
    assert!(other.requests().await.is_empty());
    let shown = ana.get(&format!("{path}/deliveries")).await.expect(200);
    assert_eq!(shown["data"][0]["id"], delivery["id"]);
    assert_eq!(shown["data"][0]["status"], "succeeded");

    // It can be sent again, and stays a test.
    let id = delivery["id"].as_str().unwrap();
    let again = ana.post(&format!("{path}/deliveries/{id}/resend")).await;
    assert_eq!(again.expect(202)["delivery"]["isTest"], true);
    app.run_jobs().await;
    assert_eq!(receiver.requests().await.len(), 2);
    app.finish().await;
}

#[tokio::test]
async fn a_ping_goes_to_ones_own_active_endpoint_only() {
    let app = TestApp::spawn().await;
    let (ana, ben) = (app.user("ana").await, app.user("ben").await);
    let webhook = ana.webhook(&Receiver::start().await.url()).await;
    let (path, ping) = (path_of(&webhook), format!("{}/ping", path_of(&webhook)));
    ben.post(&ping).await.expect_problem(404, "not_found");
    let anonymous = app.anonymous().post(&ping).await;
    anonymous.expect_problem(401, "unauthenticated");
    ana.patch_json(&path, json!({ "isActive": false }))
        .await
        .expect(200);
    let off = ana.post(&ping).await;
    off.expect_problem(409, "webhook_inactive");
    assert_eq!(app.count_live_jobs().await, 0);
    app.finish().await;
}

#[tokio::test]
async fn a_ping_does_not_wait_for_an_event_that_is_tried_again() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let receiver =
        Receiver::scripted(vec![ResponseTemplate::new(500), ResponseTemplate::new(204)]).await;
    let body = json!({ "url": receiver.url(), "events": ["image.*"], "ordering": "endpoint" });
    let webhook = ana.post_json("/api/v1/webhooks", body).await.expect(201);
    let path = path_of(&webhook);
    for text in ["one", "two"] {
        app.ocr_completed(&ana, text).await;
    }
    app.run_due_jobs().await;
    assert_eq!(receiver.requests().await.len(), 1, "it failed, and waits");

    let sent = ana.post(&format!("{path}/ping")).await.expect(202);
    app.run_due_jobs().await;
    let ping = sent["delivery"]["id"].as_str().unwrap();
    let resend = format!("{path}/deliveries/{ping}/resend");
    ana.post(&resend).await.expect(202);
    app.run_due_jobs().await;
    app.run_jobs().await;
    let kinds: Vec<Value> = receiver
        .bodies()
        .await
        .iter()
        .map(|body| body["type"].clone())
        .collect();
    let (event, ping) = ("image.ocr_completed", "webhook.ping");
    assert_eq!(kinds, [event, ping, ping, event, event]);
    app.finish().await;
}
