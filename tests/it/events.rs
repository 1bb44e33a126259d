//! Events: what causes them, and who hears of them.

use std::{collections::BTreeSet, time::Duration};

use serde_json::{Value, json};
use shared::{
    database::Tx,
    events::{self, Event, KINDS, UserSummary},
    ids::UserId,
    jobs::ExportConversation,
    models::{user::PresenceSharing, webhook},
    queue::{self, End},
};
use tests::{
    Actor, TestApp,
    actor::each,
    fakes::{
        provider::{Asked, Provider, Script, refusal, words_of},
        receiver::Receiver,
    },
    fixture,
};
use wiremock::ResponseTemplate;

use crate::chat::{app as app_with, id};

/// What has happened to somebody, newest first.
async fn happened(actor: &Actor, query: &str) -> Vec<Value> {
    let path = format!("/api/v1/events?limit=100{query}");
    let page = actor.get(&path).await.expect(200);
    page["data"].as_array().unwrap().clone()
}

/// The names of what has happened to somebody, in alphabetical order.
async fn names(actor: &Actor) -> Vec<String> {
    let rows = happened(actor, "").await;
    let mut names: Vec<String> = rows
        .iter()
        .map(|row| row["type"].as_str().unwrap().to_owned())
        .collect();
    names.sort();
    names
}

/// An endpoint of somebody for all that these patterns mean.
async fn listen(actor: &Actor, receiver: &Receiver, patterns: &[&str]) -> Value {
    let body = json!({ "url": receiver.url(), "events": patterns });
    actor.post_json("/api/v1/webhooks", body).await.expect(201)
}

/// Names of what has arrived, each once.
async fn arrived(receiver: &Receiver) -> BTreeSet<String> {
    let bodies = receiver.bodies().await;
    let names = bodies.iter().map(|body| body["type"].as_str().unwrap());
    names.map(str::to_owned).collect()
}

async fn begin_as(app: &TestApp, user: UserId) -> Tx {
    let mut tx = app.begin().await;
    tx.origin.user = Some(user);
    tx
}

#[tokio::test]
async fn every_event_is_kept_and_sent_to_who_wants_all() {
    let app = TestApp::spawn().await;
    let (ana, ben) = (app.user("ana").await, app.user("ben").await);
    let (all, some, bens) = (
        Receiver::start().await,
        Receiver::start().await,
        Receiver::start().await,
    );
    listen(&ana, &all, &["*"]).await;
    listen(&ana, &some, &["attachment.*", "job.failed"]).await;
    listen(&ben, &bens, &["*"]).await;
    let user = app.id_of(&ana).await;
    let mut tx = begin_as(&app, user).await;
    for kind in KINDS.iter().filter(|kind| kind.is_subscribable) {
        let event = kind.sample();
        let emitted = events::emit(&mut tx, user, &event, app.clock.now()).await;
        emitted.unwrap_or_else(|error| panic!("{}: {error}", kind.name));
    }
    tx.commit().await.unwrap();
    app.run_jobs().await;

    let expected: BTreeSet<String> = events::NAMES.iter().map(|&name| name.to_owned()).collect();
    assert_eq!(arrived(&all).await, expected);
    let few = ["attachment.created", "attachment.deleted", "job.failed"];
    let expected = BTreeSet::from(few.map(str::to_owned));
    assert_eq!(arrived(&some).await, expected);
    assert!(bens.requests().await.is_empty(), "it is none of ben's");
    assert_eq!(names(&ben).await, ["user.created"]);

    let rows = happened(&ana, "").await;
    // And that her account was made.
    assert_eq!(rows.len(), events::NAMES.len() + 1);
    for request in all.requests().await {
        let mut body: Value = request.body_json().unwrap();
        body["id"] = request.headers["webhook-id"].to_str().unwrap().into();
        assert!(rows.contains(&body), "{body} is not listed");
    }
    app.finish().await;
}

#[tokio::test]
async fn what_users_do_is_kept_though_nobody_hears_of_it() {
    let answer = |asked: &Asked| -> Script {
        match asked.question().as_str() {
            "Refuse" => refusal(400, "it is too long"),
            _ => words_of(&["Salt", " and", " water."]),
        }
    };
    let provider = Provider::start(answer).await;
    let (app, ana) = app_with(&provider).await;
    let name = json!({ "displayName": "Anna" });
    ana.patch_json("/api/v1/users/me", name).await.expect(200);
    let conversation = ana.conversation("Plans").await;
    let path = format!("/api/v1/conversations/{conversation}");
    ana.say(&conversation, "Hello").await;
    let title = json!({ "title": "Other plans" });
    ana.patch_json(&path, title).await.expect(200);
    ana.post(&format!("{path}/archive")).await.expect(200);
    let ask = json!({ "message": "What is the sea?", "model": "gpt-4o-mini" });
    let answer = ana.chat(ask).await.expect(200);
    let refused = json!({ "message": "Refuse", "conversationId": answer["conversationId"] });
    ana.chat(refused).await.expect(502);
    let uploaded = ana.upload("a.png", fixture("broken.png"), &[]).await;
    let uploaded = uploaded.expect(201);
    app.run_jobs().await;
    let created = happened(&ana, "&type=attachment.created").await;
    assert_eq!(created[0]["data"]["fileName"], "a.png");
    assert_eq!(
        created[0]["data"]["sha256"],
        uploaded["attachment"]["sha256"]
    );
    let attachment = id(&uploaded["attachment"]["id"]);
    let attachment = format!("/api/v1/attachments/{attachment}");
    ana.delete(&attachment).await.expect(204);
    let export = json!({ "format": "json" });
    let exports = format!("{path}/exports");
    ana.post_json(&exports, export).await.expect(202);
    app.run_jobs().await;
    ana.delete(&path).await.expect(204);
    app.run_jobs().await;

    let expected = [
        "attachment.created",
        "attachment.deleted",
        "conversation.archived",
        "conversation.created",
        "conversation.created",
        "conversation.deleted",
        "conversation.updated",
        "export.completed",
        "image.ocr_failed",
        "job.failed",
        "job.failed",
        "message.completed",
        "message.created",
        "message.created",
        "message.created",
        "message.failed",
        "user.created",
        "user.updated",
    ];
    assert_eq!(names(&ana).await, expected);
    for event in happened(&ana, "").await {
        let kind = events::find(event["type"].as_str().unwrap()).unwrap();
        let mut payload = event.clone();
        payload.as_object_mut().unwrap().remove("id");
        let schema = kind.schema();
        assert!(jsonschema::is_valid(&schema, &payload), "{payload}");
    }
    app.expect_failed(2);
    app.finish().await;
}

#[tokio::test]
async fn what_is_undone_has_not_happened() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let user = app.id_of(&ana).await;
    let mut tx = begin_as(&app, user).await;
    let event = Event::UserUpdated(UserSummary {
        user_id: user,
        display_name: None,
        avatar_url: None,
        presence_sharing: PresenceSharing::Nobody,
        read_receipts_enabled: false,
        version: 2,
    });
    events::emit(&mut tx, user, &event, app.clock.now())
        .await
        .unwrap();
    drop(tx);
    let request = ana
        .request(reqwest::Method::PATCH, "/api/v1/users/me")
        .header("if-match", "\"7\"")
        .json(&json!({ "displayName": "Anna" }));
    ana.send(request).await.expect(412);
    assert_eq!(names(&ana).await, ["user.created"]);
    app.finish().await;
}

#[tokio::test]
async fn a_payload_that_is_too_long_is_only_referred_to() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let receiver = Receiver::start().await;
    listen(&ana, &receiver, &["message.*"]).await;
    let conversation = ana.conversation("Noise").await;
    // In JSON each takes six bytes.
    let message = ana.say(&conversation, &"\u{1}".repeat(16_000)).await;
    app.run_jobs().await;
    let told = receiver.bodies().await;
    assert_eq!(told.len(), 1);
    let expected = json!({
        "messageId": message["id"], "conversationId": conversation, "parentId": null, "truncated": true,
    });
    assert_eq!(told[0]["data"], expected);
    let kept = happened(&ana, "&type=message.created").await;
    assert_eq!(kept[0]["data"], expected);
    app.finish().await;
}

#[tokio::test]
async fn a_job_that_is_given_up_tells_its_user() {
    let app = TestApp::spawn().await;
    let (ana, ben) = (app.user("ana").await, app.user("ben").await);
    let created = ana.upload("a.png", fixture("broken.png"), &[]).await;
    let created = created.expect(201);
    let job = id(&created["job"]["id"]).to_owned();
    app.run_jobs().await;
    let told = happened(&ana, "&type=job.*").await;
    let told = told.iter().find(|event| event["data"]["jobId"] == job);
    let told = &told.expect("the reading is told of")["data"];
    let failed = ana.get(&format!("/api/v1/jobs/{job}")).await.expect(200);
    let expected = json!({
        "jobId": job, "userId": app.id_of(&ana).await, "kind": "recognize_text", "status": "failed", "attempt": 1,
        "error": failed["error"],
    });
    assert_eq!(*told, expected);
    let rows = ana.get("/api/v1/notifications").await.expect(200);
    let rows = rows["data"].as_array().unwrap();
    let row = rows.iter().find(|row| row["data"]["jobId"] == job).unwrap();
    assert_eq!(row["kind"], "job.failed");
    let bens = ben.get("/api/v1/notifications").await.expect(200);
    assert_eq!(bens["data"], json!([]));

    // Nobody is told of what they stopped, nor of what is nobody's any more.
    let before = happened(&ana, "").await.len();
    let created = ana.upload("b.jpg", fixture("two-lines.jpg"), &[]).await;
    let job = created.expect(201)["job"]["id"].clone();
    let path = format!("/api/v1/jobs/{}/cancel", id(&job));
    ana.post(&path).await.expect(200);
    app.run_jobs().await;
    assert_eq!(happened(&ana, "&type=job.failed").await.len(), 2);
    assert_eq!(happened(&ana, "").await.len(), before + 1, "the upload");
    let mut tx = begin_as(&app, UserId::new()).await;
    let export = shared::ids::ExportId::new();
    let job = queue::enqueue(&mut tx, ExportConversation { export })
        .await
        .unwrap();
    let end = End::Failed("its user is gone".to_owned());
    assert!(queue::end_queued(&mut tx, job.id, &end).await.unwrap());
    tx.commit().await.unwrap();
    app.expect_failed(3);
    app.finish().await;
}

#[tokio::test]
async fn a_delivery_that_is_given_up_is_no_event() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let receiver = Receiver::answering(ResponseTemplate::new(500)).await;
    listen(&ana, &receiver, &["*"]).await;
    app.ocr_completed(&ana, "text").await;
    app.run_jobs().await;
    assert_eq!(arrived(&receiver).await.len(), 1);
    // The clock has moved over the waits between the tries.
    let ana = app.login(&ana).await;
    assert_eq!(names(&ana).await, ["image.ocr_completed", "user.created"]);
    let rows = ana.get("/api/v1/notifications").await.expect(200);
    assert_eq!(each(&rows, "kind"), ["webhook.delivery_failed"]);
    app.expect_failed(1);
    app.finish().await;
}

#[tokio::test]
async fn an_endpoint_that_is_switched_off_is_told_of_to_the_others() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let (off, on) = (Receiver::start().await, Receiver::start().await);
    let disabled = listen(&ana, &off, &["*"]).await;
    listen(&ana, &on, &["webhook.*"]).await;
    let user = app.id_of(&ana).await;
    let (now, reason) = (app.clock.now(), "it was too slow");
    let mut tx = begin_as(&app, user).await;
    let id = id(&disabled["id"]).parse().unwrap();
    let is_off = webhook::disable(&mut tx, id, &off.url(), reason, now).await;
    assert!(is_off.unwrap());
    let row = webhook::get(tx.orm(), user, id).await.unwrap();
    events::webhook_disabled(&mut tx, &row, reason, now)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    app.run_jobs().await;

    assert!(off.requests().await.is_empty());
    let told = on.bodies().await;
    assert_eq!(told.len(), 1);
    let expected = json!({
        "webhookId": disabled["id"], "userId": user, "host": "127.0.0.1", "reason": reason,
    });
    assert_eq!(told[0]["data"], expected);
    let rows = ana.get("/api/v1/notifications").await.expect(200);
    let row = &rows["data"][0];
    assert_eq!(row["kind"], "webhook.disabled");
    assert_eq!(
        row["body"],
        "Nothing is sent to 127.0.0.1 any more: it was too slow."
    );
    app.finish().await;
}

#[tokio::test]
async fn an_export_tells_its_user_that_it_is_ready() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let conversation = ana.conversation("Plans").await;
    ana.say(&conversation, "Hello").await;
    let exports = format!("/api/v1/conversations/{conversation}/exports");
    let made = ana.post_json(&exports, json!({ "format": "json" })).await;
    let made = made.expect(202);
    app.run_jobs().await;
    let rows = ana.get("/api/v1/notifications").await.expect(200);
    assert_eq!(each(&rows, "kind"), ["export.completed"]);
    let row = &rows["data"][0];
    assert_eq!(row["data"]["exportId"], made["export"]["id"]);
    let body = row["body"].as_str().unwrap();
    assert!(
        body.contains("can be downloaded until 2026-01-09"),
        "{body}"
    );
    app.finish().await;
}

#[tokio::test]
async fn administrators_hear_of_what_is_for_them() {
    let app = TestApp::spawn().await;
    let root = app.user("root").await;
    let root = app.promote(&root).await;
    let receiver = Receiver::start().await;
    let endpoint = json!({
        "url": receiver.url(), "scope": "all", "events": ["user.*", "conversation.*", "webhook.disabled"],
    });
    root.post_json("/api/v1/webhooks", endpoint)
        .await
        .expect(201);
    let ana = app.user("ana").await;
    ana.conversation("Hers").await;
    root.conversation("Mine").await;
    // The deliveries are the administrator's, whoever's event it is.
    let jobs = "/api/v1/jobs?kind=deliver_webhook";
    assert_eq!(ana.get(jobs).await.expect(200)["data"], json!([]));
    let own = root.get(jobs).await.expect(200);
    assert_eq!(own["data"].as_array().unwrap().len(), 2);
    app.run_jobs().await;
    let mut told: Vec<(Value, Value)> = receiver
        .bodies()
        .await
        .into_iter()
        .map(|body| (body["type"].clone(), body["data"]["title"].clone()))
        .collect();
    told.sort_by_key(|(name, _)| name.to_string());
    let expected = [
        (json!("conversation.created"), json!("Mine")),
        (json!("user.created"), Value::Null),
    ];
    assert_eq!(told, expected);

    // Who is none any more hears only of what is theirs.
    sqlx::query("UPDATE users SET role = 'user'")
        .execute(app.database.pool())
        .await
        .unwrap();
    app.advance(Duration::from_secs(1)).await;
    app.user("ben").await;
    app.run_jobs().await;
    assert_eq!(receiver.requests().await.len(), 2);
    app.finish().await;
}
