//! Conversations.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use tests::{Actor, TestApp, actor::each, fakes::receiver::Receiver, picture};

const CONVERSATIONS: &str = "/api/v1/conversations";

fn path(id: &str) -> String {
    format!("{CONVERSATIONS}/{id}")
}

async fn titles(actor: &Actor, query: &str) -> Vec<String> {
    let list = actor.get(&format!("{CONVERSATIONS}{query}")).await;
    each(&list.expect(200), "title")
}

#[tokio::test]
async fn a_conversation_is_begun_and_read() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let body = json!({
        "title": "Plans", "systemPrompt": "Be brief.", "model": "llama-3.3-70b", "tags": ["work", "art", "work"],
        "pinned": true,
    });
    let made = ana.post_json(CONVERSATIONS, body).await;
    assert_eq!(made.headers["etag"], "\"1\"");
    let made = made.expect(201);
    assert_eq!(made["tags"], json!(["art", "work"]));
    assert_eq!(made["pinned"], true);
    assert_eq!(made["archived"], false);
    assert_eq!(made["lastMessageAt"], Value::Null);
    assert_eq!(
        (made["messageCount"].as_i64(), made["tokenCount"].as_i64()),
        (Some(0), Some(0))
    );
    let seen = ana
        .get(&path(made["id"].as_str().unwrap()))
        .await
        .expect(200);
    assert_eq!(seen, made);

    let empty = ana.post_json(CONVERSATIONS, json!({})).await.expect(201);
    assert_eq!(empty["title"], Value::Null);
    app.finish().await;
}

#[tokio::test]
async fn the_one_with_the_latest_message_comes_first() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let mut ids = Vec::new();
    for title in ["one", "two", "three"] {
        ids.push(ana.conversation(title).await);
        app.advance(Duration::from_secs(1)).await;
    }
    assert_eq!(titles(&ana, "").await, ["three", "two", "one"]);
    ana.say(&ids[0], "hello").await;
    assert_eq!(titles(&ana, "").await, ["one", "three", "two"]);

    let page = ana
        .get(&format!("{CONVERSATIONS}?limit=2"))
        .await
        .expect(200);
    assert_eq!(each(&page, "title"), ["one", "three"]);
    let cursor = page["pagination"]["nextCursor"].as_str().unwrap();
    assert_eq!(titles(&ana, &format!("?cursor={cursor}")).await, ["two"]);
    ana.get(&format!("{CONVERSATIONS}?cursor=x"))
        .await
        .expect_problem(400, "malformed_request");
    app.finish().await;
}

#[tokio::test]
async fn lists_are_filtered() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let project = ana
        .post_json("/api/v1/projects", json!({ "name": "Thesis" }))
        .await
        .expect(201)["id"]
        .clone();
    for (title, body) in [
        ("filed", json!({ "projectId": project })),
        ("pinned", json!({ "pinned": true })),
        ("archived", json!({ "archived": true })),
        ("tagged", json!({ "tags": ["सफ़र", "art"] })),
    ] {
        let id = ana.conversation(title).await;
        ana.patch_json(&path(&id), body).await.expect(200);
    }
    assert_eq!(titles(&ana, "").await, ["tagged", "pinned", "filed"]);
    assert_eq!(
        titles(&ana, "?archived=all").await,
        ["tagged", "archived", "pinned", "filed"]
    );
    assert_eq!(titles(&ana, "?archived=true").await, ["archived"]);
    assert_eq!(titles(&ana, "?pinned=true").await, ["pinned"]);
    assert_eq!(titles(&ana, "?pinned=false").await, ["tagged", "filed"]);
    assert_eq!(titles(&ana, "?tag=सफ़र").await, ["tagged"]);
    let filed = format!("?projectId={}", project.as_str().unwrap());
    assert_eq!(titles(&ana, &filed).await, ["filed"]);
    let bad = format!("{CONVERSATIONS}?archived=maybe&pinned=1&projectId=x&limit=0&sort=up");
    assert_eq!(
        ana.get(&bad).await.expect_bad_fields(),
        ["/archived", "/limit", "/pinned", "/projectId", "/sort"]
    );
    app.finish().await;
}

#[tokio::test]
async fn a_conversation_is_renamed_moved_and_set() {
    let app = TestApp::spawn().await;
    let (ana, ben) = (app.user("ana").await, app.user("ben").await);
    let id = ana.conversation("Plans").await;
    let change =
        json!({ "title": "Trips", "systemPrompt": "Be brief.", "tags": ["art"], "pinned": true });
    let changed = ana.patch_json(&path(&id), change).await.expect(200);
    assert_eq!(changed["title"], "Trips");
    assert_eq!(changed["version"], 2);
    let cleared = json!({ "title": null, "systemPrompt": null, "pinned": false });
    let cleared = ana.patch_json(&path(&id), cleared).await.expect(200);
    assert_eq!(
        (&cleared["title"], &cleared["pinnedAt"]),
        (&Value::Null, &Value::Null)
    );
    assert_eq!(cleared["tags"], json!(["art"]));

    let foreign = ben
        .post_json("/api/v1/projects", json!({ "name": "Ben's" }))
        .await
        .expect(201);
    let moved = json!({ "projectId": foreign["id"] });
    assert_eq!(
        ana.patch_json(&path(&id), moved.clone())
            .await
            .expect_bad_fields(),
        ["/projectId"]
    );
    assert_eq!(
        ana.post_json(CONVERSATIONS, moved)
            .await
            .expect_bad_fields(),
        ["/projectId"]
    );
    let stale = ana
        .request(Method::PATCH, &path(&id))
        .header("if-match", "\"2\"");
    ana.send(stale.json(&json!({ "title": "Late" })))
        .await
        .expect_problem(412, "precondition_failed");
    let bad =
        json!({ "title": "", "tags": ["", "a\u{7}"], "pinned": "yes", "lastMessageId": null });
    assert_eq!(
        ana.patch_json(&path(&id), bad).await.expect_bad_fields(),
        ["/lastMessageId", "/pinned", "/tags/0", "/tags/1", "/title"]
    );
    assert_eq!(
        ana.patch_json(&path(&id), json!({}))
            .await
            .expect_bad_fields(),
        [""]
    );
    app.finish().await;
}

#[tokio::test]
async fn null_is_taken_only_by_what_may_be_missing() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let id = ana.conversation("Plans").await;
    let nulls = json!({
        "title": null, "tags": null, "pinned": null, "archived": null, "currentMessageId": null,
    });
    assert_eq!(
        ana.patch_json(&path(&id), nulls).await.expect_bad_fields(),
        ["/archived", "/currentMessageId", "/pinned", "/tags"]
    );
    app.finish().await;
}

#[tokio::test]
async fn an_archived_conversation_is_only_read() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let id = ana.conversation("Plans").await;
    let said = ana.say(&id, "hello").await;
    let first = ana
        .post(&format!("{}/archive", path(&id)))
        .await
        .expect(200);
    assert_eq!(first["archived"], true);
    app.advance(Duration::from_mins(1)).await;
    let again = ana
        .post(&format!("{}/archive", path(&id)))
        .await
        .expect(200);
    assert_eq!(again, first, "repeating it changes nothing");

    let messages = format!("{}/messages", path(&id));
    ana.post_json(&messages, json!({ "content": "more" }))
        .await
        .expect_problem(409, "conversation_archived");
    let message = format!("/api/v1/messages/{}", said["id"].as_str().unwrap());
    ana.delete(&message)
        .await
        .expect_problem(409, "conversation_archived");
    ana.upload("a.png", picture("hindi.png"), &[("conversationId", &id)])
        .await
        .expect_problem(409, "conversation_archived");
    assert_eq!(
        ana.get(&messages).await.expect(200)["data"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    let back = ana
        .post(&format!("{}/unarchive", path(&id)))
        .await
        .expect(200);
    assert_eq!(back["archivedAt"], Value::Null);
    ana.say(&id, "more").await;
    app.finish().await;
}

#[tokio::test]
async fn a_deleted_conversation_goes_with_everything_under_it() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let (id, other) = (
        ana.conversation("Plans").await,
        ana.conversation("Others").await,
    );
    let upload = ana
        .upload("scan.png", picture("hindi.png"), &[])
        .await
        .expect(201);
    let attachment = upload["attachment"]["id"].as_str().unwrap().to_owned();
    let content = json!([{ "type": "attachment", "attachmentId": attachment }]);
    ana.post_json(
        &format!("{}/messages", path(&id)),
        json!({ "content": content }),
    )
    .await
    .expect(201);
    let said = ana.say(&id, "hello").await;
    ana.say(&other, "hello there").await;

    ana.delete(&path(&id)).await.expect(204);
    ana.get(&path(&id)).await.expect_problem(404, "not_found");
    ana.delete(&path(&id))
        .await
        .expect_problem(404, "not_found");
    let message = format!("/api/v1/messages/{}", said["id"].as_str().unwrap());
    ana.get(&message).await.expect_problem(404, "not_found");
    let messages = format!("{}/messages", path(&id));
    ana.get(&messages).await.expect_problem(404, "not_found");
    assert_eq!(titles(&ana, "?archived=all").await, ["Others"]);
    let found = ana.get("/api/v1/search?q=hello").await.expect(200);
    assert_eq!(each(&found, "conversationTitle"), ["Others"]);

    app.run_jobs().await;
    let left: (i64, i64) = sqlx::query_as(
        "SELECT (SELECT count(*) FROM conversations), (SELECT count(*) FROM messages)",
    )
    .fetch_one(app.database.pool())
    .await
    .unwrap();
    assert_eq!(left, (1, 1));
    app.finish().await;
}

#[tokio::test]
async fn the_removal_of_a_conversation_is_nobodys_to_cancel_and_asked_for_again() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let id = ana.conversation("Plans").await;
    ana.delete(&path(&id)).await.expect(204);
    let jobs = ana.get("/api/v1/jobs").await.expect(200);
    assert_eq!(jobs["data"], json!([]));
    let purges = async || -> i64 {
        sqlx::query_scalar("SELECT count(*) FROM jobs WHERE state = 'queued'")
            .fetch_one(app.database.pool())
            .await
            .unwrap()
    };
    let tidy = || worker::housekeeping::tidy(&app.context);
    app.advance(Duration::from_hours(2)).await;
    tidy().await.unwrap();
    assert_eq!(purges().await, 1, "it is asked for already");
    // As if three workers had died on it.
    sqlx::query("UPDATE jobs SET state = 'quarantined', finished_at = job_now()")
        .execute(app.database.pool())
        .await
        .unwrap();
    tidy().await.unwrap();
    assert_eq!(purges().await, 1);
    app.run_jobs().await;
    let left: i64 = sqlx::query_scalar("SELECT count(*) FROM conversations")
        .fetch_one(app.database.pool())
        .await
        .unwrap();
    assert_eq!(left, 0);
    app.expect_failed(1);
    app.finish().await;
}

#[tokio::test]
async fn nobody_sees_anothers_conversation() {
    let app = TestApp::spawn().await;
    let (ana, ben, nobody) = (
        app.user("ana").await,
        app.user("ben").await,
        app.anonymous(),
    );
    let id = ana.conversation("Plans").await;
    let change = json!({ "title": "Mine" });
    for (actor, status, code) in [(&ben, 404, "not_found"), (&nobody, 401, "unauthenticated")] {
        for reply in [
            actor.get(&path(&id)).await,
            actor.patch_json(&path(&id), change.clone()).await,
            actor.delete(&path(&id)).await,
            actor.post(&format!("{}/archive", path(&id))).await,
            actor.post(&format!("{}/unarchive", path(&id))).await,
        ] {
            reply.expect_problem(status, code);
        }
    }
    nobody
        .get(CONVERSATIONS)
        .await
        .expect_problem(401, "unauthenticated");
    nobody
        .post_json(CONVERSATIONS, change)
        .await
        .expect_problem(401, "unauthenticated");
    assert!(titles(&ben, "").await.is_empty());
    app.finish().await;
}

#[tokio::test]
async fn webhooks_hear_of_conversations_and_messages() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let receiver = Receiver::start().await;
    let events = [
        "conversation.created",
        "conversation.updated",
        "conversation.archived",
        "conversation.deleted",
        "message.created",
    ];
    let body = json!({ "url": receiver.url(), "events": events });
    ana.post_json("/api/v1/webhooks", body).await.expect(201);

    let id = ana.conversation("Plans").await;
    ana.say(&id, "नमस्ते").await;
    ana.patch_json(&path(&id), json!({ "title": "Plans" }))
        .await
        .expect(200);
    ana.patch_json(&path(&id), json!({ "title": "Trips" }))
        .await
        .expect(200);
    ana.post(&format!("{}/archive", path(&id)))
        .await
        .expect(200);
    app.run_jobs().await;
    ana.delete(&path(&id)).await.expect(204);
    app.run_jobs().await;

    let mut heard: Vec<Value> = receiver.bodies().await;
    heard.sort_by_key(|body| body["type"].as_str().unwrap().to_owned());
    let kinds: Vec<&str> = heard
        .iter()
        .map(|body| body["type"].as_str().unwrap())
        .collect();
    assert_eq!(
        kinds,
        [
            "conversation.archived",
            "conversation.created",
            "conversation.deleted",
            "conversation.updated",
            "message.created"
        ],
        "a change that changes nothing is not told"
    );
    assert_eq!(heard[3]["data"]["title"], "Trips");
    assert_eq!(heard[4]["data"]["text"], "नमस्ते");
    assert_eq!(heard[4]["data"]["conversationId"], id.as_str());
    app.finish().await;
}
