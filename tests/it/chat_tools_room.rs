//! How much room tools have in what a model is asked.

use serde_json::{Value, json};
use shared::{config::ProviderArgs, context::CUT_MARK, tokens::Encoding};
use tests::{
    Actor, Options, TestApp,
    fakes::{
        provider::{Asked, Provider, calling, words_of},
        services::{Reply, Services},
    },
};

use crate::chat_tools::{app, is_free, messages, results};

/// Most tokens that the small model is sent: it takes 2,400, of which 600 are for its answer.
const MOST: usize = 1_800;

/// A product with a small model and all tools, and somebody who uses it.
async fn small(provider: &Provider, services: &Services) -> (TestApp, Actor) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("models.json");
    let models = r#"{ "version": "1", "builtIn": true, "models": [
        { "id": "small", "name": "small", "contextTokens": 2400, "maxOutputTokens": 600,
          "routes": [{ "provider": "openai", "model": "gpt-4o-mini" }] }] }"#;
    std::fs::write(&file, models).unwrap();
    let app = TestApp::with(Options {
        providers: ProviderArgs {
            models_file: Some(file.display().to_string()),
            ..provider.args("sk-1")
        },
        api: api::config::ApiArgs {
            tools: services.args(),
            ..Default::default()
        },
        ..Options::default()
    })
    .await;
    let ana = app.user("ana").await;
    (app, ana)
}

/// Pages of the web that say a lot.
async fn talkative() -> Services {
    Services::start(|_| {
        let page = json!({ "title": "Salt", "url": "https://x.example/", "content": "salt नमक ".repeat(130) });
        Reply::json(&json!({ "results": vec![page; 10] }))
    })
    .await
}

/// A model that looks once, and then answers.
fn searching(asked: &Asked) -> tests::fakes::provider::Script {
    if results(asked).is_empty() && is_free(asked) {
        calling(&[("call_1", "web_search", r#"{"query":"salt","count":10}"#)])
    } else {
        words_of(&["Salty."])
    }
}

/// Tokens of all that a model was sent, with what it was told of tools.
fn sent(asked: &Asked) -> usize {
    let count = |text: &str| Encoding::O200k.count(text);
    let messages = asked.body["messages"].as_array().unwrap().iter();
    let said = messages.map(|message| {
        let text = |value: &Value| value.as_str().map_or(0, count);
        let calls = message["tool_calls"].as_array().into_iter().flatten();
        let calls = calls.map(|call| {
            let function = &call["function"];
            text(&function["name"]) + text(&function["arguments"])
        });
        text(&message["role"]) + text(&message["content"]) + calls.sum::<usize>() + 4
    });
    let tools = asked.body["tools"].as_array().into_iter().flatten();
    let told = tools.map(|tool| {
        let function = &tool["function"];
        let text = |field: &str| function[field].as_str().unwrap_or_default();
        let schema = &function["parameters"];
        let text = format!("{}\n{}\n{schema}", text("name"), text("description"));
        count("function") + count(&text) + 4
    });
    said.sum::<usize>() + told.sum::<usize>()
}

#[tokio::test]
async fn what_a_tool_says_is_cut_to_the_room_that_the_model_has() {
    let (provider, services) = (Provider::start(searching).await, talkative().await);
    let (app, ana) = small(&provider, &services).await;
    let body = json!({ "message": "Salt?", "model": "small", "tools": ["web_search"] });
    let answer = ana.chat(body).await.expect(200);
    assert_eq!(answer["message"]["content"][0]["text"], "Salty.");
    let asked = provider.asked();
    assert_eq!(asked.len(), 2);
    let told = results(&asked[1]).remove(0);
    assert!(told.ends_with(CUT_MARK), "{told}");
    let sent = sent(&asked[1]);
    assert!((MOST - 100..=MOST).contains(&sent), "{sent}");
    // There is no room for more, which the model is told without being told of no tools.
    assert!(!is_free(&asked[1]));
    assert_eq!(asked[1].body["tool_choice"], "none");
    assert_eq!(asked[1].body["tools"], asked[0].body["tools"]);
    // What is kept is what it was told.
    let rows = messages(&ana, &answer["conversationId"]).await;
    assert_eq!(rows[2]["content"][0]["output"], told);
    let context = &answer["context"];
    assert!(context["tokens"].as_i64().unwrap() <= 1_800, "{context}");
    assert_eq!(context["exceeded"], false);
    assert_eq!(context["warning"], "approaching_limit");
    app.finish().await;
}

#[tokio::test]
async fn what_goes_along_leaves_room_for_what_tools_say() {
    let (provider, services) = (Provider::start(searching).await, talkative().await);
    let (app, ana) = small(&provider, &services).await;
    let mut conversation = Value::Null;
    for _ in 0..4 {
        let message = "word ".repeat(500);
        let body = json!({ "message": message, "model": "small", "conversationId": conversation });
        conversation = ana.chat(body).await.expect(200)["conversationId"].clone();
    }
    let body = json!({ "message": "Salt?", "model": "small", "conversationId": conversation,
                       "tools": ["web_search"] });
    ana.chat(body).await.expect(200);
    let asked = provider.asked();
    let [.., first, second] = &asked[..] else {
        panic!("it was asked twice");
    };
    assert!(is_free(first));
    assert!(sent(first) <= MOST * 3 / 4, "{}", sent(first));
    assert_eq!(results(second).len(), 1);
    assert!(sent(second) <= MOST, "{}", sent(second));
    assert_eq!(services.asked().len(), 1);
    app.finish().await;
}

#[tokio::test]
async fn without_room_no_tool_is_called_or_told_of() {
    let (provider, services) = (Provider::start(searching).await, talkative().await);
    let (app, ana) = small(&provider, &services).await;
    // Too little is left to what it would say.
    let body = json!({ "message": "word ".repeat(1_200), "model": "small", "tools": ["web_search"],
                       "systemPrompt": "word ".repeat(300) });
    let answer = ana.chat(body).await.expect(200);
    assert_eq!(answer["message"]["content"][0]["text"], "Salty.");
    let asked = provider.asked();
    assert_eq!(asked.len(), 2);
    assert!(is_free(&asked[0]) && !is_free(&asked[1]));
    assert_eq!(asked[1].body["messages"], asked[0].body["messages"]);
    let rows = messages(&ana, &answer["conversationId"]).await;
    assert_eq!(rows.len(), 2);
    assert!(services.asked().is_empty());
    // There is none even for what it would be told of it.
    let body =
        json!({ "message": "word ".repeat(1_500), "model": "small", "tools": ["web_search"] });
    ana.chat(body).await.expect(200);
    let asked = provider.asked().pop().unwrap();
    assert!(asked.body.get("tools").is_none());
    // Of several tools the first ones are told of.
    let body = json!({ "message": "word ".repeat(1_200), "model": "small",
                       "tools": ["web_search", "weather", "news", "currency", "places"] });
    ana.chat(body).await.expect(200);
    let asked = provider.asked();
    let last = asked.iter().rfind(|asked| is_free(asked)).unwrap();
    let told = last.body["tools"].as_array().unwrap();
    assert!((1..5).contains(&told.len()), "{told:?}");
    assert_eq!(told[0]["function"]["name"], "web_search");
    app.finish().await;
}

#[tokio::test]
async fn what_models_are_told_of_tools_is_counted() {
    let provider = Provider::saying(&["Yes."]).await;
    let services = talkative().await;
    let (app, ana) = app(&provider, &services).await;
    let ask = async |tools: Value| {
        let body = json!({ "message": "Hi", "model": "gpt-4o-mini", "tools": tools });
        let answer = ana.chat(body).await.expect(200);
        usize::try_from(answer["context"]["tokens"].as_u64().unwrap()).unwrap()
    };
    let without = ask(Value::Null).await;
    let with = ask(json!(["web_search"])).await;
    let asked = provider.asked().pop().unwrap();
    let schema = asked.body["tools"][0]["function"]["parameters"].to_string();
    assert!(
        with > without + Encoding::O200k.count(&schema),
        "{without} and {with}"
    );
    assert!(ask(json!("auto")).await > with + 100);
    app.finish().await;
}

#[tokio::test]
async fn arguments_that_are_too_long_are_neither_told_nor_kept_nor_sent_back() {
    let long = format!(r#"{{"query":"{}"}}"#, "x".repeat(40_000));
    let provider = Provider::start(move |asked| {
        if results(asked).is_empty() && is_free(asked) {
            calling(&[("call_1", "web_search", long.as_str())])
        } else {
            words_of(&["Fine."])
        }
    })
    .await;
    let services = talkative().await;
    let (app, ana) = app(&provider, &services).await;
    let body = json!({ "message": "Go", "tools": ["web_search"] });
    let events = ana.stream(body).await.rest().await;
    let started = events.iter().find(|event| event.name == "tool.started");
    let told = started.unwrap().data["arguments"].as_str().unwrap();
    let left: Value = serde_json::from_str(told).unwrap();
    assert!(left.is_object() && told.len() < 100, "{told}");
    let finished = events.iter().find(|event| event.name == "tool.finished");
    assert_eq!(finished.unwrap().data["status"], "invalid");
    assert!(services.asked().is_empty());
    let asked = &provider.asked()[1];
    let call = &asked.body["messages"][1]["tool_calls"][0]["function"];
    assert_eq!(call["arguments"], told);
    assert!(results(asked)[0].contains("too long"));
    let done = &events.last().unwrap().data;
    let rows = messages(&ana, &done["conversationId"]).await;
    assert_eq!(rows[1]["content"][0]["arguments"], told);
    app.finish().await;
}
