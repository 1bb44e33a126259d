//! The surface that speaks like `OpenAI`'s API: questions that are turns of a conversation.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use tests::{
    Actor, Reply, eventually,
    fakes::provider::{Provider, Step, delta, end, refusal, stream},
};

use crate::{
    chat::{app, id, ledger},
    openai_chat::{CHAT, error},
    openai_streams::begin,
};

fn turn(conversation: &str, messages: &Value) -> Value {
    json!({ "model": "gpt-4o-mini", "messages": messages, "conversation_id": conversation })
}

async fn texts(actor: &Actor, conversation: &str) -> Vec<String> {
    let path = format!("/api/v1/conversations/{conversation}/messages");
    let list = actor.get(&path).await.expect(200);
    let rows = list["data"].as_array().unwrap().iter().rev();
    rows.map(|row| {
        let text = row["content"][0]["text"].as_str().unwrap_or_default();
        format!("{}: {text}", id(&row["role"]))
    })
    .collect()
}

#[tokio::test]
async fn a_question_becomes_a_turn_with_what_was_said_before() {
    let provider = Provider::saying(&["Salt", " and", " water."]).await;
    let (app, ana) = app(&provider).await;
    let conversation = ana.conversation("Sea").await;
    ana.say(&conversation, "I live at the coast.").await;
    let messages = json!([
        { "role": "system", "content": "Be brief." },
        { "role": "user", "content": "Something that the conversation knows better." },
        { "role": "assistant", "content": "Hm." },
        { "role": "user", "content": "What is the sea?" },
    ]);
    let mut body = turn(&conversation, &messages);
    body["temperature"] = json!(0.5);
    let reply = ana.post_json(CHAT, body).await;
    assert_eq!(reply.headers["x-baatcheet-provider"], "openai");
    let answer = reply.expect(200);
    assert_eq!(answer["conversation_id"], conversation);
    assert_eq!(
        answer["choices"][0]["message"]["content"],
        "Salt and water."
    );
    assert_eq!(answer["usage"]["total_tokens"], 14);
    let asked = &provider.asked()[0];
    assert_eq!(
        asked.messages(),
        [
            "system: Be brief.",
            "user: I live at the coast.",
            "user: What is the sea?"
        ]
    );
    assert_eq!(asked.body["temperature"], 0.5);
    assert_eq!(
        texts(&ana, &conversation).await,
        [
            "user: I live at the coast.",
            "user: What is the sea?",
            "assistant: Salt and water."
        ]
    );
    let rows = ledger(&app).await;
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0]["conversation_id"], conversation);
    app.finish().await;
}

#[tokio::test]
async fn its_stream_has_the_same_form_and_is_made_to_its_end() {
    let provider = Provider::start(|asked| match asked.question().as_str() {
        "break" => stream(vec![delta("Hi"), Step::Cut]),
        _ => tests::fakes::provider::words_of(&["One", " two"]),
    })
    .await;
    let (app, ana) = app(&provider).await;
    let conversation = ana.conversation("Numbers").await;
    let ask = async |question: &str| {
        let mut body = turn(
            &conversation,
            &json!([{ "role": "user", "content": question }]),
        );
        body["stream"] = json!(true);
        body["stream_options"] = json!({ "include_usage": true });
        let reply = ana.post_json(CHAT, body).await;
        assert_eq!(
            reply.headers["content-type"], "text/event-stream",
            "{}",
            reply.text
        );
        let parts = reply.text.split_terminator("\n\n");
        let parts = parts.map(|part| part.strip_prefix("data: ").unwrap());
        parts
            .map(|data| serde_json::from_str(data).unwrap_or_else(|_| json!(data)))
            .collect::<Vec<Value>>()
    };
    let events = ask("Count").await;
    let text: String = events
        .iter()
        .filter_map(|event| event["choices"][0]["delta"]["content"].as_str())
        .collect();
    assert_eq!(text, "One two");
    assert!(
        events
            .iter()
            .all(|event| event == "[DONE]" || event["conversation_id"] == *conversation)
    );
    let [.., usage, done] = events.as_slice() else {
        panic!("{events:?}");
    };
    assert_eq!(
        (&usage["choices"], &usage["usage"]["total_tokens"]),
        (&json!([]), &json!(13))
    );
    assert_eq!(*done, "[DONE]");
    let events = ask("break").await;
    assert_eq!(events.last().unwrap()["error"]["code"], "provider_failed");
    assert_eq!(
        texts(&ana, &conversation).await.last().unwrap(),
        "assistant: Hi"
    );
    app.finish().await;
}

#[tokio::test]
async fn what_only_shapes_an_answer_may_come_along() {
    let provider = Provider::saying(&["Yes."]).await;
    let (app, ana) = app(&provider).await;
    let conversation = ana.conversation("Plans").await;
    let mut body = turn(&conversation, &json!([{ "role": "user", "content": "Hi" }]));
    let shaping = json!({
        "top_p": 1, "stop": ["END"], "seed": 7, "reasoning_effort": "low", "user": "ana", "presence_penalty": 0,
        "frequency_penalty": 0, "logit_bias": {}, "service_tier": "auto", "store": false, "logprobs": false,
        "parallel_tool_calls": true, "verbosity": "low", "response_format": { "type": "text" },
    });
    let fields = body.as_object_mut().unwrap();
    fields.extend(shaping.as_object().unwrap().clone());
    ana.post_json(CHAT, body).await.expect(200);
    let asked = &provider.asked()[0].body;
    for name in shaping.as_object().unwrap().keys() {
        assert!(asked.get(name).is_none(), "{name}: {asked}");
    }
    app.finish().await;
}

#[tokio::test]
async fn a_turn_that_is_stored_is_not_said_again_by_clients() {
    let provider = Provider::start(|_| refusal(503, "overloaded")).await;
    let (app, ana) = app(&provider).await;
    let conversation = ana.conversation("Plans").await;
    let hi = json!([{ "role": "user", "content": "Hi" }]);
    for is_streamed in [false, true] {
        let mut body = turn(&conversation, &hi);
        body["stream"] = json!(is_streamed);
        let reply = ana.post_json(CHAT, body).await;
        assert_eq!(reply.headers["x-should-retry"], "false", "{is_streamed}");
        error(reply, 502, "provider_failed");
    }
    // By now its breaker is open, so that nothing is stored, and it may be said again.
    let reply = ana.post_json(CHAT, turn(&conversation, &hi)).await;
    assert_eq!(reply.headers["x-should-retry"], "true");
    error(reply, 503, "provider_unavailable");
    assert_eq!(
        texts(&ana, &conversation).await,
        ["user: Hi", "assistant: ", "user: Hi", "assistant: "]
    );
    app.finish().await;
}

/// Stops what is said last in a conversation, as its user may do anywhere.
async fn stop(actor: &Actor, conversation: &str) {
    let newest = async || {
        let path = format!("/api/v1/conversations/{conversation}/messages?limit=1");
        let list = actor.get(&path).await.expect(200);
        list["data"][0].clone()
    };
    eventually("it is being said", async || {
        newest().await["status"] == "streaming"
    })
    .await;
    let message = newest().await;
    let path = format!("/api/v1/chat/streams/{}/cancel", id(&message["id"]));
    let stopped = actor.post(&path).await.expect(200);
    assert_eq!(stopped["status"], "cancelled");
}

#[tokio::test]
async fn an_answer_that_is_stopped_elsewhere_is_no_whole_one() {
    let provider = Provider::start(|_| stream(vec![delta("One "), Step::Hold])).await;
    let (app, ana) = app(&provider).await;
    let conversation = ana.conversation("Numbers").await;
    let mut body = turn(
        &conversation,
        &json!([{ "role": "user", "content": "Count" }]),
    );
    let asking = ana.post_json(CHAT, body.clone());
    let (reply, ()) = tokio::join!(asking, stop(&ana, &conversation));
    assert_eq!(reply.headers["x-should-retry"], "false");
    error(reply, 409, "answer_stopped");

    body["stream"] = json!(true);
    let request = ana.request(Method::POST, CHAT).json(&body);
    let mut response = request.send().await.unwrap();
    assert_eq!(response.status(), 200);
    let mut heard = String::new();
    while !heard.contains("One") {
        let piece = response.chunk().await.unwrap().unwrap();
        heard.push_str(std::str::from_utf8(&piece).unwrap());
    }
    stop(&ana, &conversation).await;
    let rest = response.text().await.unwrap();
    let last = rest.trim_end().rsplit("data: ").next().unwrap();
    let last: Value = serde_json::from_str(last).expect("no [DONE]");
    assert_eq!(last["error"]["code"], "answer_stopped");
    app.finish().await;
}

#[tokio::test]
async fn what_has_no_place_in_a_turn_is_refused() {
    let provider = Provider::saying(&["Yes."]).await;
    let (app, ana) = app(&provider).await;
    let conversation = ana.conversation("Plans").await;
    let hi = json!([{ "role": "user", "content": "Hi" }]);
    for (change, param) in [
        (json!({ "tools": [] }), "tools"),
        (
            json!({ "response_format": { "type": "json_object" } }),
            "response_format",
        ),
        (json!({ "conversation_id": "x" }), "conversation_id"),
        (
            json!({ "messages": [{ "role": "assistant", "content": "Hi" }] }),
            "messages[0].role",
        ),
        (
            json!({ "messages": [{ "role": "user", "content": " " }] }),
            "messages[0].content",
        ),
    ] {
        let mut body = turn(&conversation, &hi);
        let fields = body.as_object_mut().unwrap();
        fields.extend(change.as_object().unwrap().clone());
        let reply = ana.post_json(CHAT, body).await.expect(400);
        assert_eq!(reply["error"]["param"], param, "{reply}");
    }
    let ben = app.user("ben").await;
    error(
        ben.post_json(CHAT, turn(&conversation, &hi)).await,
        404,
        "not_found",
    );
    let nowhere = uuid::Uuid::new_v4().to_string();
    error(
        ana.post_json(CHAT, turn(&nowhere, &hi)).await,
        404,
        "not_found",
    );
    assert!(provider.asked().is_empty());
    assert!(texts(&ana, &conversation).await.is_empty());
    app.finish().await;
}

#[tokio::test]
async fn a_turn_is_made_to_its_end_though_its_client_left() {
    let provider = Provider::start(|_| {
        let steps = vec![delta("One "), Step::Hold, delta("two")];
        stream([steps, end("stop", 11, 2)].concat())
    })
    .await;
    let (app, ana) = app(&provider).await;
    let count = json!([{ "role": "user", "content": "Count" }]);
    let (heard, waited_for) = (
        ana.conversation("Heard").await,
        ana.conversation("Waited for").await,
    );
    // One hears the first word, and one waits for all of it.
    let mut streamed = turn(&heard, &count);
    streamed["stream"] = json!(true);
    drop(begin(&ana, &streamed).await);
    let request = ana.request(Method::POST, CHAT);
    let request = request.json(&turn(&waited_for, &count));
    tokio::select! {
        answer = request.send() => panic!("{answer:?}"),
        () = eventually("it is asked", async || provider.open() == 2) => {}
    }
    // Whoever is left is left at once.
    let leaving = eventually("a provider is left", async || provider.open() < 2);
    let is_left = tokio::time::timeout(Duration::from_millis(500), leaving);
    assert!(is_left.await.is_err(), "a provider is left");
    provider.release();
    for conversation in [heard, waited_for] {
        let path = format!("/api/v1/conversations/{conversation}/messages");
        eventually("the answer is completed", async || {
            let list = ana.get(&path).await.expect(200);
            list["data"][0]["status"] == "completed"
        })
        .await;
        assert_eq!(
            texts(&ana, &conversation).await,
            ["user: Count", "assistant: One two"]
        );
    }
    eventually("both are in the ledger", async || {
        ledger(&app).await.len() == 2
    })
    .await;
    for row in ledger(&app).await {
        assert_eq!(
            (&row["outcome"], &row["is_estimated"]),
            (&json!("completed"), &json!(false))
        );
    }
    app.finish().await;
}

#[tokio::test]
async fn a_turn_under_an_idempotency_key_is_taken_once() {
    let provider = Provider::saying(&["Salt", " and", " water."]).await;
    let (app, ana) = app(&provider).await;
    let conversation = ana.conversation("Sea").await;
    let send = async |key: &str, body: &Value| -> Reply {
        let request = ana.request(Method::POST, CHAT).json(body);
        ana.send(request.header("idempotency-key", key)).await
    };
    let question = json!([{ "role": "user", "content": "What is the sea?" }]);
    let body = turn(&conversation, &question);
    let first = send("a", &body).await.expect(200);
    assert_eq!(first["choices"][0]["message"]["content"], "Salt and water.");
    assert_eq!(send("a", &body).await.expect(200), first);
    let both = ["user: What is the sea?", "assistant: Salt and water."];
    assert_eq!(texts(&ana, &conversation).await, both);
    assert_eq!((provider.asked().len(), ledger(&app).await.len()), (1, 1));
    // The same key for another question is a mistake.
    let other = json!([{ "role": "user", "content": "And the sky?" }]);
    let other = turn(&conversation, &other);
    error(send("a", &other).await, 400, "idempotency_key_reused");
    assert_eq!(texts(&ana, &conversation).await, both);

    // A stream is told again.
    let mut streamed = body.clone();
    streamed["stream"] = json!(true);
    let told = [send("b", &streamed).await, send("b", &streamed).await];
    for reply in told {
        assert_eq!(reply.status, 200, "{}", reply.text);
        let events = reply.text.split_terminator("\n\n");
        let events = events.filter_map(|event| event.strip_prefix("data: "));
        let words: String = events
            .filter_map(|data| serde_json::from_str::<Value>(data).ok())
            .filter_map(|data| {
                let word = &data["choices"][0]["delta"]["content"];
                word.as_str().map(str::to_owned)
            })
            .collect();
        assert_eq!(words, "Salt and water.");
        assert!(reply.text.ends_with("data: [DONE]\n\n"), "{}", reply.text);
    }
    assert_eq!(texts(&ana, &conversation).await.len(), 4);
    assert_eq!(provider.asked().len(), 2);
    app.finish().await;
}
