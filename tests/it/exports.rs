//! Exports: asking for them, getting them, and how they go.

use std::time::Duration;

use serde_json::{Value, json};
use tests::{Actor, TestApp, actor::each, fakes::receiver::Receiver};

use crate::{deletions::objects, downloads::path_of};

pub(crate) const EXPORTS: &str = "/api/v1/exports";

pub(crate) fn path(created: &Value) -> String {
    format!("{EXPORTS}/{}", created["export"]["id"].as_str().unwrap())
}

/// Asks for an export.
pub(crate) async fn ask(user: &Actor, conversation: &str, body: Value) -> Value {
    let path = format!("/api/v1/conversations/{conversation}/exports");
    user.post_json(&path, body).await.expect(202)
}

/// Asks for an export, lets it be made, and gives it with its content.
pub(crate) async fn make(
    app: &TestApp,
    user: &Actor,
    conversation: &str,
    body: Value,
) -> (Value, Vec<u8>) {
    let created = ask(user, conversation, body).await;
    app.run_jobs().await;
    let export = user.get(&path(&created)).await.expect(200);
    assert_eq!(export["status"], "succeeded", "{export}");
    let content = download(app, &export).await;
    assert_eq!(export["sizeBytes"], content.len());
    let sha256 = hex::encode(shared::keyring::sha256(&content));
    assert_eq!(export["sha256"], sha256);
    (export, content)
}

async fn download(app: &TestApp, export: &Value) -> Vec<u8> {
    let url = format!("{}{}", app.base, path_of(&export["url"]));
    let reply = app.anonymous().http.get(url).send().await.unwrap();
    assert_eq!(reply.status(), 200);
    assert_eq!(
        reply.headers()["content-type"],
        *export["mediaType"].as_str().unwrap()
    );
    reply.bytes().await.unwrap().to_vec()
}

/// Lets so many messages be said in the only conversation there is, one each minute.
pub(crate) async fn say_many(app: &TestApp, messages: i32) {
    sqlx::query(
        "INSERT INTO messages (id, conversation_id, user_id, role, content, size_bytes, token_count, is_gone, version,
                               created_at)
         SELECT gen_random_uuid(), c.id, c.user_id, CASE m % 2 WHEN 0 THEN 'assistant' ELSE 'user' END,
                jsonb_build_array(jsonb_build_object('type', 'text', 'text', 'message ' || m)), 12, 5, false, 1,
                timestamptz '2026-01-01 00:00:00Z' + m * interval '1 minute'
           FROM generate_series(1, $1) m, conversations c",
    )
    .bind(messages)
    .execute(app.database.pool())
    .await
    .unwrap();
}

#[tokio::test]
async fn an_export_is_asked_for_made_and_downloaded() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let conversation = ana.conversation("Plans: summer?").await;
    ana.say(&conversation, "hello").await;
    let created = ask(&ana, &conversation, json!({ "format": "markdown" })).await;
    let export = &created["export"];
    assert_eq!(export["status"], "processing");
    assert_eq!(export["fileName"], "Plans- summer- 2026-01-02.md");
    assert_eq!(export["conversationId"], *conversation);
    for unknown in [
        "url",
        "urlExpiresAt",
        "sizeBytes",
        "sha256",
        "messageCount",
        "expiresAt",
        "error",
    ] {
        assert_eq!(export[unknown], Value::Null, "{unknown}");
    }
    assert_eq!(created["job"]["kind"], "export_conversation");
    assert_eq!(created["job"]["queue"], "export");
    assert_eq!(created["job"]["id"], export["jobId"]);
    assert_eq!(ana.get(&path(&created)).await.expect(200), *export);

    app.run_jobs().await;
    let export = ana.get(&path(&created)).await.expect(200);
    assert_eq!(export["status"], "succeeded");
    assert_eq!(export["messageCount"], 1);
    let now = app.clock.now();
    assert_eq!(
        export["expiresAt"],
        json!(now + Duration::from_hours(7 * 24))
    );
    assert_eq!(export["urlExpiresAt"], json!(now + Duration::from_hours(1)));
    let text = String::from_utf8(download(&app, &export).await).unwrap();
    assert!(text.contains("hello"), "{text}");
    let job = format!("/api/v1/jobs/{}", export["jobId"].as_str().unwrap());
    let job = ana.get(&job).await.expect(200);
    assert_eq!(job["status"], "succeeded");
    assert_eq!(job["result"]["messages"], 1);

    let url = path_of(&export["url"]);
    app.anonymous()
        .get(&format!("{url}0"))
        .await
        .expect_problem(404, "not_found");
    app.advance(Duration::from_hours(1)).await;
    app.anonymous()
        .get(&url)
        .await
        .expect_problem(404, "not_found");
    app.finish().await;
}

#[tokio::test]
async fn bad_requests_are_refused_with_every_reason() {
    let app = TestApp::spawn().await;
    let (ana, ben) = (app.user("ana").await, app.user("ben").await);
    let conversation = ana.conversation("Plans").await;
    let exports = format!("/api/v1/conversations/{conversation}/exports");
    let refused = async |body: Value| ana.post_json(&exports, body).await;

    let answer = refused(json!({ "format": "odt" })).await;
    let answer = answer.expect_problem(422, "invalid_request");
    let detail = answer["errors"][0]["detail"].as_str().unwrap();
    for format in ["pdf", "docx", "html", "markdown", "json", "csv"] {
        assert!(detail.contains(&format!("`{format}`")), "{detail}");
    }
    let body = json!({ "format": "json", "from": "yesterday", "to": 3, "branch": "x", "size": 1 });
    let pointers = refused(body).await.expect_bad_fields();
    assert_eq!(pointers, ["/branch", "/from", "/size", "/to"]);
    assert_eq!(refused(json!({})).await.expect_bad_fields(), ["/format"]);
    let at = "2026-01-02T03:04:05Z";
    let body = json!({ "format": "json", "from": at, "to": at });
    assert_eq!(refused(body).await.expect_bad_fields(), ["/to"]);

    let other = ana.conversation("Other").await;
    let elsewhere = ana.say(&other, "hello").await["id"].clone();
    let deleted = ana.say(&conversation, "hello").await["id"].clone();
    let message = format!("/api/v1/messages/{}", deleted.as_str().unwrap());
    assert_eq!(ana.delete(&message).await.status, 204);
    for branch in [elsewhere, deleted, json!(uuid::Uuid::new_v4())] {
        let body = json!({ "format": "json", "branch": branch });
        assert_eq!(refused(body).await.expect_bad_fields(), ["/branch"]);
    }
    ben.post_json(&exports, json!({ "format": "json" }))
        .await
        .expect_problem(404, "not_found");
    assert_eq!(app.count("SELECT count(*) FROM exports").await, 0);
    app.finish().await;
}

#[tokio::test]
async fn lists_are_filtered_and_go_on_where_their_cursor_stands() {
    let app = TestApp::spawn().await;
    let (ana, ben) = (app.user("ana").await, app.user("ben").await);
    let (one, two) = (ana.conversation("One").await, ana.conversation("Two").await);
    for conversation in [&one, &two, &one] {
        ask(&ana, conversation, json!({ "format": "csv" })).await;
        app.advance(Duration::from_secs(1)).await;
    }
    app.run_jobs().await;
    ask(&ana, &two, json!({ "format": "json" })).await;
    let formats = async |query: &str| {
        let list = ana.get(&format!("{EXPORTS}{query}")).await.expect(200);
        each(&list, "format")
    };
    assert_eq!(formats("").await, ["json", "csv", "csv", "csv"]);
    assert_eq!(
        formats(&format!("?conversationId={two}")).await,
        ["json", "csv"]
    );
    assert_eq!(formats("?status=processing").await, ["json"]);
    assert_eq!(
        formats(&format!("?status=succeeded&conversationId={one}"))
            .await
            .len(),
        2
    );
    let page = ana.get(&format!("{EXPORTS}?limit=3")).await.expect(200);
    let cursor = page["pagination"]["nextCursor"].as_str().unwrap();
    assert_eq!(formats(&format!("?cursor={cursor}")).await, ["csv"]);
    assert!(page["data"][1]["url"].is_string());
    let of_ben = ben.get(EXPORTS).await.expect(200);
    assert_eq!(of_ben["data"], json!([]));
    let bad = ana.get(&format!("{EXPORTS}?status=done")).await;
    assert_eq!(bad.expect_bad_fields(), ["/status"]);
    app.run_jobs().await;
    app.finish().await;
}

#[tokio::test]
async fn webhooks_hear_of_exports_that_are_there_and_that_failed() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let receiver = Receiver::start().await;
    let webhook = json!({ "url": receiver.url(), "events": ["export.completed", "export.failed"] });
    ana.post_json("/api/v1/webhooks", webhook).await.expect(201);
    let conversation = ana.conversation("Plans").await;
    ana.say(&conversation, "hello").await;
    let (export, _) = make(&app, &ana, &conversation, json!({ "format": "json" })).await;
    let told = receiver.bodies().await;
    assert_eq!(told.len(), 1);
    assert_eq!(told[0]["type"], "export.completed");
    assert_eq!(
        told[0]["data"],
        json!({
            "exportId": export["id"], "conversationId": conversation, "format": "json",
            "fileName": export["fileName"], "sizeBytes": export["sizeBytes"], "messageCount": 1,
            "expiresAt": export["expiresAt"],
        })
    );

    // More than a DOCX holds.
    sqlx::query("UPDATE messages SET size_bytes = 17 * 1024 * 1024")
        .execute(app.database.pool())
        .await
        .unwrap();
    let created = ask(&ana, &conversation, json!({ "format": "docx" })).await;
    app.run_jobs().await;
    let export = ana.get(&path(&created)).await.expect(200);
    assert_eq!(
        (&export["status"], &export["url"]),
        (&json!("failed"), &Value::Null)
    );
    let reason = "an export as docx has at most 20000 messages and 16 MiB of text; narrow it with `from` and `to`";
    assert_eq!(export["error"], reason);
    assert_eq!(
        export["expiresAt"],
        json!(app.clock.now() + Duration::from_hours(7 * 24))
    );
    let told = receiver.bodies().await;
    assert_eq!(
        (&told[1]["type"], &told[1]["data"]["error"]),
        (&json!("export.failed"), &json!(reason))
    );
    assert_eq!(objects(&app).await.len(), 1);

    // Put back by hand, and it is there.
    sqlx::query("UPDATE messages SET size_bytes = 5")
        .execute(app.database.pool())
        .await
        .unwrap();
    let job = format!("/api/v1/jobs/{}", created["job"]["id"].as_str().unwrap());
    ana.post(&format!("{job}/retry")).await.expect(200);
    let export = ana.get(&path(&created)).await.expect(200);
    assert_eq!(
        (&export["status"], &export["error"]),
        (&json!("processing"), &Value::Null)
    );
    app.run_jobs().await;
    assert_eq!(
        ana.get(&path(&created)).await.expect(200)["status"],
        "succeeded"
    );
    app.finish().await;
}

#[tokio::test]
async fn a_user_has_fifty_exports_at_once() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let conversation = ana.conversation("Plans").await;
    let first = ask(&ana, &conversation, json!({ "format": "csv" })).await;
    for _ in 1..50 {
        ask(&ana, &conversation, json!({ "format": "csv" })).await;
    }
    let exports = format!("/api/v1/conversations/{conversation}/exports");
    let more = async || ana.post_json(&exports, json!({ "format": "csv" })).await;
    more().await.expect_problem(409, "export_limit_reached");
    assert_eq!(ana.delete(&path(&first)).await.status, 204);
    more().await.expect(202);
    more().await.expect_problem(409, "export_limit_reached");
    app.forget_jobs().await;
    app.finish().await;
}
