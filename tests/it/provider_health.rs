//! What `/api/health` says of providers.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use serde_json::json;
use tests::{
    Options, TestApp, eventually,
    fakes::provider::{Provider, refusal, words_of},
};

use crate::{chat_admin::ask, chat_streams::Instance};

#[tokio::test]
async fn health_shows_providers_without_asking_them_for_it() {
    let provider = Provider::start(|_| refusal(503, "overloaded")).await;
    let app = TestApp::with(Options {
        live: true,
        providers: provider.args("k1"),
        ..Options::default()
    })
    .await;
    let ana = app.user("ana").await;
    let other = Instance::start(&app, &provider, &[("OPENAI_API_KEYS", "k1")]).await;
    let health = async || app.anonymous().get("/api/health").await.expect(200);
    eventually("it was asked", async || {
        health().await["services"]["openai"]["latency"].as_u64() > Some(0)
            || provider.models_asked() > 0
    })
    .await;
    for _ in 0..20 {
        health().await;
        other.of(&ana).get("/api/health").await.expect(200);
    }
    assert_eq!(health().await["services"]["openai"]["status"], "healthy");
    assert_eq!(
        provider.models_asked(),
        1,
        "once a minute, by all instances"
    );
    for _ in 0..2 {
        let body = json!({ "message": "Hi", "model": "gpt-4o-mini" });
        ana.chat(body).await.expect_problem(502, "provider_failed");
    }
    let now = health().await;
    assert_eq!(now["services"]["openai"]["status"], "degraded");
    assert_eq!(now["status"], "degraded");
    app.finish().await;

    let app = TestApp::with(Options {
        providers: provider.args("k1"),
        api: api::config::ApiArgs {
            health_probe_providers: Some("false".to_owned()),
            ..Default::default()
        },
        ..Options::default()
    })
    .await;
    let before = provider.models_asked();
    app.advance(Duration::from_secs(1)).await;
    app.anonymous().get("/api/health").await.expect(200);
    assert_eq!(provider.models_asked(), before);
    app.finish().await;
}

#[tokio::test]
async fn a_provider_is_degraded_until_an_answer_shows_that_it_is_back() {
    let is_back = Arc::new(AtomicBool::new(false));
    let seen = is_back.clone();
    let provider = Provider::start(move |_| {
        if seen.load(Ordering::SeqCst) {
            words_of(&["Yes."])
        } else {
            refusal(503, "overloaded")
        }
    })
    .await;
    let app = TestApp::with(Options {
        providers: provider.args("k1"),
        api: api::config::ApiArgs {
            health_probe_providers: Some("false".to_owned()),
            ..Default::default()
        },
        ..Options::default()
    })
    .await;
    let ana = app.user("ana").await;
    let health = async || {
        let health = app.anonymous().get("/api/health").await.expect(200);
        health["services"]["openai"].clone()
    };
    assert_eq!(health().await["status"], "healthy");
    for _ in 0..2 {
        let body = json!({ "message": "Hi", "model": "gpt-4o-mini" });
        ana.chat(body).await.expect_problem(502, "provider_failed");
    }
    assert_eq!(health().await["status"], "degraded");
    // Long after the breaker lets somebody through.
    app.advance(Duration::from_mins(2)).await;
    let half_open = health().await;
    assert_eq!(half_open["status"], "degraded");
    let hint = half_open["hint"].as_str().unwrap();
    assert!(hint.contains("next question"), "{hint}");
    is_back.store(true, Ordering::SeqCst);
    ask(&ana).await;
    assert_eq!(health().await["status"], "healthy");
    app.finish().await;
}
