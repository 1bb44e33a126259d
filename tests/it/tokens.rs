//! Counting tokens: for whoever asks, and of what is stored.

use std::fmt::Write as _;

use serde_json::{Value, json};
use shared::{config::ProviderArgs, tokens::Encoding};
use tests::{Options, TestApp, fakes::provider::Provider};

use crate::{
    chat::{app, id},
    messages::get_conversation,
};

const COUNT: &str = "/api/v1/tokens/count";
pub(crate) const HINDI: &str = "नमस्ते दुनिया, यह हिन्दी का एक वाक्य है।";

#[tokio::test]
async fn texts_and_messages_are_counted_exactly_for_models_of_openai() {
    let provider = Provider::saying(&["Yes."]).await;
    let (app, ana) = app(&provider).await;
    let body = json!({ "model": "gpt-4o-mini", "text": "hello world" });
    assert_eq!(
        ana.post_json(COUNT, body).await.expect(200),
        json!({ "model": "gpt-4o-mini", "tokens": 2, "encoding": "o200k_base", "exact": true, "factor": 1.0 })
    );
    let messages = json!([
        { "role": "system", "content": "hello world" },
        { "role": "user", "content": "" },
        { "role": "tool", "content": "hello world" },
    ]);
    let body = json!({ "model": "gpt-4o-mini", "messages": messages });
    let counted = ana.post_json(COUNT, body).await.expect(200);
    // Of each: its text, its role, and 4.
    assert_eq!(counted["tokens"], 7 + 5 + 7);
    // For no model in particular.
    let counted = ana
        .post_json(COUNT, json!({ "text": HINDI }))
        .await
        .expect(200);
    assert_eq!(
        (&counted["model"], &counted["exact"], &counted["tokens"]),
        (
            &Value::Null,
            &json!(false),
            &json!(Encoding::O200k.count(HINDI))
        )
    );
    // Nobody was asked.
    assert!(provider.asked().is_empty());
    app.finish().await;
}

#[tokio::test]
async fn an_older_model_is_counted_in_its_own_encoding() {
    let provider = Provider::saying(&["Yes."]).await;
    let file = tempfile::NamedTempFile::new().unwrap();
    let table = r#"{ "version": "1", "models": [
        { "id": "old", "name": "Old", "contextTokens": 8192, "maxOutputTokens": 4096,
          "routes": [{ "provider": "openai", "model": "gpt-4" }] }] }"#;
    std::fs::write(file.path(), table).unwrap();
    let app = TestApp::with(Options {
        providers: ProviderArgs {
            models_file: Some(file.path().display().to_string()),
            ..provider.args("sk-1")
        },
        ..Options::default()
    })
    .await;
    let ana = app.user("ana").await;
    let body = json!({ "model": "old", "text": HINDI });
    let counted = ana.post_json(COUNT, body).await.expect(200);
    assert_eq!(
        (&counted["encoding"], &counted["exact"]),
        (&json!("cl100k_base"), &json!(true))
    );
    assert_eq!(counted["tokens"], Encoding::Cl100k.count(HINDI));
    app.finish().await;
}

#[tokio::test]
async fn what_cannot_be_counted_gets_a_clear_answer() {
    let provider = Provider::saying(&["Yes."]).await;
    let (app, ana) = app(&provider).await;
    let near = ana
        .post_json(COUNT, json!({ "model": "gpt-4o-mni", "text": "hello" }))
        .await
        .expect_problem(404, "model_not_found");
    assert!(
        near["detail"].as_str().unwrap().contains("gpt-4o-mini"),
        "{near}"
    );
    let messages = json!([{ "role": "user", "content": "hello" }]);
    for body in [
        json!({}),
        json!({ "text": null, "messages": null }),
        json!({ "text": "hello", "messages": messages }),
    ] {
        let reply = ana.post_json(COUNT, body).await;
        assert_eq!(reply.expect_bad_fields(), [""]);
    }
    let body = json!({ "model": "", "messages": [{ "role": "nobody" }, { "content": 1, "role": "user" }], "more": 1 });
    assert_eq!(
        ana.post_json(COUNT, body).await.expect_bad_fields(),
        [
            "/messages/0/content",
            "/messages/0/role",
            "/messages/1/content",
            "/model",
            "/more"
        ]
    );
    let many = vec![json!({ "role": "user", "content": "" }); 10_001];
    let reply = ana.post_json(COUNT, json!({ "messages": many })).await;
    assert_eq!(reply.expect_bad_fields(), ["/messages"]);
    let reply = ana.post_json(COUNT, json!({ "text": "a\0b" })).await;
    assert_eq!(reply.expect_bad_fields(), ["/text"]);
    let nobody = app.anonymous();
    nobody
        .post_json(COUNT, json!({ "text": "hello" }))
        .await
        .expect_problem(401, "unauthenticated");
    app.finish().await;
}

#[tokio::test]
async fn five_megabytes_are_counted_and_more_refused() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let longest = 5 << 20;
    let counted = ana
        .post_json(COUNT, json!({ "text": " ".repeat(longest) }))
        .await
        .expect(200);
    assert!(counted["tokens"].as_u64().unwrap() > 10_000, "{counted}");
    // As clients write it that escape everything.
    let mut escaped = String::new();
    for unit in HINDI.encode_utf16() {
        _ = write!(escaped, "\\u{unit:04x}");
    }
    let escaped = escaped.repeat(longest / HINDI.len());
    let request = ana
        .request(reqwest::Method::POST, COUNT)
        .header("content-type", "application/json")
        .body(format!(r#"{{ "text": "{escaped}" }}"#));
    let counted = ana.send(request).await.expect(200);
    assert!(counted["tokens"].as_u64().unwrap() > 100_000, "{counted}");
    let half = "a".repeat(longest / 2);
    let messages = json!([
        { "role": "user", "content": half },
        { "role": "user", "content": half },
        { "role": "user", "content": "a" },
    ]);
    ana.post_json(COUNT, json!({ "messages": messages }))
        .await
        .expect_problem(413, "payload_too_large");
    app.finish().await;
}

#[tokio::test]
async fn what_is_stored_is_counted_in_the_encoding_of_the_deployment() {
    let provider = Provider::saying(&[HINDI]).await;
    let app = TestApp::with(Options {
        providers: provider.args("sk-1"),
        token_fallback_encoding: Some("cl100k_base".to_owned()),
        ..Options::default()
    })
    .await;
    let ana = app.user("ana").await;
    let expected = Encoding::Cl100k.count(HINDI) + 5;
    assert!(expected > 2 * Encoding::O200k.count(HINDI));
    let answer = ana.chat(json!({ "message": HINDI })).await.expect(200);
    assert_eq!(answer["message"]["tokenCount"], expected);
    let talk = get_conversation(&ana, id(&answer["conversationId"])).await;
    assert_eq!(talk["tokenCount"], 2 * expected);
    assert_eq!(answer["context"]["tokens"], expected);
    let said = ana.say(id(&answer["conversationId"]), HINDI).await;
    assert_eq!(said["tokenCount"], expected);
    let talk = get_conversation(&ana, id(&answer["conversationId"])).await;
    assert_eq!(talk["tokenCount"], 3 * expected);
    let counted = ana
        .post_json(COUNT, json!({ "text": HINDI }))
        .await
        .expect(200);
    assert_eq!(counted["encoding"], "cl100k_base");
    app.finish().await;
}
