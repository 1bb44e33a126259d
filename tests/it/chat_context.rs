//! What goes along with a question: instructions, and as much of the branch as there is room for.

use serde_json::json;
use tests::{Options, TestApp, fakes::provider::Provider};

use crate::chat::id;

#[tokio::test]
async fn a_branch_goes_along_and_instructions_first() {
    let provider = Provider::saying(&["Yes."]).await;
    let app = TestApp::with(Options {
        providers: provider.args("sk-1"),
        api: api::config::ApiArgs {
            default_system_prompt: Some("Be brief.".to_owned()),
            ..Default::default()
        },
        ..Options::default()
    })
    .await;
    let ana = app.user("ana").await;
    let first = ana.chat(json!({ "message": "One?" })).await.expect(200);
    let conversation = first["conversationId"].clone();
    ana.chat(json!({ "message": "Two?", "conversationId": conversation }))
        .await
        .expect(200);
    assert_eq!(
        provider.asked()[1].messages(),
        [
            "system: Be brief.",
            "user: One?",
            "assistant: Yes.",
            "user: Two?"
        ]
    );
    // Beside the second one.
    let parent = &first["message"]["id"];
    let body = json!({ "message": "Three?", "conversationId": conversation, "parentId": parent });
    ana.chat(body).await.expect(200);
    let messages = provider.asked()[2].messages();
    assert_eq!(messages[2..], ["assistant: Yes.", "user: Three?"]);

    let project = json!({ "name": "Thesis", "instructions": "Cite sources." });
    let project = ana.post_json("/api/v1/projects", project).await.expect(201);
    let body = json!({ "message": "Four?", "projectId": project["id"] });
    let in_project = ana.chat(body).await.expect(200);
    assert_eq!(provider.asked()[3].messages()[0], "system: Cite sources.");
    let body = json!({ "message": "Five?", "projectId": project["id"], "systemPrompt": "Rhyme." });
    let own = ana.chat(body).await.expect(200);
    assert_eq!(provider.asked()[4].messages()[0], "system: Rhyme.");
    let body = json!({ "message": "Six?", "conversationId": own["conversationId"] });
    ana.chat(body).await.expect(200);
    assert_eq!(provider.asked()[5].messages()[0], "system: Rhyme.");
    let filed = id(&in_project["conversationId"]);
    let filed = ana
        .get(&format!("/api/v1/conversations/{filed}"))
        .await
        .expect(200);
    assert_eq!(filed["projectId"], project["id"]);
    app.finish().await;
}

#[tokio::test]
async fn only_as_much_goes_along_as_there_is_room_for() {
    let provider = Provider::saying(&["Yes."]).await;
    let app = TestApp::with(Options {
        providers: provider.args("sk-1"),
        api: api::config::ApiArgs {
            context_max_tokens: Some("100".to_owned()),
            context_max_messages: Some("4".to_owned()),
            ..Default::default()
        },
        ..Options::default()
    })
    .await;
    let ana = app.user("ana").await;
    let first = ana.chat(json!({ "message": "first" })).await.expect(200);
    let conversation = first["conversationId"].clone();
    let ask = async |message: &str| {
        let body = json!({ "message": message, "conversationId": conversation });
        ana.chat(body).await.expect(200)
    };
    for message in ["second", "third"] {
        ask(message).await;
    }
    let answer = ask("fourth").await;
    let messages = provider.asked()[3].messages();
    assert_eq!(
        messages,
        [
            "assistant: Yes.",
            "user: third",
            "assistant: Yes.",
            "user: fourth"
        ]
    );
    assert_eq!(answer["context"]["included"], 4);
    // The question itself is never cut, however little room there is.
    let long = "word ".repeat(500);
    let answer = ask(&long).await;
    assert_eq!(provider.asked()[4].messages(), [format!("user: {long}")]);
    assert_eq!(answer["context"]["included"], 1);
    assert!(answer["context"]["tokens"].as_u64().unwrap() > 500);
    app.finish().await;
}
