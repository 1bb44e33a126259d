//! What was asked of tools for an answer, and what they said, in what follows it.

use serde_json::{Value, json};
use shared::config::ProviderArgs;
use tests::{
    Options, TestApp,
    fakes::provider::{
        Asked, Provider, calling, delta, end, event, refusal, stream, tool_call, words_of,
    },
};

use crate::{
    chat::id,
    chat_tools::{app, messages, once, results, sunny},
    context_cache::is_kept,
};

#[tokio::test]
async fn what_follows_an_answer_with_tools_is_as_usual() {
    let (provider, services) = (Provider::start(once).await, sunny().await);
    let (app, ana) = app(&provider, &services).await;
    let body = json!({ "message": "How is Lahore?", "tools": "auto", "clientId": "one" });
    let answer = ana.chat(body.clone()).await.expect(200);
    let conversation = answer["conversationId"].clone();
    // A repetition is answered by the answer, not by the call before it.
    let again = ana.chat(body).await.expect(200);
    assert_eq!(again["message"]["id"], answer["message"]["id"]);
    assert_eq!(provider.asked().len(), 2);

    let more = json!({ "message": "And tomorrow?", "conversationId": conversation });
    ana.chat(more).await.expect(200);
    let asked = provider.asked().pop().unwrap();
    assert_eq!(
        asked.messages(),
        [
            "user: How is Lahore?",
            "assistant: It is 18.5 degrees.",
            "user: And tomorrow?"
        ]
    );
    assert!(asked.body.get("tools").is_none(), "nobody asked for tools");

    let path = format!(
        "/api/v1/messages/{}/regenerate",
        id(&answer["message"]["id"])
    );
    let anew = ana
        .post_json(&path, json!({ "tools": ["weather"] }))
        .await
        .expect(200);
    assert_ne!(anew["message"]["id"], answer["message"]["id"]);
    let rows = messages(&ana, &conversation).await;
    let roles: Vec<&str> = rows
        .iter()
        .map(|row| row["role"].as_str().unwrap())
        .collect();
    assert_eq!(roles, ["user", "assistant", "tool", "assistant"]);
    app.finish().await;
}

/// Who speaks in what a model was asked.
fn roles(asked: &Asked) -> Vec<&str> {
    let messages = asked.body["messages"].as_array().unwrap().iter();
    messages
        .map(|message| message["role"].as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn calls_for_an_earlier_answer_go_along_as_a_whole_where_there_are_tools() {
    let (provider, services) = (Provider::start(once).await, sunny().await);
    let (app, ana) = app(&provider, &services).await;
    let body = json!({ "message": "How is Lahore?", "tools": "auto" });
    let answer = ana.chat(body).await.expect(200);
    let (conversation, parent) = (&answer["conversationId"], &answer["message"]["id"]);
    let result = messages(&ana, conversation).await.swap_remove(2);
    let entry = is_kept(&app, conversation, parent).await;
    assert!(String::from_utf8(entry).unwrap().contains("toolResult"));
    // Changed behind the product's back: whoever still sees the first result has asked Redis.
    let change = |sql: &'static str| sqlx::query(sql).execute(app.database.pool());
    let sql = "UPDATE messages SET content = jsonb_set(content, '{0,output}', '\"Changed.\"') WHERE role = 'tool'";
    change(sql).await.unwrap();

    let with = ["user", "assistant", "tool", "assistant", "user"];
    let without = ["user", "assistant", "user"];
    let ask = async |tools: Value| {
        let before = provider.asked().len();
        let body = json!({ "message": "And tomorrow?", "conversationId": conversation, "parentId": parent,
                           "tools": tools });
        let context = ana.chat(body).await.expect(200)["context"].clone();
        (context, provider.asked().swap_remove(before))
    };
    let (context, asked) = ask(json!(["weather"])).await;
    assert_eq!(roles(&asked), with);
    let said = &asked.body["messages"];
    assert_eq!(said[1]["tool_calls"][0]["id"], "call_1");
    let function = &said[1]["tool_calls"][0]["function"];
    assert_eq!(function["arguments"], r#"{"location":"Lahore"}"#);
    assert_eq!(said[2]["tool_call_id"], "call_1");
    assert!(results(&asked)[0].contains("18.5"));
    assert_eq!(
        (&context["included"], &context["total"]),
        (&json!(3), &json!(3))
    );
    let (fewer, asked) = ask(json!(null)).await;
    assert_eq!(roles(&asked), without);
    assert_eq!(fewer["total"], 3);
    assert!(fewer["tokens"].as_i64() < context["tokens"].as_i64());

    // The same from Postgres.
    change("INSERT INTO context_stamps SELECT id, 1 FROM conversations")
        .await
        .unwrap();
    let (context, asked) = ask(json!("auto")).await;
    assert_eq!(roles(&asked), with);
    assert_eq!(results(&asked), ["Changed."]);
    assert_eq!(context["included"], 3);
    assert_eq!(roles(&ask(json!("none")).await.1), without);
    let path = format!("/api/v1/conversations/{}/context", id(conversation));
    let shown = ana.get(&path).await.expect(200);
    assert_eq!(shown["messages"].as_array().unwrap().len(), 4);

    // Without its result a call is not sent.
    let path = format!("/api/v1/messages/{}", id(&result["id"]));
    ana.delete(&path).await.expect(204);
    assert_eq!(roles(&ask(json!("auto")).await.1), without);
    app.finish().await;
}

#[tokio::test]
async fn after_an_answer_that_went_on_with_tools_all_of_its_calls_go_along() {
    let is_onward = |asked: &Asked| {
        let messages = asked.messages();
        let mut messages = messages.iter();
        messages.any(|message| message.contains("Continue your last answer"))
    };
    let provider = Provider::start(
        move |asked| match (is_onward(asked), results(asked).len()) {
            (false, 0) => calling(&[("call_1", "weather", r#"{"location":"Lahore"}"#)]),
            (true, 0) => calling(&[("call_2", "weather", r#"{"location":"Delhi"}"#)]),
            (false, 1) => stream(
                [delta("It is")]
                    .into_iter()
                    .chain(end("length", 7, 2))
                    .collect(),
            ),
            _ => words_of(&[" mild."]),
        },
    )
    .await;
    let services = sunny().await;
    let (app, ana) = app(&provider, &services).await;
    let body = json!({ "message": "How is it?", "tools": ["weather"] });
    let answer = ana.chat(body).await.expect(200);
    assert_eq!(answer["message"]["finishReason"], "length");
    let path = format!("/api/v1/messages/{}/continue", id(&answer["message"]["id"]));
    let whole = ana.post_json(&path, json!({ "tools": ["weather"] })).await;
    let whole = whole.expect(200);
    assert_eq!(whole["message"]["content"][0]["text"], "It is mild.");
    // It was asked twice for each part of it: what that took is summed up.
    assert_eq!(whole["usage"]["rounds"], 4);
    assert_eq!(whole["usage"]["inputTokens"], 20 + 7 + 20 + 11);

    let body = json!({ "message": "And now?", "conversationId": whole["conversationId"], "tools": ["weather"] });
    ana.chat(body).await.expect(200);
    let asked = provider.asked().pop().unwrap();
    assert_eq!(results(&asked).len(), 2);
    let expected = [
        "user",
        "assistant",
        "tool",
        "assistant",
        "tool",
        "assistant",
        "user",
    ];
    assert_eq!(roles(&asked), expected);
    app.finish().await;
}

#[tokio::test]
async fn what_was_thought_before_a_call_goes_back_to_who_wants_it() {
    // As DeepSeek does: calls without what was thought before them are refused.
    let provider = Provider::start(|asked| {
        let messages = asked.body["messages"].as_array().unwrap();
        let is_thoughtless = |message: &Value| {
            message["tool_calls"].is_array() && !message["reasoning_content"].is_string()
        };
        if messages.iter().any(is_thoughtless) {
            let told =
                "The `reasoning_content` in the thinking mode must be passed back to the API.";
            return refusal(400, told);
        }
        if !results(asked).is_empty() {
            return words_of(&["Mild."]);
        }
        let think = |text: &str| {
            event(&json!({ "choices": [{ "index": 0, "delta": { "reasoning_content": text } }] }))
        };
        let mut steps = vec![think("Is it"), think(" cold?")];
        steps.extend(tool_call(0, "a", "weather", r#"{"location":"Lahore"}"#));
        steps.extend(end("tool_calls", 20, 9));
        stream(steps)
    })
    .await;
    let services = sunny().await;
    let app = TestApp::with(Options {
        providers: ProviderArgs {
            deepseek_api_keys: Some("sk-1".to_owned()),
            deepseek_base_url: Some(provider.base_url.clone()),
            ..ProviderArgs::default()
        },
        api: api::config::ApiArgs {
            tools: services.args(),
            ..Default::default()
        },
        ..Options::default()
    })
    .await;
    let ana = app.user("ana").await;
    let body =
        json!({ "message": "How is Lahore?", "model": "deepseek-flash", "tools": ["weather"] });
    let answer = ana.chat(body).await.expect(200);
    assert_eq!(answer["message"]["content"][0]["text"], "Mild.");
    let said = &provider.asked()[1].body["messages"];
    assert_eq!(said[1]["reasoning_content"], "Is it cold?");
    // Of an earlier turn nobody knows it any more.
    let more = json!({ "message": "Thanks", "conversationId": answer["conversationId"],
                       "model": "deepseek-flash", "tools": ["weather"] });
    ana.chat(more).await.expect(200);
    let said = &provider.asked()[2].body["messages"];
    assert_eq!(
        (
            &said[1]["tool_calls"][0]["id"],
            &said[1]["reasoning_content"]
        ),
        (&json!("a"), &json!(""))
    );
    app.finish().await;
}
