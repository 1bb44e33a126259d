//! What goes along with a question is within its limit, whatever it consists of and however its model counts.

use api::config::ApiArgs;
use serde_json::{Value, json};
use shared::config::ProviderArgs;
use tests::{
    Actor, Options, TestApp, eventually,
    fakes::provider::{Provider, delta, end, stream},
};

use crate::{
    chat::{app, id},
    chat_pictures::dot,
    context_cache::ask,
    context_limits::sent,
};

/// A model that counts as is counted here, and sees no pictures.
const COUNTED: &str = "gpt-oss-20b";
/// One of which it is learned how it counts.
const LEARNED: &str = "gemini-2.5-flash";

/// A product that sends up to 1,000 tokens, and waits for nothing that is being read.
async fn product(providers: ProviderArgs) -> (TestApp, Actor) {
    let app = TestApp::with(Options {
        providers,
        api: ApiArgs {
            attachment_wait_seconds: Some("0".to_owned()),
            context_max_tokens: Some("1000".to_owned()),
            ..ApiArgs::default()
        },
        ..Options::default()
    })
    .await;
    let ana = app.user("ana").await;
    (app, ana)
}

async fn execute(app: &TestApp, statements: &[&'static str]) {
    for statement in statements {
        sqlx::query(*statement)
            .execute(app.database.pool())
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn what_is_told_of_attachments_is_within_the_limit() {
    let provider = Provider::saying(&["Yes."]).await;
    let (app, ana) = product(ProviderArgs {
        groq_api_keys: Some("gsk-1".to_owned()),
        groq_base_url: Some(provider.base_url.clone()),
        ..ProviderArgs::default()
    })
    .await;
    let mut attachments = Vec::new();
    for shade in 0..12 {
        let kind = ["pending", "failed", "empty"][usize::from(shade % 3)];
        let name = format!("{kind}-{shade}.png");
        let created = ana.upload(&name, dot(shade), &[]).await.expect(201);
        attachments.push(created["attachment"]["id"].clone());
    }
    execute(
        &app,
        &[
            "UPDATE recognitions SET status = 'failed', error = 'it is damaged' FROM attachments
              WHERE attachments.id = attachment_id AND file_name LIKE 'failed%'",
            "UPDATE recognitions SET status = 'succeeded', readings = 1, extracted_text = '' FROM attachments
              WHERE attachments.id = attachment_id AND file_name LIKE 'empty%'",
        ],
    )
    .await;
    let mut conversation = Value::Null;
    for number in 0..8 {
        let body = json!({ "message": format!("Question {number}?"), "attachmentIds": attachments,
                           "model": COUNTED, "conversationId": conversation });
        let answer = ana.chat(body).await.expect(200);
        conversation = answer["conversationId"].clone();
        let asked = provider.asked().pop().unwrap();
        let question = asked.question();
        for notice in ["is still being read", "could not be read", "No text was"] {
            assert_eq!(question.matches(notice).count(), 4, "{question}");
        }
        let sent = sent(&asked);
        assert!(sent <= 1_000, "{sent} tokens of question {number}");
        // That is what is told of it, but for words that have fewer tokens where they stand together.
        let told = answer["context"]["tokens"].as_u64().unwrap();
        let told = usize::try_from(told).unwrap();
        assert!(sent.abs_diff(told) <= told / 5, "{sent} and {told}");
    }
    app.forget_jobs().await;
    app.finish().await;
}

#[tokio::test]
async fn a_limit_is_in_the_tokens_of_the_model() {
    // It takes half of the tokens that are counted here.
    let provider = Provider::start(|asked| {
        let end = end("stop", sent(asked).div_ceil(2), 1);
        stream([delta("Yes.")].into_iter().chain(end).collect())
    })
    .await;
    let (app, ana) = product(ProviderArgs {
        gemini_api_keys: Some("key".to_owned()),
        gemini_base_url: Some(provider.base_url.clone()),
        ..ProviderArgs::default()
    })
    .await;
    let question = "word ".repeat(100);
    for _ in 0..3 {
        let body = json!({ "message": question, "model": LEARNED });
        ana.chat(body).await.expect(200);
    }
    eventually("it is learned", async || {
        let model = ana.get(&format!("/api/v1/models/{LEARNED}")).await;
        model.expect(200)["providers"][0]["tokens"]["samples"] == 3
    })
    .await;

    let body = json!({ "message": question, "model": LEARNED });
    let first = ana.chat(body).await.expect(200);
    let conversation = &first["conversationId"];
    for number in 2..=24 {
        let answer = ask(&ana, conversation, &question).await;
        let context = &answer["context"];
        let taken = sent(&provider.asked().pop().unwrap()).div_ceil(2);
        assert!(taken <= 1_000, "{taken}: {context}");
        match number {
            // Nothing is left out before there are so many.
            2..=16 => assert_eq!(context["included"], context["total"], "{context}"),
            20.. => assert!(taken > 900 && context["cut"] == 0, "{taken}: {context}"),
            _ => {}
        }
    }

    // Pictures have as many tokens for it as for others.
    let created = ana.upload("dot.png", dot(7), &[]).await.expect(201);
    let body = json!({ "message": "What is it?", "model": LEARNED,
                       "attachmentIds": [created["attachment"]["id"]] });
    let answer = ana.chat(body).await.expect(200);
    let tokens = answer["context"]["tokens"].as_u64().unwrap();
    assert!((765..785).contains(&tokens), "{tokens}");
    app.forget_jobs().await;
    app.finish().await;
}

#[tokio::test]
async fn a_very_long_branch_is_not_climbed_to_its_beginning() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let conversation = ana.conversation("Plans").await;
    execute(
        &app,
        &[
            "INSERT INTO messages (id, conversation_id, user_id, parent_id, role, content, size_bytes, token_count,
                                   is_gone, version, created_at)
             SELECT lpad(m::text, 32, '0')::uuid, c.id, c.user_id,
                    CASE WHEN m > 1 THEN lpad((m - 1)::text, 32, '0')::uuid END,
                    CASE m % 2 WHEN 1 THEN 'user' ELSE 'assistant' END,
                    jsonb_build_array(jsonb_build_object('type', 'text', 'text', 'message ' || m)), 12, 7,
                    false, 1, job_now()
               FROM conversations c, generate_series(1, 5100) m",
            "UPDATE conversations SET current_message_id = lpad('5100', 32, '0')::uuid",
        ],
    )
    .await;
    let path = format!("/api/v1/conversations/{conversation}/context");
    let shown = ana.get(&path).await.expect(200);
    let context = &shown["context"];
    // 5,001 were seen, and there are more.
    assert_eq!(
        (&context["included"], &context["total"]),
        (&json!(49), &json!(5_002))
    );
    assert_eq!(shown["messages"][48]["text"], "message 5100");
    app.finish().await;
}

#[tokio::test]
async fn what_a_summary_told_of_counts_when_it_goes_while_it_is_looked_for() {
    let provider = Provider::saying(&["Yes."]).await;
    let (app, ana) = app(&provider).await;
    let first = ana.chat(json!({ "message": "First?" })).await.expect(200);
    let conversation = &first["conversationId"];
    let path = format!("/api/v1/conversations/{}", id(conversation));
    let change = json!({ "contextMaxMessages": 4 });
    ana.patch_json(&path, change).await.expect(200);
    let second = ask(&ana, conversation, "Second?").await;
    ask(&ana, conversation, "Third?").await;
    let anchor: uuid::Uuid = id(&second["message"]["id"]).parse().unwrap();
    let summary = "INSERT INTO summaries (conversation_id, anchor_id, text, token_count, message_count, model, made_at)
                   SELECT conversation_id, id, 'They talked.', 10, 4, 'gpt-4o', job_now() FROM messages WHERE id = $1";
    sqlx::query(summary)
        .bind(anchor)
        .execute(app.database.pool())
        .await
        .unwrap();
    // Whoever climbs sees that there is a summary, and whoever looks for it finds it gone.
    execute(
        &app,
        &[
            "ALTER TABLE summaries RENAME TO elsewhere",
            "CREATE FUNCTION is_there() RETURNS boolean LANGUAGE plpgsql AS $$
             BEGIN
                 IF current_query() LIKE '%RECURSIVE%' THEN RETURN true; END IF;
                 DELETE FROM elsewhere;
                 RETURN false;
             END $$",
            "CREATE VIEW summaries AS SELECT * FROM elsewhere WHERE is_there()",
            "INSERT INTO context_stamps SELECT id, 7 FROM conversations",
        ],
    )
    .await;
    let fourth = ask(&ana, conversation, "Fourth?").await;
    let context = &fourth["context"];
    assert_eq!(
        (
            &context["included"],
            &context["total"],
            &context["summarized"],
            &context["estimated"]
        ),
        (&json!(4), &json!(7), &json!(false), &json!(false))
    );
    execute(
        &app,
        &[
            "DROP VIEW summaries",
            "DROP FUNCTION is_there",
            "ALTER TABLE elsewhere RENAME TO summaries",
        ],
    )
    .await;
    app.finish().await;
}
