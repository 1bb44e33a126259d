//! What a user deletes is taken out of the events before, and of deliveries that are tried later.

use sea_orm::ConnectionTrait as _;
use serde_json::{Value, json};
use shared::{events, models::event};
use tests::{Actor, TestApp, fakes::receiver::Receiver, fixture};
use wiremock::ResponseTemplate;

const EVENTS: &str = "/api/v1/events?limit=100";

const WITHDRAWN: &str = "SELECT count(*) FROM events WHERE (data -> 'withdrawn') = 'true'";

/// What has happened to somebody, as it is told; it must keep to its schemas.
async fn told(actor: &Actor) -> (String, Vec<Value>) {
    let page = actor.get(EVENTS).await;
    let text = page.text.clone();
    let rows = page.expect(200)["data"].as_array().unwrap().clone();
    for row in &rows {
        let kind = events::find(row["type"].as_str().unwrap()).unwrap();
        let mut payload = row.clone();
        payload.as_object_mut().unwrap().remove("id");
        let schema = kind.schema();
        assert!(jsonschema::is_valid(&schema, &payload), "{payload}");
    }
    (text, rows)
}

#[tokio::test]
async fn what_was_said_in_a_deleted_conversation_is_told_no_more() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let receiver =
        Receiver::scripted(vec![ResponseTemplate::new(500), ResponseTemplate::new(204)]).await;
    let body = json!({ "url": receiver.url(), "events": ["message.created"] });
    let webhook = ana.post_json("/api/v1/webhooks", body).await.expect(201);
    let conversation = ana.conversation("Hidden plans").await;
    let other = ana.conversation("Open plans").await;
    let fields = [("conversationId", conversation.as_str())];
    let uploaded = ana
        .upload("passport.png", fixture("broken.png"), &fields)
        .await
        .expect(201);
    let said = ana.say(&conversation, "The key is under the stone").await;
    app.run_due_jobs().await;
    let (before, _) = told(&ana).await;
    for secret in ["Hidden plans", "passport.png", "under the stone"] {
        assert!(before.contains(secret), "{secret}");
    }

    let path = format!("/api/v1/conversations/{conversation}");
    ana.delete(&path).await.expect(204);
    let (after, rows) = told(&ana).await;
    for secret in ["Hidden plans", "under the stone"] {
        assert!(!after.contains(secret), "{secret} goes at once");
    }
    assert!(after.contains("Open plans"));
    let deleted = rows
        .iter()
        .find(|row| row["type"] == "conversation.deleted");
    let ids = json!({ "conversationId": conversation, "projectId": null });
    assert_eq!(deleted.unwrap()["data"], ids);

    app.run_jobs().await;
    let (after, rows) = told(&ana).await;
    assert!(!after.contains("passport.png"));
    let uploads = rows.iter().find(|row| row["type"] == "attachment.created");
    let uploads = &uploads.unwrap()["data"];
    assert_eq!(uploads["attachmentId"], uploaded["attachment"]["id"]);
    assert_eq!(uploads["withdrawn"], true);

    let bodies = receiver.bodies().await;
    assert_eq!(bodies.len(), 2, "what was asked for is tried to its end");
    assert_eq!(bodies[0]["data"]["text"], "The key is under the stone");
    let ids = json!({
        "messageId": said["id"], "conversationId": conversation, "parentId": null, "withdrawn": true,
    });
    assert_eq!(bodies[1]["data"], ids);
    assert_eq!(bodies[1]["timestamp"], bodies[0]["timestamp"]);
    let deliveries = format!(
        "/api/v1/webhooks/{}/deliveries",
        webhook["id"].as_str().unwrap()
    );
    let deliveries = ana.get(&deliveries).await;
    assert!(!deliveries.text.contains("under the stone"));

    // What belongs to the other one stays.
    let title = format!("/api/v1/conversations/{other}");
    assert_eq!(ana.get(&title).await.expect(200)["title"], "Open plans");
    let failed = app
        .count("SELECT count(*) FROM jobs WHERE state = 'failed'")
        .await;
    app.expect_failed(failed); // the picture was none
    app.finish().await;
}

#[tokio::test]
async fn a_message_and_an_attachment_take_along_what_events_told_of_them() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let conversation = ana.conversation("Plans").await;
    let first = ana.say(&conversation, "The first word").await;
    ana.say(&conversation, "The second word").await;
    let mut attachments = Vec::new();
    for name in ["one.png", "two.png"] {
        let uploaded = ana.upload(name, fixture("broken.png"), &[]).await;
        attachments.push(uploaded.expect(201)["attachment"]["id"].clone());
    }

    let message = first["id"].as_str().unwrap();
    let message = format!("/api/v1/messages/{message}");
    ana.delete(&message).await.expect(204);
    let (text, _) = told(&ana).await;
    assert!(!text.contains("The first word") && text.contains("The second word"));
    assert!(text.contains("one.png") && text.contains("Plans"));

    let attachment = attachments[0].as_str().unwrap();
    let attachment = format!("/api/v1/attachments/{attachment}");
    ana.delete(&attachment).await.expect(204);
    let (text, rows) = told(&ana).await;
    assert!(!text.contains("one.png") && text.contains("two.png"));
    assert_eq!(app.count(WITHDRAWN).await, 2);
    let deleted = rows.iter().find(|row| row["type"] == "attachment.deleted");
    assert!(deleted.unwrap()["data"].get("withdrawn").is_none());
    app.forget_jobs().await;
    app.finish().await;
}

#[tokio::test]
async fn a_long_conversation_is_taken_out_of_its_events_by_and_by() {
    const TOLD: i64 = 1300;
    let app = TestApp::spawn().await;
    let (ana, ben) = (app.user("ana").await, app.user("ben").await);
    let conversation = ana.conversation("Plans").await;
    let bens = app.id_of(&ben).await;
    sqlx::query(
        "INSERT INTO events (id, user_id, kind, subject, data, created_at)
         SELECT gen_random_uuid(), CASE WHEN n > $2 THEN $3 ELSE c.user_id END, 'message.created', c.id::text,
                jsonb_build_object('messageId', gen_random_uuid(), 'conversationId', c.id, 'text', 'word ' || n),
                job_now()
           FROM conversations c, generate_series(1, $2 + 1) n WHERE c.id = $1::uuid",
    )
    .bind(&conversation)
    .bind(TOLD)
    .bind(bens.0)
    .execute(app.database.pool())
    .await
    .unwrap();
    let path = format!("/api/v1/conversations/{conversation}");
    ana.delete(&path).await.expect(204);
    assert_eq!(app.count(WITHDRAWN).await, 200, "a request takes a few");
    app.run_jobs().await;
    // And that it was begun; what is somebody else's is not touched.
    assert_eq!(app.count(WITHDRAWN).await, TOLD + 1);
    let left = "SELECT count(*) FROM events WHERE data ->> 'text' IS NOT NULL";
    assert_eq!(app.count(left).await, 1);
    app.finish().await;
}

#[tokio::test]
async fn what_is_withdrawn_is_found_by_its_index() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let user = app.id_of(&ana).await;
    sqlx::raw_sql(
        "INSERT INTO events (id, user_id, kind, subject, data, created_at)
         SELECT gen_random_uuid(), u.id, 'message.created', gen_random_uuid()::text,
                jsonb_build_object('messageId', gen_random_uuid(), 'text', 'word ' || n), job_now()
           FROM users u, generate_series(1, 5000) n;
         ANALYZE events",
    )
    .execute(app.database.pool())
    .await
    .unwrap();
    let scans = async || -> (i64, i64) {
        sqlx::query_as(
            "SELECT i.idx_scan, t.seq_scan FROM pg_stat_user_indexes i JOIN pg_stat_user_tables t USING (relid)
              WHERE i.indexrelname = 'events_about'",
        )
        .fetch_one(app.database.pool())
        .await
        .unwrap()
    };
    let before = scans().await;
    let mut tx = app.begin().await;
    let (subject, message) = (uuid::Uuid::new_v4(), uuid::Uuid::new_v4());
    let found = event::withdraw_all(&mut tx, user, subject, 200).await;
    assert_eq!(found.unwrap(), 0);
    event::withdraw(&mut tx, user, &[subject], message)
        .await
        .unwrap();
    let flush = "SELECT pg_stat_force_next_flush()";
    tx.orm().execute_unprepared(flush).await.unwrap();
    tx.commit().await.unwrap();
    let after = scans().await;
    assert!(after.0 >= before.0 + 2, "it is not used");
    assert_eq!(after.1, before.1, "all events are read");
    app.finish().await;
}
