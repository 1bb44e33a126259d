//! Messages of a conversation.

use chrono::{DateTime, Utc};
use reqwest::Method;
use serde_json::{Value, json};
use tests::{Actor, TestApp, actor::each, picture};

/// Where messages of a conversation are.
pub(crate) fn messages(conversation: &str) -> String {
    format!("/api/v1/conversations/{conversation}/messages")
}

/// Where a message is.
pub(crate) fn path(message: &Value) -> String {
    format!("/api/v1/messages/{}", message["id"].as_str().unwrap())
}

/// The conversation as its owner sees it.
pub(crate) async fn get_conversation(actor: &Actor, id: &str) -> Value {
    actor
        .get(&format!("/api/v1/conversations/{id}"))
        .await
        .expect(200)
}

/// The first texts of a list, in its order.
fn texts(list: &Value) -> Vec<String> {
    let rows = list["data"].as_array().unwrap();
    rows.iter()
        .map(|row| row["content"][0]["text"].as_str().unwrap_or("-").to_owned())
        .collect()
}

#[tokio::test]
async fn a_message_and_what_its_conversation_tells_of_it_are_one() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let id = ana.conversation("Plans").await;
    let said = ana.say(&id, "hello world").await;
    assert_eq!(said["role"], "user");
    assert_eq!(
        said["content"],
        json!([{ "type": "text", "text": "hello world" }])
    );
    assert_eq!(said["tokenCount"], 7, "2 words, the role, and 4");
    assert_eq!(said["parentId"], Value::Null);
    let next = ana.say(&id, "and on").await;
    assert_eq!(next["parentId"], said["id"]);

    let talk = get_conversation(&ana, &id).await;
    assert_eq!(talk["lastMessageId"], next["id"]);
    assert_eq!(talk["currentMessageId"], next["id"]);
    assert_eq!(talk["lastMessageAt"], next["createdAt"]);
    assert_eq!(talk["messageCount"], 2);
    assert_eq!(talk["tokenCount"], 7 + next["tokenCount"].as_i64().unwrap());
    let at = |message: &Value| -> DateTime<Utc> {
        message["createdAt"].as_str().unwrap().parse().unwrap()
    };
    assert!(at(&said) < at(&next), "though the clock stands");
    assert_eq!(ana.get(&path(&said)).await.expect(200), said);
    app.finish().await;
}

#[tokio::test]
async fn messages_are_listed_newest_first() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let id = ana.conversation("Plans").await;
    for number in 0..60 {
        ana.say(&id, &number.to_string()).await;
    }
    let page = ana.get(&messages(&id)).await.expect(200);
    assert_eq!(page["data"].as_array().unwrap().len(), 50);
    assert_eq!(texts(&page)[..2], ["59", "58"]);
    let cursor = page["pagination"]["nextCursor"].as_str().unwrap();
    for branch in ["all", "current"] {
        let rest = format!("{}?cursor={cursor}&branch={branch}", messages(&id));
        let rest = ana.get(&rest).await.expect(200);
        assert_eq!(
            texts(&rest),
            ["9", "8", "7", "6", "5", "4", "3", "2", "1", "0"]
        );
        assert_eq!(
            rest["pagination"],
            json!({ "nextCursor": null, "hasMore": false })
        );
    }
    let bad = format!("{}?branch=other&limit=101", messages(&id));
    assert_eq!(
        ana.get(&bad).await.expect_bad_fields(),
        ["/branch", "/limit"]
    );
    ana.get(&format!("{}?cursor=!", messages(&id)))
        .await
        .expect_problem(400, "malformed_request");
    app.finish().await;
}

#[tokio::test]
async fn an_edited_message_is_a_sibling_and_the_branch_follows() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let id = ana.conversation("Plans").await;
    let first = ana.say(&id, "first").await;
    let second = ana.say(&id, "second").await;
    let third = ana.say(&id, "third").await;
    let edit = format!("{}/edit", path(&second));
    let edited = ana
        .post_json(&edit, json!({ "content": "second, better" }))
        .await
        .expect(201);
    assert_eq!(edited["parentId"], first["id"]);
    assert_eq!(
        ana.get(&path(&second)).await.expect(200),
        second,
        "the old one stays"
    );

    let current = format!("{}?branch=current", messages(&id));
    let shown = ana.get(&current).await.expect(200);
    assert_eq!(texts(&shown), ["second, better", "first"]);
    assert_eq!(
        (
            &shown["data"][0]["siblingIndex"],
            &shown["data"][0]["siblingCount"]
        ),
        (&json!(1), &json!(2))
    );
    assert_eq!(
        (
            &shown["data"][1]["siblingIndex"],
            &shown["data"][1]["siblingCount"]
        ),
        (&json!(0), &json!(1))
    );
    let all = ana.get(&messages(&id)).await.expect(200);
    assert_eq!(texts(&all), ["second, better", "third", "second", "first"]);
    let siblings = ana
        .get(&format!("{}/siblings", path(&edited)))
        .await
        .expect(200);
    assert_eq!(
        each(&siblings, "id"),
        [
            edited["id"].as_str().unwrap(),
            second["id"].as_str().unwrap()
        ]
    );

    // Back to the old branch: it goes on to its newest message.
    let talk = format!("/api/v1/conversations/{id}");
    let back = ana
        .patch_json(&talk, json!({ "currentMessageId": second["id"] }))
        .await
        .expect(200);
    assert_eq!(back["currentMessageId"], third["id"]);
    assert_eq!(
        texts(&ana.get(&current).await.expect(200)),
        ["third", "second", "first"]
    );
    let fourth = ana.say(&id, "fourth").await;
    assert_eq!(fourth["parentId"], third["id"]);
    app.finish().await;
}

#[tokio::test]
async fn a_message_follows_the_one_that_it_names() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let (id, other) = (
        ana.conversation("Plans").await,
        ana.conversation("Others").await,
    );
    let first = ana.say(&id, "first").await;
    ana.say(&id, "second").await;
    let branch = json!({ "content": "also second", "parentId": first["id"], "role": "user" });
    let branch = ana.post_json(&messages(&id), branch).await.expect(201);
    assert_eq!(branch["parentId"], first["id"]);
    let root = json!({ "content": "from the start", "parentId": null });
    let root = ana.post_json(&messages(&id), root).await.expect(201);
    assert_eq!(root["parentId"], Value::Null);
    let siblings = ana
        .get(&format!("{}/siblings?limit=1", path(&root)))
        .await
        .expect(200);
    assert_eq!(texts(&siblings), ["from the start"]);
    assert_eq!(siblings["pagination"]["hasMore"], true);

    let foreign = ana.say(&other, "elsewhere").await;
    for bad in [
        foreign["id"].clone(),
        json!("x"),
        json!("00000000-0000-7000-8000-000000000000"),
    ] {
        let body = json!({ "content": "lost", "parentId": bad });
        assert_eq!(
            ana.post_json(&messages(&id), body)
                .await
                .expect_bad_fields(),
            ["/parentId"]
        );
        let talk = format!("/api/v1/conversations/{id}");
        assert_eq!(
            ana.patch_json(&talk, json!({ "currentMessageId": bad }))
                .await
                .expect_bad_fields(),
            ["/currentMessageId"]
        );
    }
    app.finish().await;
}

#[tokio::test]
async fn a_message_sent_again_under_its_client_id_is_written_once() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let id = ana.conversation("Plans").await;
    let body = json!({ "content": "hello", "clientId": "c-1" });
    let send = async || ana.post_json(&messages(&id), body.clone()).await;
    // Both at once: one writes, the other finds it.
    let (one, two) = tokio::join!(send(), send());
    let mut statuses = [one.status.as_u16(), two.status.as_u16()];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 201]);
    let (one, two): (Value, Value) = (
        serde_json::from_str(&one.text).unwrap(),
        serde_json::from_str(&two.text).unwrap(),
    );
    assert_eq!(one, two);
    assert_eq!(get_conversation(&ana, &id).await["messageCount"], 1);

    let other = json!({ "content": "another", "clientId": "c-1" });
    ana.post_json(&messages(&id), other.clone())
        .await
        .expect_problem(409, "client_id_reused");
    let elsewhere = ana.conversation("Others").await;
    ana.post_json(&messages(&elsewhere), other)
        .await
        .expect(201);
    app.finish().await;
}

#[tokio::test]
async fn attachments_are_shown_in_one_conversation_of_their_user() {
    let app = TestApp::spawn().await;
    let (ana, ben) = (app.user("ana").await, app.user("ben").await);
    let (id, other) = (
        ana.conversation("Plans").await,
        ana.conversation("Others").await,
    );
    let upload = async |actor: &Actor| {
        let upload = actor
            .upload("a.png", picture("hindi.png"), &[])
            .await
            .expect(201);
        upload["attachment"]["id"].as_str().unwrap().to_owned()
    };
    let (anas, bens) = (upload(&ana).await, upload(&ben).await);
    let show = |attachment: &str| {
        json!({ "content": [
            { "type": "text", "text": "What does it say?" },
            { "type": "attachment", "attachmentId": attachment },
        ] })
    };
    let said = ana.post_json(&messages(&id), show(&anas)).await.expect(201);
    assert_eq!(said["content"][1]["attachmentId"], anas);
    let attachment = ana
        .get(&format!("/api/v1/attachments/{anas}"))
        .await
        .expect(200);
    assert_eq!(attachment["conversationId"], id.as_str());
    assert_eq!(attachment["messageId"], said["id"]);

    let edit = ana
        .post_json(&format!("{}/edit", path(&said)), show(&anas))
        .await;
    edit.expect(201);
    for (conversation, attachment) in [(&other, anas.as_str()), (&id, bens.as_str()), (&id, "x")] {
        let refused = ana
            .post_json(&messages(conversation), show(attachment))
            .await;
        assert_eq!(refused.expect_bad_fields(), ["/content/1/attachmentId"]);
    }
    app.run_jobs().await;
    app.finish().await;
}

#[tokio::test]
async fn a_deleted_message_leaves_its_place_while_others_hang_on_it() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let id = ana.conversation("Plans").await;
    let (first, second) = (ana.say(&id, "first").await, ana.say(&id, "second").await);
    let third = ana.say(&id, "third").await;
    let stale = ana
        .request(Method::DELETE, &path(&second))
        .header("if-match", "\"9\"");
    ana.send(stale)
        .await
        .expect_problem(412, "precondition_failed");
    ana.delete(&path(&second)).await.expect(204);
    ana.delete(&path(&second))
        .await
        .expect_problem(404, "not_found");
    ana.get(&path(&second))
        .await
        .expect_problem(404, "not_found");

    let all = ana.get(&messages(&id)).await.expect(200);
    assert_eq!(texts(&all), ["third", "-", "first"]);
    assert_eq!(all["data"][1]["content"], json!([]));
    assert!(all["data"][1]["deletedAt"].is_string());
    let current = ana
        .get(&format!("{}?branch=current", messages(&id)))
        .await
        .expect(200);
    assert_eq!(texts(&current), ["third", "first"]);
    let shown = json!({ "currentMessageId": first["id"] });
    let shown = ana
        .patch_json(&format!("/api/v1/conversations/{id}"), shown)
        .await;
    assert_eq!(shown.expect(200)["currentMessageId"], third["id"]);
    let talk = get_conversation(&ana, &id).await;
    assert_eq!(talk["messageCount"], 2);
    assert_eq!(
        talk["tokenCount"].as_i64().unwrap(),
        first["tokenCount"].as_i64().unwrap() + third["tokenCount"].as_i64().unwrap()
    );

    ana.delete(&path(&third)).await.expect(204);
    let all = ana.get(&messages(&id)).await.expect(200);
    assert_eq!(
        texts(&all),
        ["first"],
        "nothing hangs on the others any more"
    );
    let talk = get_conversation(&ana, &id).await;
    assert_eq!(talk["lastMessageId"], first["id"]);
    assert_eq!(talk["lastMessageAt"], first["createdAt"]);
    let next = ana.say(&id, "again").await;
    assert_eq!(next["parentId"], first["id"]);
    app.finish().await;
}
