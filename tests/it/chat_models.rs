//! Models that can be asked, and what answers where there are none.

use serde_json::{Value, json};
use tests::{Options, TestApp, fakes::provider::Provider, words};

use crate::chat::{app, ledger};

#[tokio::test]
async fn without_any_key_development_echoes_and_production_says_what_to_set() {
    let app = TestApp::with(Options {
        environment: Some("development".to_owned()),
        ..Options::default()
    })
    .await;
    let ana = app.user("ana").await;
    let models = ana.get("/api/v1/models").await.expect(200);
    assert_eq!(models["defaultModel"], "echo");
    assert_eq!(models["data"].as_array().unwrap().len(), 1);
    let events = ana
        .stream(json!({ "message": "Is anybody\nthere?" }))
        .await
        .rest()
        .await;
    assert_eq!(words(&events), "Is anybody\nthere?");
    assert!(events.len() > 4, "word by word: {events:?}");
    assert_eq!(ledger(&app).await[0]["cost_microusd"], 0);
    app.finish().await;

    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let problem = ana
        .chat(json!({ "message": "Hi" }))
        .await
        .expect_problem(503, "no_provider");
    for variable in [
        "GROQ_API_KEYS",
        "OPENROUTER_API_KEYS",
        "DEEPSEEK_API_KEYS",
        "GEMINI_API_KEYS",
        "OPENAI_API_KEYS",
    ] {
        assert!(
            problem["detail"].as_str().unwrap().contains(variable),
            "{problem}"
        );
    }
    let models = ana.get("/api/v1/models").await.expect(200);
    assert_eq!(
        (&models["data"], &models["defaultModel"]),
        (&json!([]), &Value::Null)
    );
    app.finish().await;
}

#[tokio::test]
async fn models_that_can_be_asked_are_listed_with_their_prices() {
    let provider = Provider::saying(&["Yes."]).await;
    let (app, ana) = app(&provider).await;
    let models = ana.get("/api/v1/models").await.expect(200);
    let of = |id: &str| {
        models["data"]
            .as_array()
            .unwrap()
            .iter()
            .find(|model| model["id"] == id)
            .cloned()
    };
    assert_eq!(models["defaultModel"], models["data"][0]["id"]);
    let mini = of("gpt-4o-mini").unwrap();
    assert_eq!(
        mini["providers"][0]["priceMicrousdPerMillion"]["input"],
        150_000
    );
    assert_eq!(mini["providers"].as_array().unwrap().len(), 1);
    assert!(of("gemini-2.5-flash").is_none());
    assert_eq!(
        ana.get("/api/v1/models/gpt-4o-mini").await.expect(200),
        mini
    );
    ana.get("/api/v1/models/gpt-4o-mni")
        .await
        .expect_problem(404, "model_not_found");
    app.finish().await;
}
