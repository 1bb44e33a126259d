//! How much goes along with a question, and what is told of it.

use api::config::ApiArgs;
use reqwest::Method;
use serde_json::{Value, json};
use shared::tokens::Encoding;
use tests::{
    Actor, Options, TestApp,
    fakes::provider::{Asked, Provider},
    picture,
};

use crate::{
    chat::{app, id},
    chat_streams::{Instance, live},
};

/// A product whose answers are made of so much.
async fn limited(provider: &Provider, tokens: &str, messages: &str) -> (TestApp, Actor) {
    let app = TestApp::with(Options {
        providers: provider.args("sk-1"),
        api: ApiArgs {
            context_max_tokens: Some(tokens.to_owned()),
            context_max_messages: Some(messages.to_owned()),
            ..ApiArgs::default()
        },
        ..Options::default()
    })
    .await;
    let ana = app.user("ana").await;
    (app, ana)
}

/// Tokens of all that a model was sent, as those of `OpenAI` count it.
pub(crate) fn sent(asked: &Asked) -> usize {
    let messages = asked.messages();
    let tokens = messages.iter().map(|message| {
        let (role, text) = message.split_once(": ").unwrap();
        Encoding::O200k.count(role) + Encoding::O200k.count(text) + 4
    });
    tokens.sum()
}

async fn ask(ana: &Actor, conversation: &Value, message: &str) -> Value {
    let body = json!({ "message": message, "conversationId": conversation });
    ana.chat(body).await.expect(200)
}

fn path(conversation: &Value) -> String {
    format!("/api/v1/conversations/{}", id(conversation))
}

#[tokio::test]
async fn a_conversation_has_limits_of_its_own() {
    let provider = Provider::saying(&["Yes."]).await;
    let (app, ana) = app(&provider).await;
    let body = json!({ "message": "One?", "model": "gpt-4o-mini" });
    let first = ana.chat(body).await.expect(200);
    let conversation = &first["conversationId"];
    for bad in [
        json!({ "contextMaxTokens": 99 }),
        json!({ "contextMaxTokens": 1_000_001 }),
        json!({ "contextMaxTokens": -1 }),
        json!({ "contextMaxTokens": "many" }),
        // The model takes 128,000 with an answer of up to 16,384.
        json!({ "contextMaxTokens": 111_617 }),
    ] {
        let refused = ana.patch_json(&path(conversation), bad.clone()).await;
        assert_eq!(refused.expect_bad_fields(), ["/contextMaxTokens"], "{bad}");
    }
    for bad in [0, 501] {
        let bad = json!({ "contextMaxMessages": bad });
        let refused = ana.patch_json(&path(conversation), bad).await;
        assert_eq!(refused.expect_bad_fields(), ["/contextMaxMessages"]);
    }
    let change = json!({ "contextMaxTokens": 111_616, "contextMaxMessages": 2 });
    let changed = ana
        .patch_json(&path(conversation), change)
        .await
        .expect(200);
    assert_eq!(
        (&changed["contextMaxTokens"], &changed["contextMaxMessages"]),
        (&json!(111_616), &json!(2))
    );
    let second = ask(&ana, conversation, "Two?").await;
    let context = &second["context"];
    assert_eq!(
        (&context["limit"], &context["included"], &context["total"]),
        (&json!(111_616), &json!(2), &json!(3))
    );
    let messages = provider.asked()[1].messages();
    assert_eq!(messages, ["assistant: Yes.", "user: Two?"]);
    // Null takes it back.
    let change = json!({ "contextMaxTokens": null, "contextMaxMessages": null });
    let changed = ana
        .patch_json(&path(conversation), change)
        .await
        .expect(200);
    assert!(changed["contextMaxTokens"].is_null());
    let third = ask(&ana, conversation, "Three?").await;
    let context = &third["context"];
    assert_eq!(
        (&context["limit"], &context["included"], &context["total"]),
        (&json!(8_000), &json!(5), &json!(5))
    );
    assert_eq!(context["summarized"], false);
    assert!(context["warning"].is_null());
    app.finish().await;
}

#[tokio::test]
async fn a_model_has_limits_of_its_own_and_no_context_leaves_an_answer_no_room() {
    let provider = Provider::saying(&["Yes."]).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("models.json");
    let model = |id: &str, more: &str| {
        format!(
            r#"{{ "id": "{id}", "name": "{id}", "contextTokens": 400, "maxOutputTokens": 200, {more}
                  "routes": [{{ "provider": "openai", "model": "{id}" }}] }}"#
        )
    };
    let models = format!(
        r#"{{ "version": "1", "models": [{}, {}] }}"#,
        model("narrow", r#""contextMaxTokens": 150,"#),
        model("small", "")
    );
    std::fs::write(&file, models).unwrap();
    let app = TestApp::with(Options {
        providers: shared::config::ProviderArgs {
            models_file: Some(file.display().to_string()),
            ..provider.args("sk-1")
        },
        ..Options::default()
    })
    .await;
    let ana = app.user("ana").await;
    for (model, limit) in [("narrow", 150), ("small", 300), ("gpt-4o", 8_000)] {
        let body = json!({ "message": "Hi", "model": model });
        let answer = ana.chat(body).await.expect(200);
        assert_eq!(answer["context"]["limit"], limit, "{model}");
    }
    // An answer that may be longer leaves less room.
    for (longest, limit) in [(50, 300), (150, 250), (5_000, 200)] {
        let body = json!({ "message": "Hi", "model": "small", "maxTokens": longest });
        let answer = ana.chat(body).await.expect(200);
        assert_eq!(answer["context"]["limit"], limit, "{longest}");
    }
    app.finish().await;
}

#[tokio::test]
async fn a_context_that_is_nearly_full_says_so() {
    let provider = Provider::saying(&["Yes."]).await;
    let (app, ana) = limited(&provider, "100", "50").await;
    for (tokens, warning, is_exceeded) in [
        (79, Value::Null, false),
        (80, json!("approaching_limit"), false),
        (100, json!("approaching_limit"), false),
        (101, json!("approaching_limit"), true),
    ] {
        // Its role and the marks around it are five of them.
        let message = vec!["word"; tokens - 5].join(" ");
        let answer = ana.chat(json!({ "message": message })).await.expect(200);
        let context = &answer["context"];
        assert_eq!(context["tokens"], tokens, "{context}");
        assert_eq!(context["warning"], warning, "{context}");
        assert_eq!(context["exceeded"], is_exceeded, "{context}");
        assert_eq!(context["estimated"], false);
        let asked = provider.asked().pop().unwrap();
        assert_eq!(asked.messages(), [format!("user: {message}")]);
    }
    app.finish().await;
}

#[tokio::test]
async fn an_earlier_message_that_is_too_long_is_cut_with_a_mark() {
    let provider = Provider::saying(&["Yes."]).await;
    let (app, ana) = limited(&provider, "1000", "50").await;
    let first = ana.chat(json!({ "message": "Hi" })).await.expect(200);
    let conversation = &first["conversationId"];
    ask(&ana, conversation, &"sentence ".repeat(2_000)).await;
    let third = ask(&ana, conversation, "And now?").await;
    let asked = provider.asked().pop().unwrap();
    let messages = asked.messages();
    // The others of the last ten go along, too.
    assert_eq!(messages.len(), 5, "{messages:?}");
    assert_eq!(messages[..2], ["user: Hi", "assistant: Yes."]);
    let cut = &messages[2];
    assert!(cut.starts_with("user: sentence sentence "), "{cut}");
    assert!(cut.ends_with("\n[…]"), "{cut}");
    assert_eq!(messages[3..], ["assistant: Yes.", "user: And now?"]);
    let context = &third["context"];
    assert_eq!(
        (&context["cut"], &context["included"], &context["total"]),
        (&json!(1), &json!(5), &json!(5))
    );
    assert!(context["tokens"].as_u64().unwrap() <= 1_000, "{context}");
    let sent = sent(&asked);
    assert!((900..=1_000).contains(&sent), "{sent}");
    app.finish().await;
}

#[tokio::test]
async fn what_would_be_sent_is_shown_to_its_owner() {
    let provider = Provider::saying(&["Yes."]).await;
    let (app, ana) = limited(&provider, "8000", "4").await;
    let body = json!({ "message": "One?", "systemPrompt": "Be brief." });
    let first = ana.chat(body).await.expect(200);
    let conversation = &first["conversationId"];
    let second = ask(&ana, conversation, "Two?").await;
    let path = format!("{}/context", path(conversation));
    let shown = ana.get(&path).await.expect(200);
    assert_eq!(shown["systemPrompt"], "Be brief.");
    assert_eq!(shown["messageId"], second["message"]["id"]);
    assert!(shown["summary"].is_null() && shown["model"].is_string());
    let texts = |shown: &Value| -> Vec<String> {
        let messages = shown["messages"].as_array().unwrap().iter();
        messages
            .map(|one| format!("{}: {}", id(&one["role"]), id(&one["text"])))
            .collect()
    };
    let expected = ["assistant: Yes.", "user: Two?", "assistant: Yes."];
    assert_eq!(texts(&shown), expected);
    let context = &shown["context"];
    assert_eq!(
        (&context["included"], &context["total"], &context["limit"]),
        (&json!(3), &json!(4), &json!(8_000))
    );
    // That is what goes along with the next question.
    ask(&ana, conversation, "Three?").await;
    let messages = provider.asked().pop().unwrap().messages();
    assert_eq!(messages[1..4], expected);

    let before = format!("{path}?messageId={}", id(&first["message"]["id"]));
    let shown = ana.get(&before).await.expect(200);
    assert_eq!(texts(&shown), ["user: One?", "assistant: Yes."]);
    let unknown = format!("{path}?messageId={}", uuid::Uuid::new_v4());
    assert_eq!(ana.get(&unknown).await.expect_bad_fields(), ["/messageId"]);
    let ben = app.user("ben").await;
    ben.get(&path).await.expect_problem(404, "not_found");
    let empty = ana.conversation("Plans").await;
    let path = format!("/api/v1/conversations/{empty}/context");
    let shown = ana.get(&path).await.expect(200);
    assert_eq!(shown["messages"], json!([]));
    assert_eq!(shown["context"]["total"], 0);
    app.finish().await;
}

#[tokio::test]
async fn a_context_that_cannot_be_put_together_fails_no_answer() {
    let provider = Provider::saying(&["Yes."]).await;
    let (app, ana) = app(&provider).await;
    let body = json!({ "message": "One?", "systemPrompt": "Be brief." });
    let first = ana.chat(body).await.expect(200);
    let conversation = &first["conversationId"];
    // Something of ours is broken, and nothing is cached.
    for statement in [
        "ALTER TABLE summaries RENAME TO elsewhere",
        "INSERT INTO context_stamps SELECT id, 7 FROM conversations",
    ] {
        sqlx::query(statement)
            .execute(app.database.pool())
            .await
            .unwrap();
    }
    let scan = ana
        .upload("scan.png", picture("english-scan.png"), &[])
        .await
        .expect(201);
    let scan = &scan["attachment"]["id"];
    let body =
        json!({ "conversationId": conversation, "message": "Two?", "attachmentIds": [scan] });
    let second = ana.chat(body).await.expect(200);
    assert_eq!(second["message"]["status"], "completed");
    let context = &second["context"];
    assert_eq!(context["estimated"], true, "{context}");
    assert!(context["tokens"].as_u64().unwrap() > 0);
    assert_eq!(context["missing"][0]["attachmentId"], *scan);
    let messages = provider.asked()[1].messages();
    assert_eq!(messages, ["system: Be brief.", "user: Two?"]);
    sqlx::query("ALTER TABLE elsewhere RENAME TO summaries")
        .execute(app.database.pool())
        .await
        .unwrap();
    let third = ask(&ana, conversation, "Three?").await;
    assert_eq!(third["context"]["estimated"], false);
    assert_eq!(third["context"]["included"], 5);
    app.forget_jobs().await;
    app.finish().await;
}

#[tokio::test]
async fn what_was_prepared_is_in_the_log_without_what_was_said() {
    let provider = Provider::saying(&["Yes."]).await;
    let (app, ana) = live(&provider).await;
    let more = [("OPENAI_API_KEYS", "sk-1"), ("CONTEXT_MAX_MESSAGES", "2")];
    let instance = Instance::start(&app, &provider, &more).await;
    let first = ana.chat(json!({ "message": "Hi" })).await.expect(200);
    let conversation = &first["conversationId"];
    // Of three messages two are sent.
    let answer = ask(&instance.of(&ana), conversation, "किताबें कहाँ हैं?").await;
    let context = &answer["context"];
    let line = instance.line("context prepared").await;
    let line: Value = serde_json::from_str(&line).expect("a line of JSON");
    assert_eq!(line["message"], "context prepared", "{line}");
    for (field, value) in [
        ("conversationId", conversation),
        ("messagesIncluded", &json!(2)),
        ("totalMessages", &json!(3)),
        ("totalTokens", &context["tokens"]),
    ] {
        assert_eq!(line[field], *value, "{field}: {line}");
    }
    assert_eq!(
        (&context["included"], &context["total"]),
        (&line["messagesIncluded"], &line["totalMessages"])
    );
    assert!(context["tokens"].as_u64().unwrap() > 0);
    assert_eq!(instance.count_of_lines("context prepared"), 1);
    assert!(!instance.has_logged("किताबें"));
    app.finish().await;
}

#[tokio::test]
async fn only_its_owner_sees_a_context_and_only_reads_it() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let conversation = ana.conversation("Plans").await;
    ana.say(&conversation, "Hi").await;
    let path = format!("/api/v1/conversations/{conversation}/context");
    app.anonymous()
        .get(&path)
        .await
        .expect_problem(401, "unauthenticated");
    let put = ana.request(Method::PUT, &path);
    assert_eq!(ana.send(put).await.status, 405);
    // Without any model, too.
    let shown = ana.get(&path).await.expect(200);
    assert!(shown["model"].is_null());
    assert_eq!(shown["messages"][0]["text"], "Hi");
    assert_eq!(
        ana.get(&format!("{path}?leaf=1")).await.expect_bad_fields(),
        ["/leaf"]
    );
    app.finish().await;
}
