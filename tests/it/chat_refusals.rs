//! Keys, models and questions that are refused: which keys are retired, and who is asked instead.

use serde_json::json;
use shared::config::ProviderArgs;
use tests::{
    Options, TestApp,
    fakes::provider::{Provider, Script, Step, refusal, whole, words_of},
};

use crate::{
    chat::ledger,
    chat_keys::{app, ask, uses},
    chat_streams::Instance,
};

#[tokio::test]
async fn four_dead_keys_of_five_are_no_trouble() {
    let provider = Provider::start(|asked| match asked.key.as_str() {
        "sk-1" => refusal(401, "Incorrect API key provided"),
        "sk-2" => refusal(402, "Insufficient balance"),
        "sk-3" => refusal(403, "Suspended"),
        "sk-4" => refusal(429, "Rate limit reached"),
        _ => words_of(&["Yes."]),
    })
    .await;
    let app = TestApp::with(Options {
        providers: provider.args("sk-1,sk-2,sk-3,sk-4,sk-5"),
        ..Options::default()
    })
    .await;
    let ana = app.user("ana").await;
    let answer = ana.chat(json!({ "message": "Hi" })).await.expect(200);
    assert_eq!(answer["message"]["content"][0]["text"], "Yes.");
    let rows = ledger(&app).await;
    assert_eq!(answer["usage"]["attempts"], rows.len());
    let (last, dead) = rows.split_last().unwrap();
    assert_eq!(last["outcome"], "completed");
    assert!(
        dead.iter()
            .all(|row| row["outcome"] == "failed" && row["cost_microusd"] == 0)
    );
    for _ in 0..4 {
        ana.chat(json!({ "message": "Hi" })).await.expect(200);
    }
    let mut tried: Vec<String> = provider
        .asked()
        .into_iter()
        .map(|asked| asked.key)
        .collect();
    tried.retain(|key| key != "sk-5");
    tried.sort();
    tried.dedup();
    assert!(
        ledger(&app).await.len() == 5 + tried.len(),
        "each dead key is tried once: {tried:?}"
    );
    app.finish().await;
}

#[tokio::test]
async fn a_refused_key_is_retired_for_all_and_for_good() {
    let provider = Provider::start(|asked| match asked.key.as_str() {
        "k1" => refusal(401, "Incorrect API key provided"),
        _ => words_of(&["Yes."]),
    })
    .await;
    let app = TestApp::with(Options {
        live: true,
        providers: provider.args("k1,k2"),
        ..Options::default()
    })
    .await;
    let ana = app.user("ana").await;
    for _ in 0..6 {
        ask(&ana).await.expect(200);
    }
    assert_eq!(uses(&provider.asked())["k1"], 1);
    // A program that starts later.
    let other = Instance::start(&app, &provider, &[("OPENAI_API_KEYS", "k1,k2")]).await;
    for _ in 0..4 {
        ask(&other.of(&ana)).await.expect(200);
    }
    assert_eq!(uses(&provider.asked())["k1"], 1);
    app.finish().await;
}

#[tokio::test]
async fn keys_that_are_all_refused_are_told_to_be() {
    let provider = Provider::start(|_| refusal(401, "Incorrect API key provided")).await;
    let (app, ana) = app(provider.args("k1,k2")).await;
    ask(&ana).await.expect_problem(502, "provider_failed");
    let refused = ask(&ana).await;
    assert_eq!(refused.headers["x-should-retry"], "false");
    refused.expect_problem(503, "provider_keys_retired");
    assert_eq!(provider.asked().len(), 2);
    app.finish().await;
}

#[tokio::test]
async fn a_refusal_within_success_is_a_refusal() {
    let provider = Provider::start(|asked| match asked.key.as_str() {
        "k1" => Script {
            status: 200,
            headers: vec![("content-type", "application/json".to_owned())],
            steps: vec![Step::Send(
                r#"{"error":{"message":"Insufficient credits","code":402}}"#.to_owned(),
            )],
        },
        _ => words_of(&["Yes."]),
    })
    .await;
    let (app, ana) = app(provider.args("k1,k2")).await;
    for _ in 0..4 {
        ask(&ana).await.expect(200);
    }
    assert_eq!(uses(&provider.asked())["k1"], 1);
    app.finish().await;
}

#[tokio::test]
async fn a_question_that_is_moderated_retires_no_key() {
    let provider = Provider::start(|asked| match asked.question().as_str() {
        "Hi" => words_of(&["Yes."]),
        _ => refusal(
            403,
            "Your chosen model requires moderation and your input was flagged",
        ),
    })
    .await;
    let (app, ana) = app(provider.args("k1,k2")).await;
    let body = json!({ "message": "bad words", "model": "gpt-4o-mini" });
    ana.chat(body).await.expect_problem(502, "provider_refused");
    assert_eq!(provider.asked().len(), 1);
    ask(&ana).await.expect(200);
    app.finish().await;
}

#[tokio::test]
async fn a_model_that_may_not_be_used_retires_no_key_and_a_failed_question_may_be_sent_again() {
    let provider = Provider::start(|asked| match asked.body["model"].as_str() {
        Some("gpt-4o") => Script {
            status: 403,
            headers: vec![("content-type", "application/json".to_owned())],
            steps: vec![Step::Send(
                r#"{"error":{"message":"Project `p` does not have access to model `gpt-4o`","code":"model_not_found"}}"#.to_owned(),
            )],
        },
        _ => words_of(&["Yes."]),
    })
    .await;
    let (app, ana) = app(provider.args("k1")).await;
    let body = json!({ "message": "Hi", "model": "gpt-4o", "clientId": "c-1" });
    ana.chat(body).await.expect_problem(502, "provider_refused");
    ask(&ana).await.expect(200);
    // The same message again, at a model that may be used.
    let body = json!({ "message": "Hi", "model": "gpt-4o-mini", "clientId": "c-1" });
    let answer = ana.chat(body.clone()).await.expect(200);
    let again = ana.chat(body).await.expect(200);
    assert_eq!(again["message"]["id"], answer["message"]["id"]);
    assert_eq!(again["message"]["content"][0]["text"], "Yes.");
    let conversations = ana.get("/api/v1/conversations").await.expect(200);
    assert_eq!(conversations["data"].as_array().unwrap().len(), 2);
    app.finish().await;
}

#[tokio::test]
async fn who_names_no_model_gets_one_whose_keys_are_taken() {
    let away = Provider::start(|_| refusal(401, "Incorrect API key provided")).await;
    let there = Provider::saying(&["Yes."]).await;
    let (app, ana) = app(ProviderArgs {
        groq_api_keys: Some("gsk_1".to_owned()),
        groq_base_url: Some(away.base_url.clone()),
        ..there.args("k1")
    })
    .await;
    ana.chat(json!({ "message": "Hi" }))
        .await
        .expect_problem(502, "provider_failed");
    let answer = ana.chat(json!({ "message": "Hi" })).await.expect(200);
    assert_eq!(answer["message"]["provider"], "openai");
    let models = ana.get("/api/v1/models").await.expect(200);
    assert!(!models.to_string().contains("groq"), "{models}");
    app.finish().await;
}

#[tokio::test]
async fn a_key_that_is_not_for_this_is_kept_for_other_things() {
    let provider = Provider::start(|asked| {
        if asked.body.get("input").is_some() {
            return whole(&json!({ "data": [{ "index": 0, "embedding": [1, 2] }] }));
        }
        match asked.key.as_str() {
            "k1" => refusal(
                401,
                "You have insufficient permissions for this operation. Missing scopes: model.request.",
            ),
            _ => words_of(&["Yes."]),
        }
    })
    .await;
    let (app, ana) = app(provider.args("k1,k2")).await;
    for _ in 0..4 {
        ask(&ana).await.expect(200);
    }
    assert!(uses(&provider.asked())["k1"] > 1);
    let before = provider.asked().len();
    let body = json!({ "model": "text-embedding-3-small", "input": "Salt" });
    for _ in 0..2 {
        ana.post_json("/v1/embeddings", body.clone())
            .await
            .expect(200);
    }
    let keys: Vec<String> = provider.asked()[before..]
        .iter()
        .map(|one| one.key.clone())
        .collect();
    assert!(keys.contains(&"k1".to_owned()), "{keys:?}");
    app.finish().await;
}

#[tokio::test]
async fn a_question_that_is_too_dear_retires_no_key() {
    let provider = Provider::start(|asked| match asked.question().as_str() {
        "Hi" => words_of(&["Yes."]),
        "within" => whole(
            &json!({ "error": { "message": "Prompt tokens limit exceeded: 9 > 3", "code": 402 } }),
        ),
        _ => refusal(
            402,
            "Prompt tokens limit exceeded: 64128 > 6964. To increase, visit",
        ),
    })
    .await;
    let (app, ana) = app(provider.args("k1,k2")).await;
    for question in ["long", "within"] {
        let body = json!({ "message": question, "model": "gpt-4o-mini" });
        ana.chat(body).await.expect_problem(502, "provider_refused");
    }
    assert_eq!(provider.asked().len(), 2);
    for _ in 0..2 {
        ask(&ana).await.expect(200);
    }
    assert_eq!(uses(&provider.asked()).len(), 2);
    app.finish().await;
}
