//! Conversations are named by a model after their first answer, unless their users name them.

use std::time::Duration;

use api::config::ApiArgs;
use reqwest::Method;
use rustix::process::Signal;
use serde_json::{Value, json};
use tests::{
    Actor, Options, TestApp, eventually,
    fakes::provider::{Asked, Provider, Script, Step, delta, end, refusal, stream, words_of},
};
use worker::config::{WorkerArgs, WritingArgs};

use crate::chat::{id, ledger};

/// What is written by a model on its own, and not for a user.
pub(crate) fn is_written(asked: &Asked, prompt: &str) -> bool {
    asked.messages()[0].starts_with(&format!("system: {prompt}"))
}

const PROMPT: &str = "Name it.";

/// A provider that names conversations so, and answers everything else.
async fn naming(title: impl Fn() -> Script + Send + Sync + 'static) -> Provider {
    Provider::start(move |asked| {
        if is_written(asked, PROMPT) {
            title()
        } else {
            words_of(&["Salt", " and", " water."])
        }
    })
    .await
}

fn options(provider: &Provider, is_on: bool) -> Options {
    Options {
        providers: provider.args("sk-1"),
        api: ApiArgs {
            auto_title: Some(is_on.to_string()),
            ..ApiArgs::default()
        },
        worker: WorkerArgs {
            writing: WritingArgs {
                title_model: Some("gpt-4o".to_owned()),
                title_prompt: Some(PROMPT.to_owned()),
                ..WritingArgs::default()
            },
            ..WorkerArgs::default()
        },
        ..Options::default()
    }
}

async fn titled(provider: &Provider, is_on: bool) -> (TestApp, Actor) {
    let app = TestApp::with(options(provider, is_on)).await;
    let ana = app.user("ana").await;
    (app, ana)
}

async fn ask(ana: &Actor, conversation: &Value) -> Value {
    let body = json!({ "message": "What is the sea?", "conversationId": conversation });
    ana.chat(body).await.expect(200)["conversationId"].clone()
}

async fn title(ana: &Actor, conversation: &Value) -> Value {
    let path = format!("/api/v1/conversations/{}", id(conversation));
    ana.get(&path).await.expect(200)["title"].clone()
}

async fn rename(ana: &Actor, conversation: &Value, title: Value) {
    let path = format!("/api/v1/conversations/{}", id(conversation));
    let change = json!({ "title": title });
    ana.patch_json(&path, change).await.expect(200);
}

#[tokio::test]
async fn a_conversation_is_named_after_its_first_answer() {
    let provider = naming(|| words_of(&["\"The", " sea.\"\n"])).await;
    let (app, ana) = titled(&provider, true).await;
    let body = json!({ "message": "What is the sea?", "model": "gpt-4o-mini" });
    let answer = ana.chat(body).await.expect(200);
    let conversation = answer["conversationId"].clone();
    assert_eq!(title(&ana, &conversation).await, Value::Null);
    assert_eq!(app.count_live_jobs().await, 1);
    // Nobody's job.
    let jobs = ana.get("/api/v1/jobs").await.expect(200);
    assert_eq!(jobs["data"], json!([]));
    app.run_jobs().await;
    assert_eq!(title(&ana, &conversation).await, "The sea");
    let asked = provider.asked().pop().unwrap();
    assert_eq!(asked.body["model"], "gpt-4o");
    assert_eq!(asked.body["max_completion_tokens"], 4_100);
    let messages = asked.messages();
    assert_eq!(messages[0], "system: Name it.");
    assert_eq!(
        messages[1],
        "user: [User]\nWhat is the sea?\n\n[Assistant]\nSalt and water."
    );
    eventually("it is in the ledger", async || {
        ledger(&app).await.len() == 2
    })
    .await;
    let rows = ledger(&app).await;
    let row = rows.iter().find(|row| row["kind"] == "title").unwrap();
    for (field, value) in [
        ("outcome", json!("completed")),
        ("model", json!("gpt-4o")),
        ("input_tokens", json!(11)),
        ("output_tokens", json!(2)),
        ("is_estimated", json!(false)),
        ("conversation_id", conversation.clone()),
        ("message_id", Value::Null),
    ] {
        assert_eq!(row[field], value, "{field}");
    }
    assert!(row["cost_microusd"].as_i64().unwrap() > 0);
    // Once.
    ask(&ana, &conversation).await;
    assert_eq!(app.count_live_jobs().await, 0);
    app.finish().await;
}

#[tokio::test]
async fn a_conversation_is_named_also_where_its_events_are_told() {
    let provider = naming(|| words_of(&["The sea"])).await;
    let (app, ana) = titled(&provider, true).await;
    let webhook = json!({ "url": "http://127.0.0.1:9/", "events": ["user.updated"] });
    ana.post_json("/api/v1/webhooks", webhook).await.expect(201);
    let conversation = ask(&ana, &Value::Null).await;
    app.run_jobs().await;
    assert_eq!(title(&ana, &conversation).await, "The sea");
    app.finish().await;
}

#[tokio::test]
async fn what_its_user_says_stays() {
    let provider = naming(|| words_of(&["The sea"])).await;
    let (app, ana) = titled(&provider, true).await;
    // Named from the beginning.
    let own = json!(ana.conversation("Plans").await);
    ask(&ana, &own).await;
    assert_eq!(app.count_live_jobs().await, 0);
    assert_eq!(title(&ana, &own).await, "Plans");
    // Named, or said to have no name, before the job runs.
    for name in [json!("Mine"), Value::Null] {
        let conversation = ask(&ana, &Value::Null).await;
        rename(&ana, &conversation, json!("Mine")).await;
        rename(&ana, &conversation, name.clone()).await;
        app.run_jobs().await;
        assert_eq!(title(&ana, &conversation).await, name);
        ask(&ana, &conversation).await;
        assert_eq!(app.count_live_jobs().await, 0);
    }
    let is_title = |asked: &Asked| is_written(asked, PROMPT);
    assert!(!provider.asked().iter().any(is_title));
    app.finish().await;
}

#[tokio::test]
async fn a_title_that_is_given_while_the_model_thinks_stays() {
    let held = || {
        let steps = vec![delta("The"), Step::Hold, delta(" sea")];
        stream(steps.into_iter().chain(end("stop", 11, 2)).collect())
    };
    let provider = naming(held).await;
    let (app, ana) = titled(&provider, true).await;
    let conversation = ask(&ana, &Value::Null).await;
    let naming = async {
        eventually("it is asked", async || provider.asked().len() == 2).await;
        rename(&ana, &conversation, json!("Mine")).await;
        provider.release();
    };
    tokio::join!(app.run_jobs(), naming);
    assert_eq!(title(&ana, &conversation).await, "Mine");
    app.finish().await;
}

#[tokio::test]
async fn titles_are_tried_again_and_can_be_switched_off() {
    let tries = std::sync::atomic::AtomicUsize::new(0);
    let provider = naming(
        move || match tries.fetch_add(1, std::sync::atomic::Ordering::SeqCst) {
            0 => refusal(503, "overloaded"),
            1 => words_of(&["\"\"\n"]),
            _ => words_of(&["The sea"]),
        },
    )
    .await;
    let (app, ana) = titled(&provider, true).await;
    let conversation = ask(&ana, &Value::Null).await;
    // Refused once, and then nothing is written.
    app.run_jobs().await;
    assert_eq!(title(&ana, &conversation).await, Value::Null);
    // The next answer asks again.
    ask(&ana, &conversation).await;
    app.run_jobs().await;
    assert_eq!(title(&ana, &conversation).await, "The sea");
    app.finish().await;

    let provider = naming(|| words_of(&["The sea"])).await;
    let (app, ana) = titled(&provider, false).await;
    ask(&ana, &Value::Null).await;
    assert_eq!(app.count_live_jobs().await, 0);
    app.finish().await;
}

#[tokio::test]
async fn a_title_of_a_model_that_only_thought_or_was_stopped_by_a_filter_is_none() {
    let answers = [
        stream(end("length", 11, 4_100)),
        stream(
            [delta("The")]
                .into_iter()
                .chain(end("content_filter", 11, 1))
                .collect(),
        ),
    ];
    for answer in answers {
        let provider = naming(move || answer.clone()).await;
        let (app, ana) = titled(&provider, true).await;
        app.expect_failed(1);
        let conversation = ask(&ana, &Value::Null).await;
        app.run_jobs().await;
        assert_eq!(title(&ana, &conversation).await, Value::Null);
        // Once, and it was paid for.
        assert_eq!(provider.asked().len(), 2);
        eventually("it is in the ledger", async || {
            ledger(&app).await.len() == 2
        })
        .await;
        app.finish().await;
    }
}

#[tokio::test]
async fn what_is_gone_is_not_named() {
    let provider = naming(|| words_of(&["The sea"])).await;
    let (app, ana) = titled(&provider, true).await;
    let conversation = ask(&ana, &Value::Null).await;
    let path = format!("/api/v1/conversations/{}", id(&conversation));
    ana.send(ana.request(Method::DELETE, &path))
        .await
        .expect(204);
    app.run_jobs().await;
    assert_eq!(provider.asked().len(), 1);
    app.finish().await;
}

#[tokio::test]
async fn a_title_whose_worker_is_killed_is_asked_for_again_and_both_are_accounted_for() {
    let tries = std::sync::atomic::AtomicUsize::new(0);
    let provider = naming(
        move || match tries.fetch_add(1, std::sync::atomic::Ordering::SeqCst) {
            0 => stream(vec![delta("Lost"), Step::Hold]),
            _ => words_of(&["The sea"]),
        },
    )
    .await;
    let app = TestApp::with(Options {
        live: true,
        ..options(&provider, true)
    })
    .await;
    let ana = app.user("ana").await;
    let conversation = ask(&ana, &Value::Null).await;
    let mut program = app.start_program(
        "baatcheet-worker",
        &[
            ("OPENAI_API_KEYS", "sk-1"),
            ("OPENAI_BASE_URL", &provider.base_url),
            ("TITLE_MODEL", "gpt-4o"),
            ("TITLE_PROMPT", PROMPT),
            ("JOB_LEASE_SECONDS", "3"),
        ],
    );
    eventually("it is asked", async || provider.asked().len() == 2).await;
    program.signal(Signal::KILL);
    program.wait().await;
    assert_eq!(ledger(&app).await.len(), 1);

    let heir = app.start_worker_with(|settings| settings.lease = Duration::from_secs(3));
    eventually("it is named", async || {
        title(&ana, &conversation).await == "The sea"
    })
    .await;
    eventually("both are in the ledger", async || {
        ledger(&app).await.len() == 3
    })
    .await;
    heir.shutdown().await;
    let rows = ledger(&app).await;
    let rows: Vec<&Value> = rows.iter().filter(|row| row["kind"] == "title").collect();
    let outcomes: Vec<(&Value, &Value)> = rows
        .iter()
        .map(|row| (&row["outcome"], &row["is_estimated"]))
        .collect();
    assert_eq!(
        outcomes,
        [
            (&json!("interrupted"), &json!(true)),
            (&json!("completed"), &json!(false))
        ]
    );
    let lost = rows[0];
    assert_eq!(lost["output_tokens"], 0);
    for field in ["input_tokens", "cost_microusd"] {
        assert!(lost[field].as_i64().unwrap() > 0, "{field}: {lost}");
    }
    for field in ["conversation_id", "user_id", "model", "price_version"] {
        assert_eq!(lost[field], rows[1][field], "{field}");
    }
    assert_eq!(lost["conversation_id"], conversation);
    assert_eq!(provider.asked().len(), 3);
    app.finish().await;
}
