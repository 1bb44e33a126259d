//! Which events an endpoint wants: names, groups, and all.

use serde_json::json;
use tests::{TestApp, fakes::receiver::Receiver};

const WEBHOOKS: &str = "/api/v1/webhooks";
const URL: &str = "http://127.0.0.1:9/hook";

#[tokio::test]
async fn an_unknown_event_is_told_the_near_ones() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    for (name, told) in [
        ("attachment.delete", "near are attachment.deleted"),
        ("mesage.*", "near are message.*"),
        ("nothing.like.it", "is none of"),
        ("webhook.ping", "\"webhook.ping\""),
        ("", "is none of"),
        ("**", "is none of"),
    ] {
        let body = json!({ "url": URL, "events": ["message.created", name] });
        let problem = ana.post_json(WEBHOOKS, body).await;
        let problem = problem.expect_problem(422, "invalid_request");
        assert_eq!(problem["errors"][0]["pointer"], "/events/1");
        let detail = problem["errors"][0]["detail"].as_str().unwrap();
        assert!(detail.contains(told), "{name}: {detail}");
    }
    app.finish().await;
}

#[tokio::test]
async fn all_unknown_events_are_told_at_once() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let events = [
        "mesage.created",
        "message.created",
        "mesage.*",
        "nothing.like.it",
    ];
    let body = json!({ "url": URL, "events": events });
    let problem = ana.post_json(WEBHOOKS, body).await;
    let problem = problem.expect_problem(422, "invalid_request");
    let errors = problem["errors"].as_array().unwrap();
    let told = [
        ("/events/0", "near are message.created"),
        ("/events/2", "near are message.*"),
        ("/events/3", "is none of"),
    ];
    assert_eq!(errors.len(), told.len(), "{problem}");
    for (error, (pointer, detail)) in errors.iter().zip(told) {
        assert_eq!(error["pointer"], pointer);
        assert!(
            error["detail"].as_str().unwrap().contains(detail),
            "{error}"
        );
    }

    // Nobody reads thousands.
    let events: Vec<String> = (0..5000).map(|number| number.to_string()).collect();
    let body = json!({ "url": URL, "events": events });
    let problem = ana.post_json(WEBHOOKS, body).await;
    let problem = problem.expect_problem(422, "invalid_request");
    assert_eq!(problem["errors"].as_array().unwrap().len(), 100);
    app.finish().await;
}

#[tokio::test]
async fn an_endpoint_gets_what_its_patterns_want() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    for (events, count) in [
        (json!(["image.*"]), 2),
        (json!(["*"]), 2),
        (json!(["image.ocr_failed", "message.*"]), 1),
        (json!(["message.*"]), 0),
    ] {
        let receiver = Receiver::start().await;
        let body = json!({ "url": receiver.url(), "events": events });
        let webhook = ana.post_json(WEBHOOKS, body).await.expect(201);
        app.ocr_completed(&ana, "text").await;
        app.ocr_failed(&ana, "no").await;
        app.run_jobs().await;
        assert_eq!(receiver.requests().await.len(), count, "{events}");
        let path = format!("{WEBHOOKS}/{}", webhook["id"].as_str().unwrap());
        ana.delete(&path).await.expect(204);
    }
    app.run_jobs().await;
    app.finish().await;
}
