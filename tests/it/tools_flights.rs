//! Asking a tool once, however many want the same, and for no longer than it may take.

use std::time::{Duration, Instant};

use serde_json::json;
use shared::{config::ToolArgs, keyring::sha256};
use tests::{TestApp, eventually, fakes::services::Services};

use crate::tools::{call, completed, connect, everything, tools, unavailable, with};

#[tokio::test]
async fn many_programs_that_want_the_same_ask_once() {
    let app = TestApp::spawn().await;
    let services = Services::start(|asked| everything(asked).held()).await;
    let (one, other) = (
        tools(&app, &services.args()).await,
        tools(&app, &services.args()).await,
    );
    let arguments = json!({ "location": "Lahore" });
    let calls = async {
        tokio::join!(
            call(&one, "weather", &arguments),
            call(&one, "weather", &arguments),
            call(&other, "weather", &arguments),
            call(&other, "weather", &arguments),
        )
    };
    let release = async {
        eventually("somebody asks", async || !services.asked().is_empty()).await;
        services.release();
    };
    let ((a, b, c, d), ()) = tokio::join!(calls, release);
    for called in [&a, &b, &c, &d] {
        completed(called);
        assert_eq!(called.text, a.text);
    }
    assert_eq!(services.asked().len(), 1);
    app.finish().await;
}

/// Asks for the weather in Lahore, as another program does that ends before it has it.
async fn claim_weather(app: &TestApp, lifetime: Duration) {
    let redis = connect(app, &app.redis_url);
    eventually("redis is there", async || redis.ping().await.is_ok()).await;
    let keys = redis.keys();
    let result = keys.tool_result("weather", &sha256(br#"{"location":"Lahore"}"#));
    let key = keys.tool_flight(&result);
    let claimed = redis.claim(&key, b"gone".to_vec(), lifetime).await;
    assert!(claimed.unwrap());
}

#[tokio::test]
async fn where_who_asks_dies_one_of_the_others_asks() {
    let app = TestApp::spawn().await;
    let services = Services::start(everything).await;
    let (one, other) = (
        tools(&app, &services.args()).await,
        tools(&app, &services.args()).await,
    );
    let arguments = json!({ "location": "Lahore" });
    claim_weather(&app, Duration::from_secs(3)).await;
    let (a, b) = tokio::join!(
        call(&one, "weather", &arguments),
        call(&other, "weather", &arguments)
    );
    completed(&a);
    completed(&b);
    assert_eq!(services.asked().len(), 1);
    app.finish().await;
}

#[tokio::test]
async fn a_call_takes_no_longer_in_all_than_it_may() {
    let app = TestApp::spawn().await;
    let services = Services::start(everything).await;
    let args = ToolArgs {
        tool_timeout_seconds: Some("1".to_owned()),
        ..services.args()
    };
    let tools = tools(&app, &args).await;
    claim_weather(&app, Duration::from_secs(30)).await;
    let began = Instant::now();
    unavailable(&call(&tools, "weather", &json!({ "location": "Lahore" })).await);
    assert!(
        began.elapsed() < Duration::from_secs(2),
        "{:?}",
        began.elapsed()
    );
    assert!(services.asked().is_empty());
    app.finish().await;
}

#[tokio::test]
async fn who_takes_long_to_ask_is_not_taken_for_dead() {
    let app = TestApp::spawn().await;
    let services = Services::start(|asked| everything(asked).held()).await;
    let (one, other) = (
        tools(&app, &services.args()).await,
        tools(&app, &services.args()).await,
    );
    let arguments = json!({ "location": "Lahore" });
    let began = Instant::now();
    let calls = async {
        tokio::join!(
            call(&one, "weather", &arguments),
            call(&other, "weather", &arguments)
        )
    };
    let release = async {
        eventually("its first claim would be over", async || {
            began.elapsed() > Duration::from_secs(4)
        })
        .await;
        services.release();
    };
    let ((a, b), ()) = tokio::join!(calls, release);
    completed(&a);
    completed(&b);
    assert_eq!(services.asked().len(), 1);
    app.finish().await;
}

#[tokio::test]
async fn without_redis_each_program_asks_once() {
    let app = TestApp::spawn().await;
    let services = Services::start(|asked| everything(asked).held()).await;
    let nowhere = connect(&app, "redis://127.0.0.1:9");
    let alone = with(&app, &nowhere, &services.args());
    let arguments = json!({ "location": "Lahore" });
    let calls = async {
        tokio::join!(
            call(&alone, "weather", &arguments),
            call(&alone, "weather", &arguments)
        )
    };
    let release = async {
        eventually("somebody asks", async || !services.asked().is_empty()).await;
        services.release();
    };
    let ((one, other), ()) = tokio::join!(calls, release);
    completed(&one);
    assert_eq!(one.text, other.text);
    assert_eq!(services.asked().len(), 1);
    app.finish().await;
}
