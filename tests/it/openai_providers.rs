//! The surface that speaks like `OpenAI`'s API: providers that differ from each other, and one that steps in for another.

use serde_json::{Value, json};
use shared::config::ProviderArgs;
use tests::{Options, TestApp, fakes::provider::Provider};

use crate::{
    chat::ledger,
    openai_chat::{CHAT, ask, error},
};

#[tokio::test]
async fn what_a_provider_does_not_take_is_left_out() {
    let provider = Provider::saying(&["Yes."]).await;
    let app = TestApp::with(Options {
        providers: ProviderArgs {
            groq_api_keys: Some("gsk_1".to_owned()),
            groq_base_url: Some(provider.base_url.clone()),
            ..ProviderArgs::default()
        },
        ..Options::default()
    })
    .await;
    let ana = app.user("ana").await;
    let body = json!({
        "model": "llama-3.3-70b-versatile", "logprobs": true, "top_logprobs": 2, "logit_bias": { "7": 1 }, "n": 1,
        "store": true, "moderation": { "model": "m" }, "prompt_cache_options": { "ttl": "30m" },
        "messages": [{ "role": "developer", "content": "Be brief." },
                     { "role": "user", "name": "Ana", "content": "Hi" }],
    });
    ana.post_json(CHAT, body).await.expect(200);
    let asked = &provider.asked()[0].body;
    for name in [
        "logprobs",
        "top_logprobs",
        "logit_bias",
        "n",
        "store",
        "moderation",
        "prompt_cache_options",
    ] {
        assert!(asked.get(name).is_none(), "{name}: {asked}");
    }
    assert_eq!(
        asked["messages"],
        json!([{ "role": "system", "content": "Be brief." }, { "role": "user", "content": "Hi" }])
    );
    // Nor does this model see.
    let picture =
        json!([{ "type": "image_url", "image_url": { "url": "https://example.com/a.png" } }]);
    let body = json!({ "model": "llama-3.3-70b-versatile", "messages": [{ "role": "user", "content": picture }] });
    let told = error(ana.post_json(CHAT, body).await, 400, "unsupported_value");
    assert_eq!(told["param"], "messages[0].content[0]");
    app.finish().await;
}

#[tokio::test]
async fn an_answer_that_is_sent_back_is_put_as_its_provider_takes_it() {
    let provider = Provider::saying(&["Yes."]).await;
    let app = TestApp::with(Options {
        providers: ProviderArgs {
            groq_api_keys: Some("gsk_1".to_owned()),
            groq_base_url: Some(provider.base_url.clone()),
            gemini_api_keys: Some("AIza".to_owned()),
            gemini_base_url: Some(provider.base_url.clone()),
            ..ProviderArgs::default()
        },
        ..Options::default()
    })
    .await;
    let ana = app.user("ana").await;
    let function = json!({ "name": "look", "arguments": "{}" });
    let seal = json!({ "google": { "thought_signature": "sealed" } });
    let plain = json!({ "id": "a", "type": "function", "function": function });
    let sealed =
        json!({ "id": "a", "type": "function", "function": function, "extra_content": seal });
    let question = json!({ "role": "user", "content": "How is it?" });
    let result = json!({ "role": "tool", "tool_call_id": "a", "content": "hot" });
    for (model, call) in [
        ("llama-3.1-8b-instant", &plain),
        ("gemini-2.5-flash", &sealed),
    ] {
        // As SDKs make it of our answer.
        let answer = json!({
            "role": "assistant", "content": null, "refusal": null, "annotations": [], "audio": null, "function_call": null,
            "reasoning_content": "Hm.", "tool_calls": [sealed],
        });
        let body = json!({ "model": model, "messages": [question, answer, result] });
        ana.post_json(CHAT, body).await.expect(200);
        let expected = json!({ "role": "assistant", "content": null, "tool_calls": [call] });
        assert_eq!(
            provider.asked().last().unwrap().body["messages"],
            json!([question, expected, result]),
            "{model}"
        );
    }
    app.finish().await;
}

#[tokio::test]
async fn another_provider_is_asked_and_each_try_is_in_the_ledger() {
    let (away, there) = (
        Provider::start(|_| tests::fakes::provider::refusal(503, "overloaded")).await,
        Provider::saying(&["Yes."]).await,
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
    let reply = ana.post_json(CHAT, ask("Hi")).await;
    assert_eq!(reply.headers["x-baatcheet-provider"], "openrouter");
    assert_eq!(reply.headers["x-baatcheet-attempts"], "2");
    assert_eq!(
        reply.expect(200)["choices"][0]["message"]["content"],
        "Yes."
    );
    assert_eq!(there.asked()[0].body["model"], "openai/gpt-4o-mini");
    let rows = ledger(&app).await;
    let outcomes: Vec<&Value> = rows.iter().map(|row| &row["outcome"]).collect();
    assert_eq!(outcomes, [&json!("failed"), &json!("completed")]);
    app.finish().await;
}
