//! What tools were asked, and what they said, in exports.

use serde_json::{Value, json};
use tests::fakes::provider::Provider;

use crate::{
    chat::id,
    chat_tools::{app, messages, once, sunny},
    export_pages,
    exports::make,
};

#[tokio::test]
async fn calls_and_results_are_exported_as_what_they_are() {
    let (provider, services) = (Provider::start(once).await, sunny().await);
    let (app, ana) = app(&provider, &services).await;
    let body = json!({ "message": "How is Lahore?", "tools": "auto" });
    let answer = ana.chat(body).await.expect(200);
    let conversation = id(&answer["conversationId"]);
    let rows = messages(&ana, &answer["conversationId"]).await;
    let export = async |format: &str| {
        let (_, content) = make(&app, &ana, conversation, json!({ "format": format })).await;
        content
    };

    let document: Value = serde_json::from_slice(&export("json").await).unwrap();
    let exported = document["messages"].as_array().unwrap();
    assert_eq!(exported.len(), rows.len());
    for (one, row) in exported.iter().zip(&rows) {
        for field in ["id", "parentId", "role", "content"] {
            assert_eq!(one[field], row[field], "{field}");
        }
    }
    assert_eq!(exported[1]["content"][0]["type"], "toolCall");
    assert_eq!(exported[2]["content"][0]["status"], "completed");

    let table = String::from_utf8(export("csv").await).unwrap();
    for cell in [
        r#","Call of weather: {""location"":""Lahore""}","#,
        "Result of weather (completed): ",
    ] {
        assert!(table.contains(cell), "{table}");
    }
    let text = String::from_utf8(export("markdown").await).unwrap();
    for words in [
        "Call of weather:\n\n```\n{\"location\":\"Lahore\"}\n```",
        "Result of weather (completed):\n\n```\n",
    ] {
        assert!(text.contains(words), "{text}");
    }
    let html = String::from_utf8(export("html").await).unwrap();
    let pdf = export_pages::text(&export("pdf").await).await;
    for shown in [html, pdf] {
        for words in ["Call of weather:", "Result of weather (completed):"] {
            assert!(shown.contains(words), "{shown}");
        }
    }
    app.finish().await;
}
