//! The surface that speaks like `OpenAI`'s API: answers as streams, and clients that go away.

use std::time::Duration;

use api::config::ApiArgs;
use reqwest::Method;
use serde_json::{Value, json};
use tests::{
    Actor, Options, TestApp, eventually,
    fakes::provider::{Provider, Script, Step, calling, delta, end, event, refusal, stream},
    process::PATIENCE,
};

use crate::{
    chat::{app, ledger},
    chat_streams::Instance,
    openai_chat::{CHAT, ask, error},
};

/// All events of a stream, as data, and what else stood there.
fn events(text: &str) -> Vec<Value> {
    let parts = text
        .split_terminator("\n\n")
        .filter(|part| !part.starts_with(':'));
    parts
        .map(|part| {
            let data = part.strip_prefix("data: ").expect("data and nothing else");
            serde_json::from_str(data).unwrap_or_else(|_| json!(data))
        })
        .collect()
}

fn streamed(question: &str) -> Value {
    let mut body = ask(question);
    body["stream"] = json!(true);
    body
}

async fn whole(actor: &Actor, body: Value) -> Vec<Value> {
    let reply = actor.post_json(CHAT, body).await;
    assert_eq!(reply.status, 200, "{}", reply.text);
    assert_eq!(reply.headers["content-type"], "text/event-stream");
    assert_eq!(reply.headers["x-accel-buffering"], "no");
    events(&reply.text)
}

#[tokio::test]
async fn a_stream_is_what_clients_read() {
    let provider = Provider::saying(&["नम", "स्ते", " दुनिया"]).await;
    let (app, ana) = app(&provider).await;
    let mut body = streamed("Greet me");
    body["stream_options"] = json!({ "include_usage": true });
    let mut events = whole(&ana, body).await;
    assert_eq!(events.pop().unwrap(), "[DONE]");
    let usage = events.pop().unwrap();
    assert_eq!(usage["choices"], json!([]));
    assert_eq!(usage["usage"]["total_tokens"], 14);
    let last = events.last().unwrap();
    assert_eq!(last["choices"][0]["finish_reason"], "stop");
    assert_eq!(last["choices"][0]["delta"], json!({}));
    let first = &events[0];
    assert_eq!(first["choices"][0]["delta"]["role"], "assistant");
    let (mut text, mut roles) = (String::new(), 0);
    for event in &events {
        for field in ["id", "created", "model", "object"] {
            assert_eq!(event[field], usage[field], "{field}");
        }
        assert_eq!(event["object"], "chat.completion.chunk");
        assert!(event["usage"].is_null() && event.as_object().unwrap().contains_key("usage"));
        let delta = &event["choices"][0]["delta"];
        text.push_str(delta["content"].as_str().unwrap_or_default());
        roles += usize::from(delta.get("role").is_some());
    }
    assert_eq!((text.as_str(), roles), ("नमस्ते दुनिया", 1));
    // Nobody who has not asked for it is told.
    let events = whole(&ana, streamed("Greet me")).await;
    assert!(events.iter().all(|event| event.get("usage").is_none()));
    assert_eq!(events.last().unwrap(), "[DONE]");
    assert_eq!(ledger(&app).await.len(), 2);
    app.finish().await;
}

#[tokio::test]
async fn calls_are_told_with_their_name_first() {
    let provider = Provider::start(|_| {
        calling(&[("call_1", "weather", "{\"q\":1}"), ("call_2", "news", "{}")])
    })
    .await;
    let (app, ana) = app(&provider).await;
    let mut body = streamed("How is it?");
    body["tools"] = json!([{ "type": "function", "function": { "name": "weather" } }]);
    let events = whole(&ana, body).await;
    let parts: Vec<&Value> = events
        .iter()
        .filter_map(|event| event["choices"][0]["delta"]["tool_calls"].get(0))
        .collect();
    assert_eq!(
        *parts[0],
        json!({ "index": 0, "id": "call_1", "type": "function", "function": { "name": "weather", "arguments": "" } })
    );
    assert_eq!(
        *parts[1],
        json!({ "index": 0, "function": { "arguments": "{\"q\":1}" } })
    );
    assert_eq!(
        (&parts[2]["index"], &parts[2]["id"]),
        (&json!(1), &json!("call_2"))
    );
    let finish = events
        .iter()
        .find_map(|event| event["choices"][0]["finish_reason"].as_str());
    assert_eq!(finish, Some("tool_calls"));
    app.finish().await;
}

#[tokio::test]
async fn a_failure_before_the_first_word_has_a_status_and_one_after_it_an_event() {
    let provider = Provider::start(|asked| match asked.question().as_str() {
        "refused" => refusal(400, "Invalid schema for function 'weather'"),
        "away" => refusal(503, "overloaded"),
        _ => stream(vec![delta("Hi"), Step::Cut]),
    })
    .await;
    let (app, ana) = app(&provider).await;
    let reply = ana.post_json(CHAT, streamed("refused")).await;
    assert_eq!(reply.headers["x-should-retry"], "false");
    let told = error(reply, 400, "provider_refused");
    assert_eq!(told["type"], "invalid_request_error");
    assert!(told["message"].as_str().unwrap().contains("Invalid schema"));
    let told = error(
        ana.post_json(CHAT, streamed("away")).await,
        502,
        "provider_failed",
    );
    assert_eq!(told["type"], "server_error");

    let events = whole(&ana, streamed("cut")).await;
    let last = events.last().unwrap();
    assert_eq!(last["error"]["code"], "provider_failed", "{last}");
    assert!(events.iter().all(|event| *event != "[DONE]"));
    assert_eq!(events[1]["choices"][0]["delta"]["content"], "Hi");
    app.finish().await;
}

#[tokio::test]
async fn who_waits_long_is_kept_alive() {
    let provider = Provider::start(|_| {
        let mut steps = vec![Step::Hold, delta("Late.")];
        steps.extend(end("stop", 3, 1));
        stream(steps)
    })
    .await;
    let app = TestApp::with(Options {
        providers: provider.args("sk-1"),
        api: ApiArgs {
            stream_keep_alive_seconds: Some("1".to_owned()),
            ..ApiArgs::default()
        },
        ..Options::default()
    })
    .await;
    let ana = app.user("ana").await;
    let request = ana.request(Method::POST, CHAT).json(&streamed("Hi"));
    let mut response = request.send().await.unwrap();
    assert_eq!(response.status(), 200);
    let first = response.chunk().await.unwrap().unwrap();
    assert_eq!(&first[..], b": keep-alive\n\n");
    provider.release();
    let mut rest = String::new();
    while let Some(piece) = response.chunk().await.unwrap() {
        rest.push_str(std::str::from_utf8(&piece).unwrap());
    }
    let events = events(&rest);
    assert_eq!(events[0]["choices"][0]["delta"]["role"], "assistant");
    assert_eq!(events[1]["choices"][0]["delta"]["content"], "Late.");
    assert_eq!(events.last().unwrap(), "[DONE]");
    app.finish().await;
}

/// Reads until the first words are there.
pub(crate) async fn begin(actor: &Actor, body: &Value) -> reqwest::Response {
    let request = actor.request(Method::POST, CHAT).json(body);
    let mut response = request.send().await.unwrap();
    assert_eq!(response.status(), 200);
    let mut read = String::new();
    while !read.contains("One") {
        let piece = tokio::time::timeout(PATIENCE, response.chunk()).await;
        let piece = piece.expect("words in time").unwrap().unwrap();
        read.push_str(std::str::from_utf8(&piece).unwrap());
    }
    response
}

fn counting() -> Script {
    let thought = json!({ "choices": [{ "index": 0, "delta": { "reasoning_content": "They want to count." } }] });
    stream(vec![
        event(&thought),
        delta("One "),
        delta("two "),
        Step::Hold,
    ])
}

#[tokio::test]
async fn when_its_client_goes_the_provider_is_left_and_what_was_said_is_accounted_for() {
    let provider = Provider::start(|_| counting()).await;
    let (app, ana) = app(&provider).await;
    let response = begin(&ana, &streamed("Count")).await;
    drop(response);
    eventually("the provider is left", async || provider.open() == 0).await;
    eventually("it is in the ledger", async || {
        ledger(&app).await.len() == 1
    })
    .await;
    let row = &ledger(&app).await[0];
    assert_eq!(
        (&row["outcome"], &row["is_estimated"]),
        (&json!("cancelled"), &json!(true))
    );
    assert!(
        row["output_tokens"].as_i64().unwrap() >= 5,
        "thoughts, too: {row}"
    );
    assert!(row["cost_microusd"].as_i64().unwrap() > 0);

    // The same for who waits for all of it.
    let request = ana.request(Method::POST, CHAT).json(&ask("Count"));
    let waiting = tokio::time::timeout(Duration::from_millis(500), request.send());
    assert!(waiting.await.is_err());
    eventually("the provider is left again", async || {
        provider.asked().len() == 2 && provider.open() == 0
    })
    .await;
    eventually("both are in the ledger", async || {
        ledger(&app).await.len() == 2
    })
    .await;
    assert_eq!(ledger(&app).await[1]["outcome"], "cancelled");
    let left: i64 = sqlx::query_scalar("SELECT count(*) FROM generations")
        .fetch_one(app.database.pool())
        .await
        .unwrap();
    assert_eq!(left, 0);
    app.finish().await;
}

#[tokio::test]
async fn what_an_instance_leaves_that_is_killed_is_accounted_for_by_another() {
    let provider = Provider::start(|_| counting()).await;
    let app = TestApp::with(Options {
        live: true,
        providers: provider.args("sk-1"),
        ..Options::default()
    })
    .await;
    let ana = app.user("ana").await;
    let mut other = Instance::start(&app, &provider, &[]).await;
    let there = other.of(&ana);
    let response = begin(&there, &streamed("Count")).await;
    eventually("what was said is stored", async || {
        let text: Option<String> = sqlx::query_scalar("SELECT text FROM generations")
            .fetch_optional(app.database.pool())
            .await
            .unwrap();
        text.is_some_and(|text| text.ends_with("One two "))
    })
    .await;
    other.kill().await;
    drop(response);
    eventually("it is in the ledger", async || {
        ledger(&app).await.len() == 1
    })
    .await;
    let row = &ledger(&app).await[0];
    for (field, value) in [
        ("kind", json!("chat")),
        ("outcome", json!("interrupted")),
        ("is_estimated", json!(true)),
        ("user_id", json!(app.id_of(&ana).await)),
        ("message_id", Value::Null),
        ("conversation_id", Value::Null),
    ] {
        assert_eq!(row[field], value, "{field}");
    }
    assert!(
        row["input_tokens"].as_i64().unwrap() > 0 && row["output_tokens"].as_i64().unwrap() > 0
    );
    let left: i64 = sqlx::query_scalar("SELECT count(*) FROM generations")
        .fetch_one(app.database.pool())
        .await
        .unwrap();
    assert_eq!(left, 0);
    app.finish().await;
}
