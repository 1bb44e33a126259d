//! The surface that speaks like `OpenAI`'s API: models, and vectors of texts.

use serde_json::{Value, json};
use shared::config::ProviderArgs;
use tests::{
    Options, TestApp,
    fakes::provider::{Provider, refusal, whole},
};

use crate::{
    chat::{app, ledger},
    openai_chat::error,
};

const EMBEDDINGS: &str = "/v1/embeddings";

#[tokio::test]
async fn models_that_can_be_asked_are_listed() {
    let provider = Provider::saying(&["Yes."]).await;
    let table = tempfile::NamedTempFile::new().unwrap();
    let mine = r#"{ "version": "2026-11-28", "models": [{ "id": "mine/small/1", "name": "Mine", "contextTokens": 8000,
        "maxOutputTokens": 1000, "routes": [{ "provider": "openai", "model": "gpt-4o-mini" }] }] }"#;
    std::fs::write(table.path(), mine).unwrap();
    let app = TestApp::with(Options {
        providers: ProviderArgs {
            models_file: Some(table.path().display().to_string()),
            ..provider.args("sk-1")
        },
        ..Options::default()
    })
    .await;
    let ana = app.user("ana").await;
    let list = ana.get("/v1/models").await.expect(200);
    assert_eq!(list["object"], "list");
    let of = |id: &str| {
        let mut models = list["data"].as_array().unwrap().iter();
        models.find(|model| model["id"] == id).cloned()
    };
    let small = json!({ "id": "gpt-4o-mini", "object": "model", "created": 1_795_824_000, "owned_by": "openai" });
    assert_eq!(of("gpt-4o-mini"), Some(small.clone()));
    for id in ["text-embedding-3-small", "whisper-1", "mine/small/1"] {
        assert_eq!(of(id).unwrap()["owned_by"], "openai", "{id}");
    }
    for id in [
        "gemini-2.5-flash",
        "gemini-embedding-001",
        "whisper-large-v3",
    ] {
        assert_eq!(of(id), None, "{id}");
    }
    assert_eq!(ana.get("/v1/models/gpt-4o-mini").await.expect(200), small);
    for path in ["/v1/models/mine/small/1", "/v1/models/mine%2Fsmall%2F1"] {
        assert_eq!(
            ana.get(path).await.expect(200)["id"],
            "mine/small/1",
            "{path}"
        );
    }
    let told = error(ana.get("/v1/models/nothing").await, 404, "model_not_found");
    assert_eq!(told["param"], "model");
    error(
        ana.get("/v1/models/nothing/at/all").await,
        404,
        "model_not_found",
    );
    app.finish().await;
}

#[tokio::test]
async fn texts_become_vectors() {
    let provider = Provider::start(|asked| {
        // As OpenAI writes what its clients ask for: 1.0 and -0.5.
        let count = asked.body["input"].as_array().map_or(1, Vec::len);
        let data: Vec<Value> = (0..count)
            .map(|index| json!({ "object": "embedding", "index": index, "embedding": "AACAPwAAAL8=" }))
            .collect();
        whole(&json!({ "object": "list", "data": data, "model": "x", "usage": { "prompt_tokens": 1000, "total_tokens": 1000 } }))
    })
    .await;
    let (app, ana) = app(&provider).await;
    let body = json!({ "model": "text-embedding-3-small", "input": ["Salt", "water"], "dimensions": 2, "user": "ana" });
    let reply = ana.post_json(EMBEDDINGS, body).await;
    assert_eq!(reply.headers["x-baatcheet-provider"], "openai");
    // 1,000 of 0.02 dollars a million.
    assert_eq!(reply.headers["x-baatcheet-cost-microusd"], "20");
    let answer = reply.expect(200);
    assert_eq!(
        (&answer["object"], &answer["model"]),
        (&json!("list"), &json!("text-embedding-3-small"))
    );
    assert_eq!(
        answer["usage"],
        json!({ "prompt_tokens": 1000, "total_tokens": 1000 })
    );
    assert_eq!(
        answer["data"][1],
        json!({ "object": "embedding", "index": 1, "embedding": [1.0, -0.5] })
    );
    let asked = &provider.asked()[0].body;
    assert_eq!(asked["input"], json!(["Salt", "water"]));
    assert_eq!(
        (&asked["dimensions"], &asked["encoding_format"]),
        (&json!(2), &json!("base64"))
    );
    let body =
        json!({ "model": "text-embedding-3-small", "input": "Salt", "encoding_format": "base64" });
    let answer = ana.post_json(EMBEDDINGS, body).await.expect(200);
    assert_eq!(answer["data"][0]["embedding"], "AACAPwAAAL8=");
    let rows = ledger(&app).await;
    for (field, value) in [
        ("kind", json!("embedding")),
        ("outcome", json!("completed")),
        ("input_tokens", json!(1000)),
        ("output_tokens", json!(0)),
        ("cost_microusd", json!(20)),
        ("model", json!("text-embedding-3-small")),
    ] {
        assert_eq!(rows[0][field], value, "{field}");
    }
    app.finish().await;
}

#[tokio::test]
async fn vectors_come_from_whoever_has_the_model() {
    let (away, there) = (
        Provider::start(|_| refusal(503, "overloaded")).await,
        Provider::start(|_| {
            let data = json!([{ "index": 0, "embedding": [0.25, 1] }]);
            whole(&json!({ "data": data, "usage": { "prompt_tokens": 3, "cost": 0.000_001 } }))
        })
        .await,
    );
    let mut providers = away.args("sk-1");
    providers.openrouter_api_keys = Some("or-1".to_owned());
    providers.openrouter_base_url = Some(there.base_url.clone());
    let app = TestApp::with(Options {
        providers,
        ..Options::default()
    })
    .await;
    let ana = app.user("ana").await;
    let body = json!({ "model": "text-embedding-3-large", "input": [1, 2, 3] });
    let reply = ana.post_json(EMBEDDINGS, body).await;
    assert_eq!(reply.headers["x-baatcheet-attempts"], "2");
    assert_eq!(
        reply.expect(200)["data"][0]["embedding"],
        json!([0.25, 1.0])
    );
    assert_eq!(
        there.asked()[0].body["model"],
        "openai/text-embedding-3-large"
    );
    assert_eq!(there.asked()[0].body["encoding_format"], "float");
    let rows = ledger(&app).await;
    assert_eq!(
        (&rows[0]["outcome"], &rows[0]["cost_microusd"]),
        (&json!("failed"), &json!(0))
    );
    assert_eq!(
        (&rows[1]["price_version"], &rows[1]["cost_microusd"]),
        (&json!("reported"), &json!(1))
    );
    app.finish().await;
}

#[tokio::test]
async fn what_cannot_become_vectors_is_refused() {
    let provider = Provider::start(|_| whole(&json!({ "data": [] }))).await;
    let (app, ana) = app(&provider).await;
    let model = "text-embedding-3-small";
    for (body, param, code) in [
        (
            json!({ "model": model }),
            "input",
            "missing_required_parameter",
        ),
        (
            json!({ "input": "Salt" }),
            "model",
            "missing_required_parameter",
        ),
        (
            json!({ "model": model, "input": [] }),
            "input",
            "invalid_value",
        ),
        (
            json!({ "model": model, "input": "Salt", "dimensions": 4000 }),
            "dimensions",
            "invalid_value",
        ),
        (
            json!({ "model": model, "input": "Salt", "frobnicate": 1 }),
            "frobnicate",
            "unknown_parameter",
        ),
    ] {
        let told = error(ana.post_json(EMBEDDINGS, body).await, 400, code);
        assert_eq!(told["param"], param, "{told}");
    }
    let chat = json!({ "model": "gpt-4o-mini", "input": "Salt" });
    error(
        ana.post_json(EMBEDDINGS, chat).await,
        404,
        "model_not_found",
    );
    let gemini = json!({ "model": "gemini-embedding-001", "input": "Salt" });
    error(ana.post_json(EMBEDDINGS, gemini).await, 503, "no_provider");
    assert!(provider.asked().is_empty());
    // An answer that is none.
    let body = json!({ "model": model, "input": "Salt" });
    error(
        ana.post_json(EMBEDDINGS, body).await,
        502,
        "provider_failed",
    );
    app.finish().await;
}

#[tokio::test]
async fn vectors_that_do_not_belong_together_are_none() {
    let provider = Provider::start(|asked| {
        let one = |index: usize, vector: Value| json!({ "index": index, "embedding": vector });
        let data = match asked.body["user"].as_str() {
            Some("places") => [one(0, json!([1, 2])), one(0, json!([3, 4]))],
            Some("lengths") => [one(0, json!([1, 2])), one(1, json!([3]))],
            Some("numbers") => [one(0, json!([1, 2])), one(1, json!([3, 1e300]))],
            _ => [one(1, json!([3, 4])), one(0, json!([1, 2]))],
        };
        whole(&json!({ "data": data }))
    })
    .await;
    let app = TestApp::with(Options {
        providers: ProviderArgs {
            breaker_failures: Some("100".to_owned()),
            ..provider.args("sk-1")
        },
        ..Options::default()
    })
    .await;
    let ana = app.user("ana").await;
    let body = |user: &str| json!({ "model": "text-embedding-3-small", "input": ["Salt", "water"], "user": user });
    for user in ["places", "lengths", "numbers"] {
        error(
            ana.post_json(EMBEDDINGS, body(user)).await,
            502,
            "provider_failed",
        );
    }
    let answer = ana.post_json(EMBEDDINGS, body("ana")).await.expect(200);
    assert_eq!(answer["data"][0]["embedding"], json!([1.0, 2.0]));
    app.finish().await;
}

#[tokio::test]
async fn who_wants_another_length_than_a_provider_knows_opens_no_breaker() {
    let provider = Provider::start(|_| whole(&json!({ "data": [{ "embedding": [1, 2] }] }))).await;
    let (app, ana) = app(&provider).await;
    let mut body = json!({ "model": "text-embedding-3-small", "input": "Salt", "dimensions": 3 });
    for _ in 0..4 {
        error(
            ana.post_json(EMBEDDINGS, body.clone()).await,
            502,
            "provider_failed",
        );
    }
    body["dimensions"] = json!(2);
    ana.post_json(EMBEDDINGS, body).await.expect(200);
    app.finish().await;
}
