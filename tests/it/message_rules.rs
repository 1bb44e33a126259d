//! What messages may hold, who may read them, and which may be edited.

use reqwest::Method;
use serde_json::{Value, json};
use tests::TestApp;

use crate::messages::{get_conversation, messages, path};

#[tokio::test]
async fn five_megabytes_are_stored_and_come_back_whole() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let id = ana.conversation("Plans").await;
    let mut text = "अ".repeat(5 * 1024 * 1024 / 3);
    let limit = 5 * 1024 * 1024;
    text.push_str(&"x".repeat(limit - text.len()));
    // As clients write it that escape everything.
    let units: Vec<String> = text
        .encode_utf16()
        .map(|unit| format!("{unit:04x}"))
        .collect();
    let escaped = format!("\\u{}", units.join("\\u"));
    let request = ana
        .request(Method::POST, &messages(&id))
        .header("content-type", "application/json")
        .body(format!("{{\"content\":\"{escaped}\"}}"));
    let said = ana.send(request).await.expect(201);
    assert_eq!(said["content"][0]["text"], text);
    for _ in 0..2 {
        ana.post_json(&messages(&id), json!({ "content": text }))
            .await
            .expect(201);
    }
    // A page holds what one answer can carry, and the next one the rest.
    let page = ana.get(&messages(&id)).await.expect(200);
    assert_eq!(page["data"].as_array().unwrap().len(), 1);
    let cursor = page["pagination"]["nextCursor"].as_str().unwrap();
    let rest = format!("{}?branch=current&cursor={cursor}", messages(&id));
    assert_eq!(
        ana.get(&rest).await.expect(200)["pagination"]["hasMore"],
        true
    );

    text.push('x');
    assert_eq!(
        ana.post_json(&messages(&id), json!({ "content": text }))
            .await
            .expect_bad_fields(),
        ["/content"]
    );
    let huge = json!({ "content": "x".repeat(4 * limit) });
    let refused = ana.post_json(&messages(&id), huge).await;
    refused.expect_problem(413, "payload_too_large");
    app.finish().await;
}

#[tokio::test]
async fn bad_messages_are_refused() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let id = ana.conversation("Plans").await;
    let many: Vec<Value> = (0..51)
        .map(|_| json!({ "type": "text", "text": "x" }))
        .collect();
    for (body, fields) in [
        (json!({}), vec!["/content"]),
        (json!({ "content": "" }), vec!["/content"]),
        (json!({ "content": " \n" }), vec!["/content"]),
        (json!({ "content": [] }), vec!["/content"]),
        (json!({ "content": 1 }), vec!["/content"]),
        (json!({ "content": many }), vec!["/content"]),
        (json!({ "content": "a\u{0}b" }), vec!["/content"]),
        (
            json!({ "content": [{ "type": "text", "text": "a\u{0}" }] }),
            vec!["/content/0/text"],
        ),
        (
            json!({ "content": [{ "type": "sound" }] }),
            vec!["/content/0"],
        ),
        (
            json!({ "content": [{ "type": "attachment" }] }),
            vec!["/content/0/attachmentId"],
        ),
        (
            json!({ "content": "x", "role": "assistant" }),
            vec!["/role"],
        ),
        (
            json!({ "content": "x", "role": "system", "clientId": "", "userId": 1 }),
            vec!["/clientId", "/role", "/userId"],
        ),
    ] {
        let reply = ana.post_json(&messages(&id), body.clone()).await;
        assert_eq!(reply.expect_bad_fields(), fields, "{body}");
    }
    assert_eq!(get_conversation(&ana, &id).await["messageCount"], 0);
    app.finish().await;
}

#[tokio::test]
async fn nobody_sees_anothers_message() {
    let app = TestApp::spawn().await;
    let (ana, ben, nobody) = (
        app.user("ana").await,
        app.user("ben").await,
        app.anonymous(),
    );
    let id = ana.conversation("Plans").await;
    let said = ana.say(&id, "a secret").await;
    let content = json!({ "content": "x" });
    for (actor, status, code) in [(&ben, 404, "not_found"), (&nobody, 401, "unauthenticated")] {
        for reply in [
            actor.get(&path(&said)).await,
            actor.get(&format!("{}/siblings", path(&said))).await,
            actor.get(&messages(&id)).await,
            actor.post_json(&messages(&id), content.clone()).await,
            actor
                .post_json(&format!("{}/edit", path(&said)), content.clone())
                .await,
            actor.delete(&path(&said)).await,
        ] {
            reply.expect_problem(status, code);
        }
    }
    assert_eq!(ana.get(&path(&said)).await.expect(200), said);
    app.finish().await;
}

#[tokio::test]
async fn what_a_model_said_is_not_edited() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let id = ana.conversation("Plans").await;
    let said = ana.say(&id, "an answer").await;
    sqlx::query("UPDATE messages SET role = 'assistant'")
        .execute(app.database.pool())
        .await
        .unwrap();
    ana.post_json(
        &format!("{}/edit", path(&said)),
        json!({ "content": "mine" }),
    )
    .await
    .expect_problem(409, "message_not_editable");
    app.finish().await;
}
