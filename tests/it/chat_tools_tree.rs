//! Answers with tools in the tree of messages: what follows them, what is beside them, and what goes with them.

use serde_json::{Value, json};
use tests::{
    Actor, TestApp,
    actor::each,
    eventually,
    fakes::{
        provider::Provider,
        services::{Reply, Services},
    },
};

use crate::{
    chat::id,
    chat_crowds::expect_exact,
    chat_tools::{app, messages, once, sunny},
    context_cache::is_kept,
    messages::{get_conversation, path},
    tools::weather,
};

/// A product, somebody, and an answer that a tool was called for.
async fn answered(provider: &Provider, services: &Services) -> (TestApp, Actor, Value) {
    let (app, ana) = app(provider, services).await;
    let body = json!({ "message": "How is Lahore?", "tools": "auto" });
    let answer = ana.chat(body).await.expect(200);
    (app, ana, answer)
}

fn roles(rows: &[Value]) -> Vec<&str> {
    rows.iter().map(|row| id(&row["role"])).collect()
}

/// All messages of all branches, also places of deleted ones.
async fn places(ana: &Actor, conversation: &Value) -> Vec<Value> {
    let path = format!("/api/v1/conversations/{}/messages", id(conversation));
    let list = ana.get(&path).await.expect(200);
    list["data"].as_array().unwrap().clone()
}

#[tokio::test]
async fn nothing_follows_an_answer_while_its_tools_may_be_called() {
    let services = Services::start(|_| Reply::json(&weather(18.5)).held()).await;
    let provider = Provider::start(once).await;
    let (app, ana) = app(&provider, &services).await;
    let body = json!({ "message": "How is Lahore?", "tools": "auto" });
    let mut stream = ana.stream(body).await;
    let started = stream.next().await.unwrap().data;
    let (conversation, message) = (&started["conversationId"], &started["messageId"]);
    eventually("the tool is called", async || !services.asked().is_empty()).await;

    let write = format!("/api/v1/conversations/{}/messages", id(conversation));
    // By default it would follow the answer, too.
    for parent in [None, Some(message)] {
        let mut said = json!({ "content": "And?" });
        let mut asked = json!({ "message": "And?", "conversationId": conversation });
        if let Some(parent) = parent {
            said["parentId"] = parent.clone();
            asked["parentId"] = parent.clone();
        }
        for reply in [ana.post_json(&write, said).await, ana.chat(asked).await] {
            let problem = reply.expect_problem(409, "answer_in_progress");
            let detail = problem["detail"].as_str().unwrap();
            assert!(detail.contains("parentId"), "{detail}");
        }
    }
    let row = ana
        .get(&format!("/api/v1/messages/{}", id(message)))
        .await
        .expect(200);
    assert_eq!(
        (&row["status"], &row["finishReason"]),
        (&json!("streaming"), &Value::Null)
    );
    // Beside it there is room.
    let body = json!({ "message": "Hi", "conversationId": conversation, "parentId": null });
    ana.chat(body).await.expect(200);

    services.release();
    let last = stream.rest().await.pop().unwrap();
    assert_eq!(last.name, "message.completed");
    assert_eq!(last.data["message"]["finishReason"], "stop");
    let all = places(&ana, conversation).await;
    assert_eq!(all.len(), 6, "the call and its result are there: {all:#?}");
    let body = json!({ "message": "And?", "conversationId": conversation, "parentId": message });
    ana.chat(body).await.expect(200);
    let branch = messages(&ana, conversation).await;
    let expected = [
        "user",
        "assistant",
        "tool",
        "assistant",
        "user",
        "assistant",
    ];
    assert_eq!(roles(&branch), expected);
    expect_exact(&app).await;
    app.finish().await;
}

#[tokio::test]
async fn an_answer_that_is_stopped_can_be_followed() {
    let services = Services::start(|_| Reply::json(&weather(18.5)).held()).await;
    let provider = Provider::start(once).await;
    let (app, ana) = app(&provider, &services).await;
    let body = json!({ "message": "How is Lahore?", "tools": "auto" });
    let started = ana.stream(body).await.next().await.unwrap().data;
    let cancel = format!("/api/v1/chat/streams/{}/cancel", id(&started["messageId"]));
    let stopped = ana.post(&cancel).await.expect(200);
    assert_eq!(stopped["status"], "cancelled");
    let body = json!({ "message": "Never mind", "conversationId": started["conversationId"] });
    let answer = ana.chat(body).await.expect(200);
    let path = format!("/api/v1/messages/{}", id(&answer["message"]["parentId"]));
    assert_eq!(
        ana.get(&path).await.expect(200)["parentId"],
        started["messageId"]
    );
    services.release();
    app.finish().await;
}

#[tokio::test]
async fn answers_to_a_question_are_siblings_with_tools_and_without() {
    let (provider, services) = (Provider::start(once).await, sunny().await);
    let (app, ana, first) = answered(&provider, &services).await;
    let conversation = &first["conversationId"];
    let again = format!("{}/regenerate", path(&first["message"]));
    let second = ana.post_json(&again, json!({ "tools": ["weather"] })).await;
    let second = second.expect(200);
    let third = ana.post_json(&again, json!({})).await.expect(200);
    let answers = [&third, &second, &first].map(|answer| id(&answer["message"]["id"]));

    for answer in [&first, &second, &third] {
        let siblings = format!("{}/siblings", path(&answer["message"]));
        let list = ana.get(&siblings).await.expect(200);
        assert_eq!(each(&list, "id"), answers);
        for (index, row) in list["data"].as_array().unwrap().iter().rev().enumerate() {
            assert_eq!(
                (&row["siblingIndex"], &row["siblingCount"]),
                (&json!(index), &json!(3))
            );
        }
        let page = ana.get(&format!("{siblings}?limit=2")).await.expect(200);
        assert_eq!(each(&page, "id"), answers[..2]);
        let cursor = id(&page["pagination"]["nextCursor"]);
        let rest = ana
            .get(&format!("{siblings}?limit=2&cursor={cursor}"))
            .await;
        assert_eq!(each(&rest.expect(200), "id"), answers[2..]);
    }

    // Another one is shown, with its calls, which have no siblings.
    let talk = format!("/api/v1/conversations/{}", id(conversation));
    let shown = json!({ "currentMessageId": first["message"]["id"] });
    let shown = ana.patch_json(&talk, shown).await.expect(200);
    assert_eq!(shown["currentMessageId"], first["message"]["id"]);
    let rows = messages(&ana, conversation).await;
    assert_eq!(roles(&rows), ["user", "assistant", "tool", "assistant"]);
    let seen: Vec<[&Value; 2]> = rows
        .iter()
        .map(|row| [&row["siblingIndex"], &row["siblingCount"]])
        .collect();
    let (alone, one_of_three) = ([json!(0), json!(1)], [json!(0), json!(3)]);
    assert_eq!(
        seen,
        [&alone, &alone, &alone, &one_of_three].map(|pair| [&pair[0], &pair[1]])
    );
    let siblings = format!("{}/siblings", path(&rows[1]));
    let list = ana.get(&siblings).await.expect(200);
    assert_eq!(each(&list, "id"), [id(&rows[1]["id"])]);
    app.finish().await;
}

#[tokio::test]
async fn a_deleted_answer_takes_its_calls_with_it() {
    let (provider, services) = (Provider::start(once).await, sunny().await);
    let (app, ana, answer) = answered(&provider, &services).await;
    let conversation = &answer["conversationId"];
    let question = messages(&ana, conversation).await.swap_remove(0);
    is_kept(&app, conversation, &answer["message"]["id"]).await;
    ana.delete(&path(&answer["message"])).await.expect(204);
    let left = places(&ana, conversation).await;
    assert_eq!(each(&json!({ "data": left }), "id"), [id(&question["id"])]);
    let talk = get_conversation(&ana, id(conversation)).await;
    assert_eq!(
        (&talk["messageCount"], &talk["tokenCount"]),
        (&json!(1), &question["tokenCount"])
    );
    for field in ["currentMessageId", "lastMessageId"] {
        assert_eq!(talk[field], question["id"], "{field}");
    }
    assert_eq!(talk["lastMessageAt"], question["createdAt"]);
    let stamps: i64 = sqlx::query_scalar("SELECT count(*) FROM context_stamps")
        .fetch_one(app.database.pool())
        .await
        .unwrap();
    assert_eq!(stamps, 1, "what was cached counts for nothing");
    let body = json!({ "message": "And?", "conversationId": conversation });
    ana.chat(body).await.expect(200);
    let asked = provider.asked().pop().unwrap();
    assert_eq!(asked.messages(), ["user: How is Lahore?", "user: And?"]);
    expect_exact(&app).await;
    app.finish().await;
}

#[tokio::test]
async fn calls_go_with_an_answer_that_is_followed_and_stay_where_something_hangs_on_them() {
    let (provider, services) = (Provider::start(once).await, sunny().await);
    let (app, ana, answer) = answered(&provider, &services).await;
    let conversation = &answer["conversationId"];
    let body = json!({ "message": "Thanks", "conversationId": conversation });
    ana.chat(body).await.expect(200);
    ana.delete(&path(&answer["message"])).await.expect(204);
    let branch = messages(&ana, conversation).await;
    assert_eq!(roles(&branch), ["user", "user", "assistant"]);
    let places = places(&ana, conversation).await;
    let deleted = places.iter().filter(|row| row["deletedAt"].is_string());
    let contents: Vec<&Value> = deleted.map(|row| &row["content"]).collect();
    assert_eq!(contents, [&json!([]); 3]);
    assert_eq!(
        get_conversation(&ana, id(conversation)).await["messageCount"],
        3
    );

    let body = json!({ "message": "How is Lahore?", "tools": "auto" });
    let other = ana.chat(body).await.expect(200);
    let conversation = &other["conversationId"];
    let result = messages(&ana, conversation).await.swap_remove(2);
    let said = format!("/api/v1/conversations/{}/messages", id(conversation));
    let aside = json!({ "content": "So that is what it said", "parentId": result["id"] });
    ana.post_json(&said, aside).await.expect(201);
    ana.delete(&path(&other["message"])).await.expect(204);
    let branch = messages(&ana, conversation).await;
    assert_eq!(roles(&branch), ["user", "assistant", "tool", "user"]);
    expect_exact(&app).await;
    app.finish().await;
}
