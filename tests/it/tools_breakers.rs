//! Tools that fail are left alone; what does not exist is no failure.

use std::time::Duration;

use serde_json::json;
use shared::tools::{Outcome, Tools};
use tests::{
    TestApp,
    fakes::services::{Reply, Services},
};

use crate::tools::{call, completed, everything, tools, unavailable};

#[tokio::test]
async fn what_does_not_exist_is_an_answer_and_no_failure() {
    let app = TestApp::spawn().await;
    let services = Services::start(|asked| match asked.path.as_str() {
        "/weather/weather" => Reply::new(404, r#"{"cod":"404","message":"city not found"}"#),
        "/news/everything" => Reply::new(400, r#"{"status":"error","code":"parameterInvalid"}"#),
        _ => Reply::new(404, r#"{"result":"error","error-type":"unsupported-code"}"#),
    })
    .await;
    let tools = tools(&app, &services.args()).await;
    for place in ["A", "B", "C", "D"] {
        let told = completed(&call(&tools, "weather", &json!({ "location": place })).await);
        assert!(told["error"].as_str().unwrap().contains(place));
    }
    let money = json!({ "from": "XXX", "to": "PKR" });
    assert!(completed(&call(&tools, "currency", &money).await)["error"].is_string());
    for word in ["a", "b", "c", "d"] {
        let called = call(&tools, "news", &json!({ "query": word })).await;
        assert_eq!(called.outcome, Outcome::Failed);
    }
    assert_eq!(services.asked().len(), 9, "no breaker opened");
    app.finish().await;
}

#[tokio::test]
async fn a_tool_that_fails_is_left_alone_for_a_minute() {
    let app = TestApp::spawn().await;
    let services = Services::start(|asked| {
        if !asked.path.starts_with("/weather/") {
            return everything(asked);
        }
        match asked.query["q"].as_str() {
            "Lahore" => everything(asked),
            "Delhi" => Reply::new(401, r#"{"cod":401,"message":"Invalid API key"}"#),
            _ => Reply::new(503, "<html>busy</html>"),
        }
    })
    .await;
    // Two programs.
    let one = tools(&app, &services.args()).await;
    let other = tools(&app, &services.args()).await;
    let ask = async |tools: &Tools, place: &str| {
        call(tools, "weather", &json!({ "location": place })).await
    };
    let of_weather = || {
        let asked = services.asked();
        asked
            .iter()
            .filter(|asked| asked.path.starts_with("/weather/"))
            .count()
    };
    for place in ["A", "Delhi", "B"] {
        unavailable(&ask(&one, place).await);
    }
    assert_eq!(of_weather(), 3);
    for tools in [&one, &other] {
        unavailable(&ask(tools, "Lahore").await);
    }
    assert_eq!(of_weather(), 3, "all programs leave it alone");
    // Another tool is asked all the same.
    let money = json!({ "from": "USD", "to": "PKR" });
    let told = call(&one, "currency", &money).await;
    assert_eq!(
        (&completed(&told)["rate"], told.is_cached),
        (&json!(281.5), false)
    );
    assert_eq!(services.asked().len(), 4);
    app.advance(Duration::from_secs(59)).await;
    for tools in [&one, &other] {
        unavailable(&ask(tools, "Lahore").await);
    }
    assert_eq!(of_weather(), 3, "for a minute");
    app.advance(Duration::from_secs(1)).await;
    unavailable(&ask(&other, "C").await);
    assert_eq!(of_weather(), 4, "one try, which fails");
    for tools in [&one, &other] {
        unavailable(&ask(tools, "Lahore").await);
    }
    assert_eq!(of_weather(), 4);
    // No longer than the first time.
    app.advance(Duration::from_mins(1)).await;
    completed(&ask(&one, "Lahore").await);
    for place in ["D", "E"] {
        unavailable(&ask(&one, place).await);
    }
    assert_eq!(of_weather(), 7, "it is closed");
    app.finish().await;
}
