//! What changes between two questions, while the context of the first is kept in Redis, or while the second waits.

use std::time::Duration;

use serde_json::{Value, json};
use shared::{config::ProviderArgs, models::summary};
use tests::{
    Actor, Options, TestApp,
    fakes::provider::{Asked, Provider},
};

use crate::{
    chat::id,
    chat_pictures::dot,
    context_cache::{ask, begun, is_kept, kept, last, typed},
};

/// A model that sees pictures, and one that does not.
const SEES: &str = "gpt-4o";
const SEES_NOT: &str = "gpt-oss-20b";

/// A product that has both.
async fn product(provider: &Provider) -> (TestApp, Actor) {
    let app = TestApp::with(Options {
        providers: ProviderArgs {
            groq_api_keys: Some("gsk-1".to_owned()),
            groq_base_url: Some(provider.base_url.clone()),
            ..provider.args("sk-1")
        },
        ..Options::default()
    })
    .await;
    let ana = app.user("ana").await;
    (app, ana)
}

async fn execute(app: &TestApp, statement: &'static str) {
    sqlx::query(statement)
        .execute(app.database.pool())
        .await
        .unwrap();
}

/// Has Redis keep what it kept before, as if it had not heard of a change.
async fn keep_again(app: &TestApp, conversation: &Value, entry: Vec<u8>) {
    let redis = &app.context.redis;
    let key = redis.keys().context(typed(conversation));
    let day = Duration::from_hours(24);
    redis.set(&key, entry, day).await.unwrap();
}

fn has_picture(asked: &Asked) -> bool {
    asked.body.to_string().contains("image_url")
}

#[tokio::test]
async fn what_was_read_in_a_picture_is_kept_for_models_that_see_none() {
    let provider = Provider::saying(&["A dot."]).await;
    let (app, ana) = product(&provider).await;
    let created = ana.upload("dot.png", dot(7), &[]).await.expect(201);
    let read = "UPDATE recognitions SET status = 'succeeded', readings = 1, extracted_text = 'A small dot.'";
    execute(&app, read).await;
    let body = json!({ "message": "What is it?", "model": SEES_NOT,
                       "attachmentIds": [created["attachment"]["id"]] });
    let first = ana.chat(body).await.expect(200);
    let conversation = &first["conversationId"];
    let ask = async |model: &str| {
        let body = json!({ "message": "Sure?", "model": model, "conversationId": conversation });
        let answer = ana.chat(body).await.expect(200);
        let entry = is_kept(&app, conversation, &answer["message"]["id"]).await;
        let asked = provider.asked().pop().unwrap();
        assert!(asked.messages()[0].contains("A small dot."));
        (has_picture(&asked), String::from_utf8(entry).unwrap())
    };
    let (has_seen, entry) = ask(SEES_NOT).await;
    assert!(!has_seen && entry.contains("A small dot."), "{entry}");
    // Whoever asks Postgres now is told of another one.
    execute(
        &app,
        "UPDATE recognitions SET readings = 2, extracted_text = 'A small dot. It moves.'",
    )
    .await;
    let (has_seen, entry) = ask(SEES).await;
    assert!(has_seen && entry.contains("A small dot."), "{entry}");
    let (has_seen, _) = ask(SEES_NOT).await;
    assert!(!has_seen);
    let asked = provider.asked();
    let moves: Vec<bool> = asked
        .iter()
        .map(|asked| asked.messages()[0].contains("It moves."))
        .collect();
    assert_eq!(moves, [false, false, true, false]);
    app.forget_jobs().await;
    app.finish().await;
}

#[tokio::test]
async fn instructions_and_models_may_change_while_a_branch_is_kept() {
    let provider = Provider::saying(&["Yes."]).await;
    let (app, ana) = product(&provider).await;
    let body = json!({ "name": "Thesis", "instructions": "Cite sources." });
    let project = ana.post_json("/api/v1/projects", body).await.expect(201);
    let (conversation, ..) = begun(&app, &ana).await;
    let path = format!("/api/v1/conversations/{}", id(&conversation));
    let change = json!({ "projectId": project["id"] });
    ana.patch_json(&path, change).await.expect(200);
    let third = ask(&ana, &conversation, "Third?").await;
    assert_eq!(last(&provider)[0], "system: Cite sources.");
    is_kept(&app, &conversation, &third["message"]["id"]).await;
    // Whoever still sees the wording of before has asked Redis.
    let again = "UPDATE messages SET content = jsonb_set(content, '{0,text}', '\"Again?\"')
                  WHERE content -> 0 ->> 'text' = 'Changed?'";
    execute(&app, again).await;
    let path = format!("/api/v1/projects/{}", id(&project["id"]));
    let change = json!({ "instructions": "Rhyme." });
    ana.patch_json(&path, change).await.expect(200);
    let body = json!({ "message": "Fourth?", "conversationId": conversation, "model": SEES_NOT });
    ana.chat(body).await.expect(200);
    let asked = provider.asked().pop().unwrap();
    assert_eq!(asked.body["model"], "openai/gpt-oss-20b");
    let messages = asked.messages();
    assert_eq!(messages[..2], ["system: Rhyme.", "user: Changed?"]);
    assert_eq!(
        messages[5..],
        ["user: Third?", "assistant: Yes.", "user: Fourth?"]
    );
    app.finish().await;
}

#[tokio::test]
async fn a_summary_is_sent_from_the_next_question_on() {
    let provider = Provider::saying(&["Yes."]).await;
    let (app, ana) = product(&provider).await;
    let (conversation, first, _) = begun(&app, &ana).await;
    let path = format!("/api/v1/conversations/{}", id(&conversation));
    let change = json!({ "contextMaxMessages": 3 });
    ana.patch_json(&path, change).await.expect(200);
    let third = ask(&ana, &conversation, "Third?").await;
    let before = is_kept(&app, &conversation, &third["message"]["id"]).await;
    let mut tx = app.begin().await;
    let row = summary::Model {
        conversation_id: typed(&conversation),
        anchor_id: id(&first["message"]["id"]).parse().unwrap(),
        text: "They talked.".to_owned(),
        token_count: 30,
        message_count: 2,
        model: SEES.to_owned(),
        made_at: app.clock.now(),
    };
    summary::keep(&mut tx, row).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(kept(&app, &conversation).await, None);
    keep_again(&app, &conversation, before).await;
    let fourth = ask(&ana, &conversation, "Fourth?").await;
    let messages = last(&provider);
    assert!(messages[0].ends_with("\nThey talked."), "{messages:?}");
    assert_eq!(
        messages[1..],
        ["user: Third?", "assistant: Yes.", "user: Fourth?"]
    );
    let context = &fourth["context"];
    assert_eq!(
        (&context["summarized"], &context["total"]),
        (&json!(true), &json!(7))
    );
    app.finish().await;
}

#[tokio::test]
async fn what_changes_while_attachments_are_awaited_is_noticed() {
    let provider = Provider::saying(&["Yes."]).await;
    let (app, ana) = product(&provider).await;
    let (conversation, first, second) = begun(&app, &ana).await;
    let before = is_kept(&app, &conversation, &second["message"]["id"]).await;
    let created = ana.upload("dot.png", dot(7), &[]).await.expect(201);
    let body = json!({ "message": "Third?", "model": SEES_NOT, "conversationId": conversation,
                       "attachmentIds": [created["attachment"]["id"]] });
    let changing = async {
        app.wait_for_question().await;
        let question = id(&first["message"]["parentId"]);
        ana.delete(&format!("/api/v1/messages/{question}"))
            .await
            .expect(204);
        keep_again(&app, &conversation, before).await;
        // Now it is read.
        let read =
            "UPDATE recognitions SET status = 'succeeded', readings = 1, extracted_text = 'A dot.'";
        execute(&app, read).await;
    };
    let (answer, ()) = tokio::join!(ana.chat(body), changing);
    let answer = answer.expect(200);
    let messages = last(&provider);
    assert_eq!(
        messages[..3],
        ["assistant: Yes.", "user: Second?", "assistant: Yes."]
    );
    assert!(messages[3].contains("A dot."), "{messages:?}");
    assert_eq!(answer["context"]["total"], 4);
    app.forget_jobs().await;
    app.finish().await;
}
