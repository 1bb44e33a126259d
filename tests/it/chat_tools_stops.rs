//! What is left of calls of tools where somebody stops an answer, or its instance dies.

use serde_json::{Value, json};
use shared::{
    ids::{MessageId, UserId},
    models::message::{self, Content, Exchanged, Part, Role, ToolMessage},
    tokens::Encoding,
};
use tests::{
    Event, EventStream, TestApp, eventually,
    fakes::{
        provider::{Provider, Step, calling, delta, end, stream, tool_call, words_of},
        services::{self, Reply, Services},
    },
};
use uuid::Uuid;

use crate::{
    chat::{id, ledger},
    chat_streams::{Instance, live},
    chat_tools::{app, is_free, messages, once, results},
    tools::weather,
};

const STOPPED: &str = "The call was stopped; what came of it is not known.";

/// The weather everywhere but in Delhi, of which nobody hears before the test says so.
async fn not_of_delhi() -> Services {
    Services::start(|asked: &services::Asked| {
        let reply = Reply::json(&weather(18.5));
        match asked.query.get("q").map(String::as_str) {
            Some("Delhi") => reply.held(),
            _ => reply,
        }
    })
    .await
}

/// Waits for an event of a name.
async fn heard(events: &mut EventStream, name: &str) -> Event {
    loop {
        let event = events.next().await.expect("it comes");
        if event.name == name {
            return event;
        }
    }
}

/// How calls ended, as their results are stored.
fn statuses(rows: &[Value]) -> Vec<(&str, &str)> {
    let results = rows.iter().filter(|row| row["role"] == "tool");
    results
        .map(|row| {
            let result = &row["content"][0];
            let text = |field: &str| result[field].as_str().unwrap();
            (text("status"), text("output"))
        })
        .collect()
}

#[tokio::test]
async fn a_cancel_leaves_the_calls_with_what_is_known_of_them() {
    let services = not_of_delhi().await;
    let provider = Provider::start(|asked| {
        if results(asked).is_empty() && is_free(asked) {
            calling(&[
                ("call_1", "weather", r#"{"location":"Lahore"}"#),
                ("call_2", "weather", r#"{"location":"Delhi"}"#),
            ])
        } else {
            words_of(&["Never."])
        }
    })
    .await;
    let (app, ana) = app(&provider, &services).await;
    let mut events = ana
        .stream(json!({ "message": "Go", "tools": "auto" }))
        .await;
    let started = events.next().await.unwrap();
    let known = heard(&mut events, "tool.finished").await;
    assert_eq!(known.data["callId"], "call_1");
    // What is called has been written down before.
    let stored = messages(&ana, &started.data["conversationId"]).await;
    assert_eq!(stored.len(), 5);
    let message = id(&started.data["messageId"]);
    let path = format!("/api/v1/chat/streams/{message}/cancel");
    let stopped = ana.post(&path).await.expect(200);
    assert_eq!(stopped["status"], "cancelled");

    let rows = messages(&ana, &stopped["conversationId"]).await;
    let roles: Vec<&Value> = rows.iter().map(|row| &row["role"]).collect();
    assert_eq!(roles, ["user", "assistant", "tool", "tool", "assistant"]);
    let left = statuses(&rows);
    assert_eq!(left[0].0, "completed");
    assert!(left[0].1.contains("18.5"), "{left:?}");
    assert_eq!(left[1], ("unknown", STOPPED));
    assert_eq!(stopped["parentId"], rows[3]["id"]);
    let rest = events.rest().await;
    let unknown = rest.iter().find(|event| event.name == "tool.finished");
    let unknown = &unknown.unwrap().data;
    assert_eq!(
        (&unknown["callId"], &unknown["status"]),
        (&json!("call_2"), &json!("unknown"))
    );
    let last = rest.last().unwrap();
    assert_eq!(last.name, "message.completed");
    let usage = &last.data["usage"];
    assert_eq!(
        (&usage["inputTokens"], &usage["outputTokens"]),
        (&json!(20), &json!(5))
    );
    let rows = ledger(&app).await;
    assert_eq!((rows.len(), &rows[0]["outcome"]), (1, &json!("completed")));
    let path = format!("/api/v1/conversations/{}", id(&stopped["conversationId"]));
    assert_eq!(ana.get(&path).await.expect(200)["messageCount"], 5);
    services.release();
    app.finish().await;
}

/// An instance that can ask for the weather.
async fn with_weather(app: &TestApp, provider: &Provider, services: &Services) -> Instance {
    let weather = format!("{}/weather", services.base_url);
    let variables = [
        ("OPENAI_API_KEYS", "sk-1"),
        ("OPENWEATHER_API_KEY", "key"),
        ("OPENWEATHER_BASE_URL", weather.as_str()),
    ];
    Instance::start(app, provider, &variables).await
}

/// Waits until an answer is interrupted, and tells all messages of its conversation.
async fn interrupted(ana: &tests::Actor, started: &Event) -> Vec<Value> {
    let path = format!("/api/v1/messages/{}", id(&started.data["messageId"]));
    eventually("the answer is ended", async || {
        ana.get(&path).await.expect(200)["status"] == "interrupted"
    })
    .await;
    messages(ana, &started.data["conversationId"]).await
}

#[tokio::test]
async fn an_instance_that_is_killed_in_the_middle_of_a_call_leaves_a_trace_of_it() {
    let services = Services::start(|_: &services::Asked| Reply::json(&weather(18.5)).held()).await;
    let provider = Provider::start(once).await;
    let (app, ana) = live(&provider).await;
    let mut other = with_weather(&app, &provider, &services).await;
    let there = other.of(&ana);
    let body = json!({ "message": "Go", "tools": ["weather"], "model": "gpt-4o-mini" });
    let mut events = there.stream(body).await;
    let started = events.next().await.unwrap();
    heard(&mut events, "tool.started").await;
    eventually("the tool is called", async || !services.asked().is_empty()).await;
    other.kill().await;
    let rows = interrupted(&ana, &started).await;
    let roles: Vec<&Value> = rows.iter().map(|row| &row["role"]).collect();
    assert_eq!(roles, ["user", "assistant", "tool", "assistant"]);
    assert_eq!(statuses(&rows), [("unknown", STOPPED)]);
    // What the provider has told before counts, and no estimate.
    let rows = ledger(&app).await;
    assert_eq!(rows.len(), 1);
    assert_eq!(
        (&rows[0]["outcome"], &rows[0]["is_estimated"]),
        (&json!("completed"), &json!(false))
    );
    assert_eq!(
        (&rows[0]["input_tokens"], &rows[0]["output_tokens"]),
        (&json!(20), &json!(5))
    );
    services.release();
    app.finish().await;
}

#[tokio::test]
async fn of_an_instance_that_is_killed_after_calls_only_what_is_said_since_is_estimated() {
    let services = not_of_delhi().await;
    let provider = Provider::start(|asked| {
        if results(asked).is_empty() {
            let mut steps = vec![delta("Let me have a look at that, it takes a moment only.")];
            steps.extend(tool_call(0, "a", "weather", r#"{"location":"Lahore"}"#));
            steps.extend(end("tool_calls", 20, 19));
            stream(steps)
        } else {
            stream(vec![delta("Mild."), Step::Hold])
        }
    })
    .await;
    let (app, ana) = live(&provider).await;
    let mut other = with_weather(&app, &provider, &services).await;
    let body = json!({ "message": "Go", "tools": ["weather"], "model": "gpt-4o-mini" });
    let mut events = other.of(&ana).stream(body).await;
    let started = events.next().await.unwrap();
    eventually("the text is stored", async || {
        let text: Option<String> = sqlx::query_scalar("SELECT text FROM generations")
            .fetch_optional(app.database.pool())
            .await
            .unwrap();
        text.is_some_and(|text| text.ends_with("Mild."))
    })
    .await;
    other.kill().await;
    let rows = interrupted(&ana, &started).await;
    assert_eq!(statuses(&rows)[0].0, "completed");
    let rows = ledger(&app).await;
    let outputs: Vec<(&Value, i64)> = rows
        .iter()
        .map(|row| (&row["outcome"], row["output_tokens"].as_i64().unwrap()))
        .collect();
    let since = i64::try_from(Encoding::O200k.count("\n\nMild.")).unwrap();
    let expected = [(&json!("completed"), 19), (&json!("interrupted"), since)];
    assert_eq!(outputs, expected);
    app.finish().await;
}

/// A round of one call: its messages have the same ids each time.
fn round(ids: [MessageId; 2], status: &str, output: &str) -> Vec<ToolMessage> {
    let call_id = "call_1".to_owned();
    let call = Part::ToolCall {
        call_id: call_id.clone(),
        name: "weather".to_owned(),
        arguments: "{}".to_owned(),
    };
    let result = Part::ToolResult {
        call_id,
        name: "weather".to_owned(),
        status: status.to_owned(),
        output: output.to_owned(),
    };
    let tokens = u32::try_from(output.len()).unwrap();
    let message = |id, role, part, token_count| ToolMessage {
        id,
        role,
        content: Content(vec![part]),
        token_count,
    };
    vec![
        message(ids[0], Role::Assistant, call, 9),
        message(ids[1], Role::Tool, result, tokens),
    ]
}

async fn write(
    app: &TestApp,
    making: Uuid,
    answer: &message::Model,
    said: Vec<ToolMessage>,
) -> Option<Exchanged> {
    let mut tx = app.begin().await;
    let now = app.clock.now();
    let written = message::add_exchange(&mut tx, making, answer, said, now).await;
    tx.commit().await.unwrap();
    written.unwrap()
}

#[tokio::test]
async fn a_round_is_written_once_and_by_nobody_but_who_makes_the_answer() {
    let provider = Provider::start(|_| stream(vec![delta("One "), Step::Hold])).await;
    let (app, ana) = crate::chat::app(&provider).await;
    let mut events = ana.stream(json!({ "message": "Count" })).await;
    let started = events.next().await.unwrap();
    events.next().await.unwrap();
    let sql = "SELECT id, user_id FROM generations";
    let (making, user): (Uuid, Uuid) = sqlx::query_as(sql)
        .fetch_one(app.database.pool())
        .await
        .unwrap();
    let message: MessageId = id(&started.data["messageId"]).parse().unwrap();
    let db = &app.context.db;
    let answer = message::get(db, UserId(user), message).await.unwrap();
    let ids = || [MessageId::new(), MessageId::new()];
    let (first, second) = (ids(), ids());

    // Somebody whose making of it was taken away.
    let stale = write(
        &app,
        Uuid::new_v4(),
        &answer,
        round(first, "unknown", STOPPED),
    )
    .await;
    assert!(stale.is_none());
    let written = write(&app, making, &answer, round(first, "unknown", STOPPED)).await;
    assert_eq!(written.unwrap().answer.parent_id, Some(first[1]));
    // Who has not heard that it was written writes it again, with what is known by now.
    let written = write(&app, making, &answer, round(first, "completed", "Cold.")).await;
    let written = written.unwrap();
    assert_eq!(written.answer.parent_id, Some(first[1]));
    let known: Vec<MessageId> = written.said.iter().map(|row| row.id).collect();
    assert_eq!(known, first);
    // And goes on from there.
    let written = write(&app, making, &answer, round(second, "failed", "No.")).await;
    let written = written.unwrap();
    assert_eq!(written.said[0].parent_id, Some(first[1]));
    assert_eq!(written.answer.parent_id, Some(second[1]));

    let path = format!("/api/v1/chat/streams/{message}/cancel");
    ana.post(&path).await.expect(200);
    let late = write(&app, making, &answer, round(ids(), "completed", "Late.")).await;
    assert!(late.is_none());
    let rows = messages(&ana, &started.data["conversationId"]).await;
    assert_eq!(statuses(&rows), [("completed", "Cold."), ("failed", "No.")]);
    assert_eq!(rows.len(), 6);
    for pair in rows.windows(2) {
        assert_eq!(pair[1]["parentId"], pair[0]["id"]);
    }
    let path = format!(
        "/api/v1/conversations/{}",
        id(&started.data["conversationId"])
    );
    let conversation = ana.get(&path).await.expect(200);
    assert_eq!(conversation["messageCount"], 6);
    let tokens: i64 = rows
        .iter()
        .map(|row| row["tokenCount"].as_i64().unwrap())
        .sum();
    assert_eq!(conversation["tokenCount"], tokens);
    app.finish().await;
}
