//! In which order messages and the summary get what room there is: `CONTEXT_KEEP_RECENT`.

use api::config::ApiArgs;
use serde_json::{Value, json};
use shared::{context::framed_summary, models::summary, tokens::Encoding};
use tests::{Options, TestApp, fakes::provider::Provider};

use crate::chat::id;

/// Tokens of each message and of the summary, as they are sent.
const EACH: usize = 70;
/// Less than what is worth to be sent of anything.
const SPARE: usize = 10;

/// Tokens of a message, as models of `OpenAI` count them.
fn tokens(role: &str, text: &str) -> usize {
    Encoding::O200k.count(role) + Encoding::O200k.count(text) + 4
}

/// A text with this beginning of which so many tokens are sent.
fn text(beginning: &str, sent: impl Fn(&str) -> usize) -> String {
    let mut texts = (0..EACH).map(|words| format!("{beginning}{}", " word".repeat(words)));
    let text = texts.find(|text| sent(text) == EACH);
    text.expect("each word is a token")
}

#[tokio::test]
async fn the_newest_three_go_before_the_summary_and_the_summary_before_the_fourth() {
    let provider = Provider::saying(&["Yes."]).await;
    let app = TestApp::with(Options {
        providers: provider.args("sk-1"),
        api: ApiArgs {
            context_keep_recent: Some("3".to_owned()),
            ..ApiArgs::default()
        },
        ..Options::default()
    })
    .await;
    let ana = app.user("ana").await;
    let conversation = ana.conversation("Sea").await;
    let said: Vec<String> = ["One", "Two", "Three", "Four", "Five"]
        .map(|number| text(number, |text| tokens("user", text)))
        .into();
    let mut rows: Vec<Value> = Vec::new();
    for text in &said {
        rows.push(ana.say(&conversation, text).await);
    }
    // It tells of the first two.
    let told = text("They talked.", |text| {
        tokens("system", &framed_summary(text))
    });
    let mut tx = app.begin().await;
    let row = summary::Model {
        conversation_id: conversation.parse().unwrap(),
        anchor_id: id(&rows[1]["id"]).parse().unwrap(),
        text: told.clone(),
        token_count: i32::try_from(EACH).unwrap(),
        message_count: 2,
        model: "gpt-4o-mini".to_owned(),
        made_at: app.clock.now(),
    };
    summary::keep(&mut tx, row).await.unwrap();
    tx.commit().await.unwrap();

    // The question is the first of the newest three.
    let question = "And now?";
    let newest = [3, 4].map(|place| format!("user: {}", said[place]));
    let summary = format!("system: {}", framed_summary(&told));
    let with_newest = tokens("user", question) + 2 * EACH + SPARE;
    for (limit, expected) in [
        (with_newest, newest.to_vec()),
        // The summary or the fourth newest, which are of one size.
        (
            with_newest + EACH,
            [vec![summary], newest.to_vec()].concat(),
        ),
    ] {
        let path = format!("/api/v1/conversations/{conversation}");
        let change = json!({ "contextMaxTokens": limit });
        ana.patch_json(&path, change).await.expect(200);
        let body = json!({ "message": question, "conversationId": conversation,
                           "parentId": rows[4]["id"], "model": "gpt-4o-mini" });
        let answer = ana.chat(body).await.expect(200);
        let mut messages = provider.asked().pop().unwrap().messages();
        assert_eq!(messages.pop().unwrap(), format!("user: {question}"));
        assert_eq!(messages, expected, "{limit}");
        let context = &answer["context"];
        assert_eq!(
            (&context["limit"], &context["tokens"]),
            (&json!(limit), &json!(limit - SPARE)),
            "{context}"
        );
        assert_eq!(
            (
                &context["summarized"],
                &context["included"],
                &context["total"]
            ),
            (&json!(expected.len() == 3), &json!(3), &json!(6)),
            "{context}"
        );
    }
    app.finish().await;
}
