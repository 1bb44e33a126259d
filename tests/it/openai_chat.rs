//! The surface that speaks like `OpenAI`'s API: answers in one piece, and what providers are asked for them.

use serde_json::{Value, json};
use tests::{
    Actor, Options, TestApp,
    fakes::provider::{Provider, Step, calling, delta, end, event, stream, tool_call},
};

use crate::chat::{app, ledger};

pub(crate) const CHAT: &str = "/v1/chat/completions";

/// What a client sees of an error, after looking at what every one has.
#[track_caller]
pub(crate) fn error(reply: tests::Reply, status: u16, code: &str) -> Value {
    assert!(reply.headers.contains_key("x-request-id"), "{}", reply.text);
    assert_eq!(reply.headers["content-type"], "application/json");
    let error = reply.expect(status)["error"].clone();
    assert_eq!(error["code"], code, "{error}");
    for field in ["message", "type"] {
        assert!(error[field].is_string(), "{error}");
    }
    assert!(error.as_object().unwrap().contains_key("param"), "{error}");
    error
}

/// A question in words.
pub(crate) fn ask(question: &str) -> Value {
    json!({ "model": "gpt-4o-mini", "messages": [{ "role": "user", "content": question }] })
}

/// A program of somebody's, with an API key.
pub(crate) async fn program(actor: &Actor, scopes: &[&str]) -> Actor {
    let body = json!({ "name": "sdk", "scopes": scopes });
    let key = actor.post_json("/api/v1/api-keys", body).await.expect(201);
    Actor {
        token: key["key"].as_str().map(str::to_owned),
        ..actor.clone()
    }
}

async fn count(app: &TestApp, table: &str) -> i64 {
    let sql = sqlx::AssertSqlSafe(format!("SELECT count(*) FROM {table}"));
    sqlx::query_scalar(sql)
        .fetch_one(app.database.pool())
        .await
        .unwrap()
}

#[tokio::test]
async fn a_question_is_answered_and_nothing_is_kept_but_what_it_took() {
    let provider = Provider::saying(&["Salt", " and", " water."]).await;
    let (app, ana) = app(&provider).await;
    let program = program(&ana, &["read", "write"]).await;
    let mut body = ask("What is the sea?");
    body["temperature"] = json!(0.5);
    body["max_tokens"] = json!(100);
    body["user"] = json!("somebody");
    let reply = program.post_json(CHAT, body).await;
    for (name, value) in [
        ("x-baatcheet-provider", "openai"),
        ("x-baatcheet-attempts", "1"),
        ("x-baatcheet-cost-microusd", "3"),
    ] {
        assert_eq!(reply.headers[name], value, "{name}");
    }
    for name in [
        "x-request-id",
        "openai-processing-ms",
        "x-baatcheet-overhead-ms",
    ] {
        assert!(reply.headers.contains_key(name), "{name}");
    }
    let answer = reply.expect(200);
    assert!(answer["id"].as_str().unwrap().starts_with("chatcmpl-"));
    assert_eq!(answer["object"], "chat.completion");
    assert_eq!(answer["model"], "gpt-4o-mini");
    assert_eq!(answer["created"], 1_767_323_045);
    assert_eq!(
        answer["choices"],
        json!([{ "index": 0, "finish_reason": "stop", "logprobs": null,
                 "message": { "role": "assistant", "content": "Salt and water.", "refusal": null } }])
    );
    let usage = &answer["usage"];
    assert_eq!(
        (
            &usage["prompt_tokens"],
            &usage["completion_tokens"],
            &usage["total_tokens"]
        ),
        (&json!(11), &json!(3), &json!(14))
    );

    let asked = &provider.asked()[0].body;
    assert_eq!(
        asked["messages"],
        json!([{ "role": "user", "content": "What is the sea?" }])
    );
    assert_eq!(asked["temperature"], 0.5);
    assert_eq!(asked["max_completion_tokens"], 100);
    assert_eq!(asked["user"], "somebody");
    assert_eq!(
        (&asked["stream"], &asked["stream_options"]["include_usage"]),
        (&json!(true), &json!(true))
    );

    for table in ["messages", "conversations", "generations"] {
        assert_eq!(count(&app, table).await, 0, "{table}");
    }
    let rows = ledger(&app).await;
    assert_eq!(rows.len(), 1);
    for (field, value) in [
        ("kind", json!("chat")),
        ("outcome", json!("completed")),
        ("user_id", json!(app.id_of(&ana).await)),
        ("conversation_id", Value::Null),
        ("message_id", Value::Null),
        ("input_tokens", json!(11)),
        ("output_tokens", json!(3)),
        ("is_estimated", json!(false)),
        ("cost_microusd", json!(3)),
    ] {
        assert_eq!(rows[0][field], value, "{field}");
    }
    app.finish().await;
}

#[tokio::test]
async fn tools_messages_and_likelihoods_pass_through() {
    let provider = Provider::start(|asked| {
        if asked.body.get("tools").is_some() {
            return calling(&[("call_1", "weather", "{\"city\":\"Lahore\"}")]);
        }
        let likely = json!({ "content": [{ "token": "Hot.", "logprob": -0.1, "bytes": null, "top_logprobs": [] }] });
        let said = json!({ "choices": [{ "index": 0, "delta": { "reasoning_content": "Hm.", "content": "Hot." },
                                         "logprobs": likely, "finish_reason": null }] });
        stream([event(&said)].into_iter().chain(end("stop", 9, 1)).collect())
    })
    .await;
    let (app, ana) = app(&provider).await;
    let tools = json!([{ "type": "function", "function": { "name": "weather", "parameters": { "type": "object" } } }]);
    let mut body = ask("How is it?");
    body["tools"] = tools.clone();
    body["tool_choice"] = json!("required");
    body["parallel_tool_calls"] = json!(false);
    let answer = ana.post_json(CHAT, body).await.expect(200);
    let choice = &answer["choices"][0];
    assert_eq!(choice["finish_reason"], "tool_calls");
    assert_eq!(choice["message"]["content"], Value::Null);
    let calls = json!([{ "id": "call_1", "type": "function",
                         "function": { "name": "weather", "arguments": "{\"city\":\"Lahore\"}" } }]);
    assert_eq!(choice["message"]["tool_calls"], calls);
    let asked = &provider.asked()[0].body;
    assert_eq!(
        (&asked["tools"], &asked["tool_choice"]),
        (&tools, &json!("required"))
    );
    assert_eq!(asked["parallel_tool_calls"], false);

    let messages = json!([
        { "role": "developer", "content": "Be brief." },
        { "role": "user", "content": [{ "type": "text", "text": "How is it?" },
                                      { "type": "image_url", "image_url": { "url": "https://1.1.1.1/sky.png" } }] },
        { "role": "assistant", "content": null, "tool_calls": calls },
        { "role": "tool", "tool_call_id": "call_1", "content": "45 degrees" },
    ]);
    let body = json!({ "model": "gpt-4o-mini", "messages": messages, "logprobs": true, "top_logprobs": 1, "seed": 7,
                       "response_format": { "type": "text" }, "metadata": { "a": "b" } });
    let answer = ana.post_json(CHAT, body).await.expect(200);
    let choice = &answer["choices"][0];
    assert_eq!(choice["message"]["content"], "Hot.");
    assert_eq!(choice["message"]["reasoning_content"], "Hm.");
    assert_eq!(choice["logprobs"]["content"][0]["token"], "Hot.");
    let asked = &provider.asked()[1].body;
    assert_eq!(asked["messages"], messages);
    for (name, value) in [
        ("logprobs", json!(true)),
        ("seed", json!(7)),
        ("metadata", json!({ "a": "b" })),
    ] {
        assert_eq!(asked[name], value, "{name}");
    }
    app.finish().await;
}

#[tokio::test]
async fn what_an_unusual_tier_costs_is_not_guessed() {
    let provider = Provider::saying(&["Yes."]).await;
    let (app, ana) = app(&provider).await;
    let mut body = ask("Hi");
    body["service_tier"] = json!("priority");
    let reply = ana.post_json(CHAT, body).await;
    assert!(!reply.headers.contains_key("x-baatcheet-cost-microusd"));
    reply.expect(200);
    assert_eq!(ledger(&app).await[0]["cost_microusd"], Value::Null);
    app.finish().await;
}

#[tokio::test]
async fn without_a_provider_development_says_the_question_back() {
    let app = TestApp::with(Options {
        environment: Some("development".to_owned()),
        ..Options::default()
    })
    .await;
    let ana = app.user("ana").await;
    let mut body = ask("Is anybody there?");
    body["model"] = json!("echo");
    let answer = ana.post_json(CHAT, body).await.expect(200);
    assert_eq!(
        answer["choices"][0]["message"]["content"],
        "Is anybody there?"
    );
    assert_eq!(ledger(&app).await[0]["cost_microusd"], 0);
    app.finish().await;
}

#[tokio::test]
async fn a_refusal_is_told_as_one() {
    let provider = Provider::start(|_| {
        let said = json!({ "choices": [{ "index": 0, "delta": { "refusal": "I cannot." }, "finish_reason": null }] });
        let steps: Vec<Step> = [event(&said)].into_iter().chain(end("stop", 9, 2)).collect();
        stream(steps)
    })
    .await;
    let (app, ana) = app(&provider).await;
    let answer = ana.post_json(CHAT, ask("Hi")).await.expect(200);
    let message = &answer["choices"][0]["message"];
    assert_eq!(
        (&message["content"], &message["refusal"]),
        (&Value::Null, &json!("I cannot."))
    );
    // In a conversation it is what is said.
    let answer = ana.chat(json!({ "message": "Hi" })).await.expect(200);
    assert_eq!(answer["message"]["content"][0]["text"], "I cannot.");
    app.finish().await;
}

#[tokio::test]
async fn a_long_question_is_taken_whole() {
    let provider = Provider::start(|_| {
        stream(
            [delta("Yes.")]
                .into_iter()
                .chain(end("stop", 9, 1))
                .collect(),
        )
    })
    .await;
    let (app, ana) = app(&provider).await;
    // 8 MiB of picture.
    let url = format!("data:image/png;base64,{}", "A".repeat(8 << 20));
    let content = json!([{ "type": "text", "text": "What is it?" }, { "type": "image_url", "image_url": { "url": url } }]);
    let body =
        json!({ "model": "gpt-4o-mini", "messages": [{ "role": "user", "content": content }] });
    ana.post_json(CHAT, body).await.expect(200);
    assert_eq!(provider.asked()[0].body["messages"][0]["content"], content);
    app.finish().await;
}

#[tokio::test]
async fn pictures_are_fetched_from_public_addresses_only() {
    let provider = Provider::saying(&["A sky."]).await;
    let (app, ana) = app(&provider).await;
    let show = async |urls: &[&str]| {
        let parts = urls
            .iter()
            .map(|url| json!({ "type": "image_url", "image_url": { "url": url } }));
        let content: Vec<Value> = parts.collect();
        let body =
            json!({ "model": "gpt-4o-mini", "messages": [{ "role": "user", "content": content }] });
        ana.post_json(CHAT, body).await
    };
    let public = "https://1.1.1.1/x.png";
    for inner in [
        "http://169.254.169.254/x.png",
        "https://10.0.0.1/x.png",
        "https://2852039166/x.png",
        "https://nobody.invalid/x.png",
    ] {
        let told = error(show(&[public, inner]).await, 400, "invalid_value");
        assert_eq!(told["param"], "messages[0].content[1].image_url.url");
        assert_eq!(told["type"], "invalid_request_error");
    }
    assert!(provider.asked().is_empty() && ledger(&app).await.is_empty());
    show(&[public]).await.expect(200);
    let asked = &provider.asked()[0].body;
    let content = &asked["messages"][0]["content"];
    assert_eq!(content[0]["image_url"]["url"], public);
    app.finish().await;
}

#[tokio::test]
async fn many_calls_pass_through_and_too_many_are_nobody_elses_trouble() {
    let provider = Provider::start(|asked| {
        let number: usize = asked.question().parse().unwrap();
        let calls = (0..number)
            .flat_map(|index| tool_call(index, &format!("call_{index}"), "weather", "{}"));
        stream(calls.chain(end("tool_calls", 20, 5)).collect())
    })
    .await;
    let (app, ana) = app(&provider).await;
    let answer = ana.post_json(CHAT, ask("128")).await.expect(200);
    let calls = answer["choices"][0]["message"]["tool_calls"].as_array();
    assert_eq!(calls.unwrap().len(), 128);
    // More often than a breaker bears.
    for _ in 0..4 {
        error(
            ana.post_json(CHAT, ask("129")).await,
            502,
            "provider_failed",
        );
    }
    ana.post_json(CHAT, ask("1")).await.expect(200);
    app.finish().await;
}
