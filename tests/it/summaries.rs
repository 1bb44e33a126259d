//! What does not go along any more is told in short: by a job, branch by branch, and only while it is true.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use api::config::ApiArgs;
use serde_json::{Value, json};
use shared::config::ProviderArgs;
use tests::{
    Actor, Options, TestApp, eventually,
    fakes::provider::{Provider, Script, Step, delta, end, refusal, stream, words_of},
    pdf::{Page, pdf},
};
use worker::config::{WorkerArgs, WritingArgs};

use crate::{
    chat::{id, ledger},
    titles::is_written,
};

const PROMPT: &str = "Summarise it.";
/// As a summary begins that is sent.
const HEAD: &str = "system: [Summary of what was said before in this conversation.";

/// A provider that summarises so, and answers everything else.
async fn summarising(summary: impl Fn() -> Script + Send + Sync + 'static) -> Provider {
    Provider::start(move |asked| {
        if is_written(asked, PROMPT) {
            summary()
        } else {
            words_of(&["Yes."])
        }
    })
    .await
}

/// One whose summary is held until the test releases it.
async fn holding() -> Provider {
    summarising(|| {
        let steps = vec![delta("A secret."), Step::Hold];
        stream(steps.into_iter().chain(end("stop", 11, 2)).collect())
    })
    .await
}

/// A product that sends four messages, the question included.
async fn narrow(provider: &Provider) -> (TestApp, Actor) {
    narrow_with(provider.args("sk-1")).await
}

async fn narrow_with(providers: ProviderArgs) -> (TestApp, Actor) {
    let app = TestApp::with(Options {
        providers,
        api: ApiArgs {
            context_max_messages: Some("4".to_owned()),
            auto_summary: Some("true".to_owned()),
            ..ApiArgs::default()
        },
        worker: WorkerArgs {
            writing: WritingArgs {
                summary_prompt: Some(PROMPT.to_owned()),
                ..WritingArgs::default()
            },
            ..WorkerArgs::default()
        },
        ..Options::default()
    })
    .await;
    let ana = app.user("ana").await;
    (app, ana)
}

async fn ask(ana: &Actor, conversation: &Value, message: &str) -> Value {
    let body = json!({ "message": message, "conversationId": conversation });
    ana.chat(body).await.expect(200)
}

/// Three questions: after the last one, the first does not go along any more.
async fn talk(ana: &Actor) -> (Value, Value) {
    talk_from(ana, json!({ "message": "First?" })).await
}

async fn talk_from(ana: &Actor, first: Value) -> (Value, Value) {
    let first = ana.chat(first).await.expect(200);
    let conversation = first["conversationId"].clone();
    ask(ana, &conversation, "Second?").await;
    ask(ana, &conversation, "Third?").await;
    (conversation, first)
}

/// How many messages each summary tells of.
async fn summaries(app: &TestApp) -> Vec<i64> {
    sqlx::query_scalar("SELECT message_count FROM summaries ORDER BY 1")
        .fetch_all(app.database.pool())
        .await
        .unwrap()
}

#[tokio::test]
async fn what_does_not_go_along_any_more_is_summarised_and_stays() {
    let provider = summarising(|| words_of(&["They", " talked."])).await;
    let (app, ana) = narrow(&provider).await;
    let (conversation, first) = talk(&ana).await;
    assert_eq!(app.count_live_jobs().await, 1);
    app.run_jobs().await;
    let asked = provider.asked().remove(3);
    let material = "user: [User]\nFirst?\n\n[Assistant]\nYes.\n\n[User]\nSecond?";
    assert_eq!(asked.messages()[1].trim_end(), material);
    // With what the model may think first.
    assert_eq!(asked.body["max_completion_tokens"], 5_000);
    assert_eq!(summaries(&app).await, [3]);

    let fourth = ask(&ana, &conversation, "Fourth?").await;
    let messages = provider.asked().pop().unwrap().messages();
    assert!(messages[0].starts_with(HEAD), "{messages:?}");
    assert!(messages[0].ends_with("\nThey talked."), "{messages:?}");
    assert_eq!(
        messages[1..],
        [
            "assistant: Yes.",
            "user: Third?",
            "assistant: Yes.",
            "user: Fourth?"
        ]
    );
    let context = &fourth["context"];
    assert_eq!(
        (
            &context["summarized"],
            &context["included"],
            &context["total"]
        ),
        (&json!(true), &json!(4), &json!(7))
    );
    // All that is left out is in it.
    assert_eq!(app.count_live_jobs().await, 0);
    let path = format!("/api/v1/conversations/{}/context", id(&conversation));
    let shown = ana.get(&path).await.expect(200);
    let summary = &shown["summary"];
    assert!(summary["text"].as_str().unwrap().ends_with("They talked."));
    assert!(summary["throughMessageId"].is_string());

    // The next one is made of this one and what came since.
    ask(&ana, &conversation, "Fifth?").await;
    app.run_jobs().await;
    let asked = provider.asked().pop().unwrap();
    let material = "user: [Summary of what came before]\nThey talked.\n\n[Assistant]\nYes.\n\n\
                    [User]\nThird?\n\n[Assistant]\nYes.\n\n[User]\nFourth?";
    assert_eq!(asked.messages()[1].trim_end(), material);
    assert_eq!(summaries(&app).await, [3, 7]);

    // It costs something, and no message is gone.
    eventually("it is in the ledger", async || {
        ledger(&app).await.len() == 7
    })
    .await;
    let rows = ledger(&app).await;
    let rows: Vec<&Value> = rows.iter().filter(|row| row["kind"] == "summary").collect();
    assert_eq!(rows.len(), 2);
    assert_eq!(rows[0]["conversation_id"], conversation);
    assert!(rows[0]["cost_microusd"].as_i64().unwrap() > 0);
    let list = format!("/api/v1/conversations/{}/messages", id(&conversation));
    let list = ana.get(&list).await.expect(200);
    assert_eq!(list["data"].as_array().unwrap().len(), 10);

    // A branch that begins before it has nothing of it.
    let parent = &first["message"]["id"];
    let body = json!({ "message": "Beside?", "conversationId": conversation, "parentId": parent });
    let beside = ana.chat(body).await.expect(200);
    assert_eq!(beside["context"]["summarized"], false);
    assert_eq!(
        provider.asked().pop().unwrap().messages(),
        ["user: First?", "assistant: Yes.", "user: Beside?"]
    );
    app.finish().await;
}

#[tokio::test]
async fn each_branch_has_a_summary_of_its_own() {
    let provider = summarising(|| words_of(&["They talked."])).await;
    let (app, ana) = narrow(&provider).await;
    let (conversation, first) = talk(&ana).await;
    app.run_jobs().await;
    let parent = &first["message"]["id"];
    let body = json!({ "message": "Beside?", "conversationId": conversation, "parentId": parent });
    ana.chat(body).await.expect(200);
    ask(&ana, &conversation, "Below?").await;
    app.run_jobs().await;
    // First, its answer and Second; and First, its answer and Beside.
    assert_eq!(summaries(&app).await, [3, 3]);
    let asked = provider.asked().pop().unwrap();
    let material = "user: [User]\nFirst?\n\n[Assistant]\nYes.\n\n[User]\nBeside?";
    assert_eq!(asked.messages()[1].trim_end(), material);
    app.finish().await;
}

#[tokio::test]
async fn a_summary_goes_with_any_message_that_it_tells_of() {
    let provider = summarising(|| words_of(&["A secret."])).await;
    let (app, ana) = narrow(&provider).await;
    let (conversation, first) = talk(&ana).await;
    app.run_jobs().await;
    assert_eq!(summaries(&app).await, [3]);
    // One that it does not tell of.
    let fourth = ask(&ana, &conversation, "Fourth?").await;
    let message = format!("/api/v1/messages/{}", id(&fourth["message"]["id"]));
    ana.delete(&message).await.expect(204);
    assert_eq!(summaries(&app).await, [3]);
    let message = format!("/api/v1/messages/{}", id(&first["message"]["parentId"]));
    ana.delete(&message).await.expect(204);
    assert!(summaries(&app).await.is_empty());
    ask(&ana, &conversation, "Fifth?").await;
    let messages = provider.asked().pop().unwrap().messages();
    assert!(
        !messages.iter().any(|message| message.contains("secret")),
        "{messages:?}"
    );
    app.run_jobs().await;
    let material = provider.asked().pop().unwrap().messages().remove(1);
    assert!(!material.contains("First?"), "{material}");
    // And with its conversation.
    assert_eq!(summaries(&app).await.len(), 1);
    let path = format!("/api/v1/conversations/{}", id(&conversation));
    ana.delete(&path).await.expect(204);
    app.run_jobs().await;
    assert!(summaries(&app).await.is_empty());
    app.finish().await;
}

#[tokio::test]
async fn nothing_is_kept_of_a_summary_whose_conversation_changes_meanwhile() {
    let provider = holding().await;
    let (app, ana) = narrow(&provider).await;
    let (_, first) = talk(&ana).await;
    let deleting = async {
        eventually("it is asked", async || provider.asked().len() == 4).await;
        let message = format!("/api/v1/messages/{}", id(&first["message"]["parentId"]));
        ana.delete(&message).await.expect(204);
        provider.release();
    };
    tokio::join!(app.run_jobs(), deleting);
    assert!(summaries(&app).await.is_empty());
    // It was paid for all the same.
    eventually("it is in the ledger", async || {
        let rows = ledger(&app).await;
        rows.iter().any(|row| row["kind"] == "summary")
    })
    .await;
    app.finish().await;
}

#[tokio::test]
async fn a_provider_that_is_busy_is_asked_again_and_one_job_is_enough() {
    let tries = AtomicUsize::new(0);
    let provider = summarising(move || match tries.fetch_add(1, Ordering::SeqCst) {
        0 => refusal(503, "overloaded"),
        _ => words_of(&["They talked."]),
    })
    .await;
    let (app, ana) = narrow(&provider).await;
    let (conversation, _) = talk(&ana).await;
    ask(&ana, &conversation, "Fourth?").await;
    assert_eq!(app.count_live_jobs().await, 1);
    app.run_jobs().await;
    assert_eq!(summaries(&app).await, [3]);
    eventually("both tries are in the ledger", async || {
        let rows = ledger(&app).await;
        rows.iter().filter(|row| row["kind"] == "summary").count() == 2
    })
    .await;
    app.finish().await;
}

#[tokio::test]
async fn an_attachment_that_is_read_again_meanwhile_spoils_no_summary() {
    let provider = holding().await;
    let (app, ana) = narrow(&provider).await;
    let document = pdf(&[Page::Text("The library opens at nine.".to_owned())]);
    let created = ana.upload("paper.pdf", document, &[]).await.expect(201);
    app.run_jobs().await;
    let document = &created["attachment"]["id"];
    let first = json!({ "message": "First?", "attachmentIds": [document] });
    talk_from(&ana, first).await;
    let reading = async {
        eventually("it is asked", async || provider.asked().len() == 4).await;
        let path = format!("/api/v1/attachments/{}/ocr", id(document));
        ana.post(&path).await.expect(202);
        provider.release();
    };
    tokio::join!(app.run_jobs(), reading);
    assert_eq!(summaries(&app).await, [3]);
    app.finish().await;
}

#[tokio::test]
async fn a_summary_goes_also_where_a_program_deletes_that_knows_of_none() {
    let provider = summarising(|| words_of(&["A secret."])).await;
    let (app, ana) = narrow(&provider).await;
    talk(&ana).await;
    app.run_jobs().await;
    assert_eq!(summaries(&app).await, [3]);
    let delete = async |text: &str| {
        let sql = "UPDATE messages SET deleted_at = now() WHERE content -> 0 ->> 'text' = $1";
        let deleting = sqlx::query(sql).bind(text).execute(app.database.pool());
        assert_eq!(deleting.await.unwrap().rows_affected(), 1);
    };
    // It tells of the second question, and not of the third.
    delete("Third?").await;
    assert_eq!(summaries(&app).await, [3]);
    delete("Second?").await;
    assert!(summaries(&app).await.is_empty());
    app.finish().await;
}

#[tokio::test]
async fn a_summary_that_came_to_nothing_is_asked_for_again_after_an_hour() {
    let tries = AtomicUsize::new(0);
    let provider = summarising(move || match tries.fetch_add(1, Ordering::SeqCst) {
        // It did nothing but think.
        0 => stream(end("length", 11, 5_000)),
        1 => stream(
            [delta("They")]
                .into_iter()
                .chain(end("content_filter", 11, 1))
                .collect(),
        ),
        _ => words_of(&["They talked."]),
    })
    .await;
    let (app, mut ana) = narrow(&provider).await;
    app.expect_failed(2);
    let (conversation, _) = talk(&ana).await;
    for failed in 1..=2 {
        app.run_jobs().await;
        assert_eq!(app.count_jobs("failed").await, failed);
        assert!(summaries(&app).await.is_empty());
        ask(&ana, &conversation, "Soon?").await;
        assert_eq!(app.count_live_jobs().await, 0);
        app.advance(Duration::from_hours(1)).await;
        ana = app.login(&ana).await;
        ask(&ana, &conversation, "Later?").await;
        assert_eq!(app.count_live_jobs().await, 1);
    }
    app.run_jobs().await;
    assert_eq!(summaries(&app).await.len(), 1);
    // Nothing is left of the rests.
    assert!(worker::housekeeping::tidy(&app.context).await.unwrap() > 0);
    let rests: i64 = sqlx::query_scalar("SELECT count(*) FROM job_rests")
        .fetch_one(app.database.pool())
        .await
        .unwrap();
    assert_eq!(rests, 0);
    app.finish().await;
}

#[tokio::test]
async fn no_other_company_is_told_of_a_conversation_whose_model_is_gone() {
    let provider = summarising(|| words_of(&["They talked."])).await;
    let other = Provider::saying(&["They talked."]).await;
    let (app, ana) = narrow_with(ProviderArgs {
        groq_api_keys: Some("gsk-1".to_owned()),
        groq_base_url: Some(other.base_url.clone()),
        ..provider.args("sk-1")
    })
    .await;
    talk_from(&ana, json!({ "message": "First?", "model": "gpt-4o-mini" })).await;
    assert_eq!(app.count_live_jobs().await, 1);
    let providers = &app.context.providers;
    let picked = providers.pick("openai", "gpt-4o-mini", &[]).await.unwrap();
    providers.retired(&picked, "for a test".to_owned()).await;
    app.run_jobs().await;
    assert_eq!((provider.asked().len(), other.asked().len()), (3, 0));
    assert!(summaries(&app).await.is_empty());
    app.finish().await;
}
