//! What goes along with the next question is kept in Redis, and never taken for true when it is not.

use std::time::Duration;

use serde_json::{Value, json};
use shared::ids::ConversationId;
use tests::{
    Actor, Options, TestApp, eventually,
    fakes::provider::{Provider, delta, end, stream},
    pdf::{Page, pdf},
};

use crate::chat::{app, id};

pub(crate) fn typed(conversation: &Value) -> ConversationId {
    id(conversation).parse().unwrap()
}

/// What Redis keeps of a conversation.
pub(crate) async fn kept(app: &TestApp, conversation: &Value) -> Option<Vec<u8>> {
    let redis = &app.context.redis;
    let key = redis.keys().context(typed(conversation));
    redis.get(&key).await.ok().flatten()
}

/// Waits until Redis keeps the branch that ends with a message.
pub(crate) async fn is_kept(app: &TestApp, conversation: &Value, leaf: &Value) -> Vec<u8> {
    let leaf = format!("\"leaf\":\"{}\"", id(leaf));
    eventually("the context is kept", async || {
        let kept = kept(app, conversation).await.unwrap_or_default();
        String::from_utf8(kept).unwrap().contains(&leaf)
    })
    .await;
    kept(app, conversation).await.unwrap()
}

pub(crate) async fn ask(ana: &Actor, conversation: &Value, message: &str) -> Value {
    let body = json!({ "message": message, "conversationId": conversation });
    ana.chat(body).await.expect(200)
}

/// Begins a conversation of two turns, which Redis keeps. Its first question is changed behind the product's back: whoever
/// still sees the first wording has asked Redis.
pub(crate) async fn begun(app: &TestApp, ana: &Actor) -> (Value, Value, Value) {
    let first = ana.chat(json!({ "message": "First?" })).await.expect(200);
    let conversation = first["conversationId"].clone();
    let second = ask(ana, &conversation, "Second?").await;
    is_kept(app, &conversation, &second["message"]["id"]).await;
    let sql = "UPDATE messages SET content = jsonb_set(content, '{0,text}', '\"Changed?\"')
                WHERE role = 'user' AND content -> 0 ->> 'text' = 'First?'";
    sqlx::query(sql).execute(app.database.pool()).await.unwrap();
    (conversation, first, second)
}

pub(crate) fn last(provider: &Provider) -> Vec<String> {
    provider.asked().pop().unwrap().messages()
}

#[tokio::test]
async fn the_next_question_needs_nothing_from_postgres() {
    let provider = Provider::saying(&["Yes."]).await;
    let (app, ana) = app(&provider).await;
    let (conversation, first, _) = begun(&app, &ana).await;
    let third = ask(&ana, &conversation, "Third?").await;
    let expected = [
        "user: First?",
        "assistant: Yes.",
        "user: Second?",
        "assistant: Yes.",
        "user: Third?",
    ];
    assert_eq!(last(&provider), expected);
    assert_eq!(third["context"]["included"], 5);
    is_kept(&app, &conversation, &third["message"]["id"]).await;
    // Nor does another answer to it.
    let path = format!(
        "/api/v1/messages/{}/regenerate",
        id(&third["message"]["id"])
    );
    let again = ana.post(&path).await.expect(200);
    assert_eq!(last(&provider), expected);
    is_kept(&app, &conversation, &again["message"]["id"]).await;
    // Nor a question beside an earlier one.
    let parent = &first["message"]["id"];
    let body = json!({ "message": "Beside?", "conversationId": conversation, "parentId": parent });
    ana.chat(body).await.expect(200);
    assert_eq!(
        last(&provider),
        ["user: First?", "assistant: Yes.", "user: Beside?"]
    );
    app.finish().await;
}

#[tokio::test]
async fn an_entry_is_called_by_its_conversation_and_lives_for_a_day() {
    let provider = Provider::saying(&["Yes."]).await;
    let (app, ana) = app(&provider).await;
    let first = ana.chat(json!({ "message": "First?" })).await.expect(200);
    let conversation = &first["conversationId"];
    is_kept(&app, conversation, &first["message"]["id"]).await;
    // As whoever looks into Redis finds it.
    let client = redis::Client::open(app.redis_url.as_str()).unwrap();
    let mut redis = client.get_multiplexed_async_connection().await.unwrap();
    let keys: Vec<String> = redis::cmd("KEYS")
        .arg(format!("{}*context*", app.prefix))
        .query_async(&mut redis)
        .await
        .unwrap();
    let key = format!("{}context:{}", app.prefix, id(conversation));
    assert_eq!(keys, [key.as_str()]);
    let left: i64 = redis::cmd("PTTL")
        .arg(&key)
        .query_async(&mut redis)
        .await
        .unwrap();
    assert!((86_300_000..=86_400_000).contains(&left), "{left}");
    app.finish().await;
}

#[tokio::test]
async fn an_entry_lives_as_long_as_it_is_told_to() {
    let provider = Provider::saying(&["Yes."]).await;
    let app = TestApp::with(Options {
        providers: provider.args("sk-1"),
        api: api::config::ApiArgs {
            context_cache_ttl_seconds: Some("1".to_owned()),
            ..Default::default()
        },
        ..Options::default()
    })
    .await;
    let ana = app.user("ana").await;
    let first = ana.chat(json!({ "message": "First?" })).await.expect(200);
    let conversation = &first["conversationId"];
    is_kept(&app, conversation, &first["message"]["id"]).await;
    eventually("it is gone after a second", async || {
        kept(&app, conversation).await.is_none()
    })
    .await;
    ask(&ana, conversation, "Second?").await;
    assert_eq!(last(&provider).len(), 3);
    app.finish().await;
}

#[tokio::test]
async fn whatever_changes_what_is_sent_makes_an_entry_worthless() {
    let provider = Provider::saying(&["Yes."]).await;
    let (app, ana) = app(&provider).await;
    let (conversation, first, _) = begun(&app, &ana).await;
    // Another limit of the conversation.
    let path = format!("/api/v1/conversations/{}", id(&conversation));
    let change = json!({ "contextMaxTokens": 7_000 });
    ana.patch_json(&path, change).await.expect(200);
    assert_eq!(kept(&app, &conversation).await, None);
    let third = ask(&ana, &conversation, "Third?").await;
    assert_eq!(last(&provider)[0], "user: Changed?");
    let before = is_kept(&app, &conversation, &third["message"]["id"]).await;

    // A deleted message; the entry of before comes back, as if Redis had not heard of it.
    let question = id(&first["message"]["parentId"]);
    let message = format!("/api/v1/messages/{question}");
    ana.delete(&message).await.expect(204);
    assert_eq!(kept(&app, &conversation).await, None);
    let redis = &app.context.redis;
    let key = redis.keys().context(typed(&conversation));
    let day = Duration::from_hours(24);
    redis.set(&key, before, day).await.unwrap();
    let fourth = ask(&ana, &conversation, "Fourth?").await;
    assert_eq!(
        last(&provider),
        [
            "assistant: Yes.",
            "user: Second?",
            "assistant: Yes.",
            "user: Third?",
            "assistant: Yes.",
            "user: Fourth?"
        ]
    );
    assert_eq!(fourth["context"]["total"], 6);
    app.finish().await;
}

#[tokio::test]
async fn an_entry_is_worthless_also_where_a_program_deletes_that_knows_of_none() {
    let provider = Provider::saying(&["Yes."]).await;
    let (app, ana) = app(&provider).await;
    let (conversation, ..) = begun(&app, &ana).await;
    sqlx::query(
        "UPDATE messages SET deleted_at = now() WHERE content -> 0 ->> 'text' = 'Changed?'",
    )
    .execute(app.database.pool())
    .await
    .unwrap();
    assert!(kept(&app, &conversation).await.is_some());
    ask(&ana, &conversation, "Third?").await;
    assert_eq!(last(&provider)[0], "assistant: Yes.");
    app.finish().await;
}

#[tokio::test]
async fn a_database_that_lost_its_last_change_does_not_make_an_entry_of_then_true() {
    let provider = Provider::saying(&["Yes."]).await;
    let (app, ana) = app(&provider).await;
    let (conversation, first, second) = begun(&app, &ana).await;
    let pool = app.database.pool();
    // What is kept is of after a change, which the database loses.
    let delete = async |message: &Value| {
        let path = format!("/api/v1/messages/{}", id(message));
        ana.delete(&path).await.expect(204);
    };
    delete(&second["message"]["parentId"]).await;
    let third = ask(&ana, &conversation, "Third?").await;
    is_kept(&app, &conversation, &third["message"]["id"]).await;
    for sql in [
        "UPDATE messages SET deleted_at = NULL",
        "DELETE FROM context_stamps",
    ] {
        sqlx::query(sql).execute(pool).await.unwrap();
    }
    let entry = kept(&app, &conversation).await.unwrap();
    // Another one, of which Redis did not hear.
    delete(&first["message"]["id"]).await;
    let redis = &app.context.redis;
    let key = redis.keys().context(typed(&conversation));
    redis
        .set(&key, entry, Duration::from_hours(24))
        .await
        .unwrap();
    ask(&ana, &conversation, "Fourth?").await;
    assert_eq!(last(&provider)[..2], ["user: Changed?", "user: Second?"]);
    app.finish().await;
}

#[tokio::test]
async fn an_answer_that_is_gone_on_with_is_what_it_became() {
    let provider = Provider::start(|asked| {
        let is_cut = asked.question() == "First?";
        let mut steps = vec![delta("Salt")];
        steps.extend(end(if is_cut { "length" } else { "stop" }, 11, 1));
        stream(steps)
    })
    .await;
    let (app, ana) = app(&provider).await;
    let first = ana.chat(json!({ "message": "First?" })).await.expect(200);
    let conversation = &first["conversationId"];
    let answer = &first["message"]["id"];
    is_kept(&app, conversation, answer).await;
    let path = format!("/api/v1/messages/{}/continue", id(answer));
    ana.post(&path).await.expect(200);
    ask(&ana, conversation, "Second?").await;
    let expected = ["user: First?", "assistant: SaltSalt", "user: Second?"];
    assert_eq!(last(&provider), expected);
    app.finish().await;
}

#[tokio::test]
async fn texts_of_attachments_go_with_them() {
    let provider = Provider::saying(&["A timetable."]).await;
    let (app, ana) = app(&provider).await;
    let document = pdf(&[Page::Text("The library opens at nine.".to_owned())]);
    let created = ana.upload("paper.pdf", document, &[]).await.expect(201);
    app.run_jobs().await;
    let document = &created["attachment"]["id"];
    let body = json!({ "message": "What is it?", "attachmentIds": [document] });
    let first = ana.chat(body).await.expect(200);
    let conversation = &first["conversationId"];
    let second = ask(&ana, conversation, "When?").await;
    let entry = is_kept(&app, conversation, &second["message"]["id"]).await;
    let entry = String::from_utf8(entry).unwrap();
    assert!(entry.contains("opens at nine"), "{entry}");
    ask(&ana, conversation, "Sure?").await;
    assert!(last(&provider)[0].contains("opens at nine"));
    // It is read again, and then it is gone.
    let path = format!("/api/v1/attachments/{}", id(document));
    ana.post(&format!("{path}/ocr")).await.expect(202);
    assert_eq!(kept(&app, conversation).await, None);
    app.run_jobs().await;
    let third = ask(&ana, conversation, "Really?").await;
    is_kept(&app, conversation, &third["message"]["id"]).await;
    ana.delete(&path).await.expect(204);
    app.run_jobs().await;
    ask(&ana, conversation, "And now?").await;
    assert_eq!(last(&provider)[0], "user: What is it?");
    app.finish().await;
}

#[tokio::test]
async fn branches_are_sent_without_redis_too() {
    let provider = Provider::saying(&["Yes."]).await;
    let app = TestApp::with(Options {
        providers: provider.args("sk-1"),
        redis_url: Some("redis://127.0.0.1:1".to_owned()),
        ..Options::default()
    })
    .await;
    let ana = app.user("ana").await;
    let first = ana.chat(json!({ "message": "First?" })).await.expect(200);
    ask(&ana, &first["conversationId"], "Second?").await;
    assert_eq!(
        last(&provider),
        ["user: First?", "assistant: Yes.", "user: Second?"]
    );
    app.finish().await;
}

#[tokio::test]
async fn what_is_left_of_a_deleted_conversation_goes() {
    let provider = Provider::saying(&["Yes."]).await;
    let (app, ana) = app(&provider).await;
    let (conversation, ..) = begun(&app, &ana).await;
    sqlx::query("INSERT INTO context_stamps SELECT id, 1 FROM conversations")
        .execute(app.database.pool())
        .await
        .unwrap();
    let path = format!("/api/v1/conversations/{}", id(&conversation));
    ana.delete(&path).await.expect(204);
    app.run_jobs().await;
    assert_eq!(kept(&app, &conversation).await, None);
    let stamps: i64 = sqlx::query_scalar("SELECT count(*) FROM context_stamps")
        .fetch_one(app.database.pool())
        .await
        .unwrap();
    assert_eq!(stamps, 0);
    app.finish().await;
}
