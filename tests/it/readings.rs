//! Reading attachments again, and in the languages of their conversations.

use std::os::unix::fs::PermissionsExt as _;

use serde_json::{Value, json};
use shared::{
    ids::AttachmentId,
    models::{
        attachment,
        recognition::{self, Reading},
    },
};
use tests::{Actor, Options, TestApp, eventually, fixture, pdf};

use crate::deletions::objects;

pub(crate) async fn upload(user: &Actor, file: &str, fields: &[(&str, &str)]) -> String {
    let created = user.upload(file, fixture(file), fields).await.expect(201);
    created["attachment"]["id"].as_str().unwrap().to_owned()
}

pub(crate) async fn get(user: &Actor, id: &str) -> Value {
    user.get(&format!("/api/v1/attachments/{id}"))
        .await
        .expect(200)
}

fn ids(attachments: &[Value]) -> Vec<&str> {
    attachments
        .iter()
        .map(|attachment| attachment["id"].as_str().unwrap())
        .collect()
}

pub(crate) fn typed(id: &str) -> AttachmentId {
    id.parse().unwrap()
}

#[tokio::test]
async fn an_attachment_is_read_again_in_another_language() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let bytes = tests::picture("urdu.png");
    let created = ana
        .upload("urdu.png", bytes, &[("language", "hi")])
        .await
        .expect(201);
    let id = created["attachment"]["id"].as_str().unwrap();
    app.run_jobs().await;
    let first = get(&ana, id).await;
    let path = format!("/api/v1/attachments/{id}/ocr");

    let again = ana
        .post_json(&path, json!({ "language": "ur" }))
        .await
        .expect(202);
    assert_eq!(
        (
            again["job"]["status"].as_str(),
            again["job"]["kind"].as_str()
        ),
        (Some("queued"), Some("recognize_text"))
    );
    assert_ne!(again["job"]["id"], created["job"]["id"]);
    // The text stays until there is a new one.
    for attachment in [&again["attachment"], &get(&ana, id).await] {
        assert_eq!(attachment["ocr"]["status"], "processing");
        assert!(attachment["ocr"]["finishedAt"].is_null());
        assert_eq!(attachment["extractedText"], first["extractedText"]);
        let jobs = attachment["jobs"].as_array().unwrap();
        assert_eq!(
            ids(&jobs[..2]),
            [
                again["job"]["id"].as_str().unwrap(),
                created["job"]["id"].as_str().unwrap()
            ]
        );
    }
    assert!(again["attachment"]["ocr"]["words"].is_null(), "as in lists");
    assert_eq!(get(&ana, id).await["ocr"]["words"], first["ocr"]["words"]);
    app.run_jobs().await;
    let second = get(&ana, id).await;
    assert_eq!(
        (
            second["ocr"]["status"].as_str(),
            second["ocr"]["language"].as_str()
        ),
        (Some("succeeded"), Some("ur"))
    );
    let truth = String::from_utf8(tests::picture("urdu.txt")).unwrap();
    let text = second["extractedText"].as_str().unwrap();
    assert!(tests::text::error_rate(text, &truth) < 0.05, "{text}");
    app.finish().await;
}

#[tokio::test]
async fn the_languages_of_the_conversation_are_tried_before_the_defaults() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let hindi = json!({ "title": "किताबें", "language": "hi-IN" });
    let hindi = ana.post_json("/api/v1/conversations", hindi).await;
    let hindi = hindi.expect(201);
    assert_eq!(hindi["language"], "hi");
    let conversation = hindi["id"].as_str().unwrap();
    let mut readings = Vec::new();
    for fields in [
        &[][..],
        &[("conversationId", conversation)],
        &[("language", "hi")],
        &[("language", "en+hi"), ("conversationId", conversation)],
    ] {
        let picture = tests::picture("hindi.png");
        let created = ana.upload("hindi.png", picture, fields).await.expect(201);
        app.run_jobs().await;
        let read = get(&ana, created["attachment"]["id"].as_str().unwrap()).await;
        let sent_to = fields.iter().find(|(name, _)| *name == "conversationId");
        assert_eq!(
            read["conversationId"].as_str(),
            sent_to.map(|(_, value)| *value)
        );
        readings.push(read["ocr"]["confidence"].clone());
    }
    // The two differ in how sure they are: of Hindi alone, and of English and Hindi.
    let [default, sent, hindi, both] = &readings[..] else {
        panic!("four were read")
    };
    assert_ne!(default, hindi);
    assert_eq!((sent, both), (hindi, default));

    // What is likely does not stand against what the picture shows.
    let path = format!("/api/v1/conversations/{conversation}");
    let changed = ana.patch_json(&path, json!({ "language": "en" })).await;
    assert_eq!(changed.expect(200)["language"], "en");
    let picture = tests::picture("urdu.png");
    let fields = [("conversationId", conversation)];
    let created = ana.upload("urdu.png", picture, &fields).await.expect(201);
    app.run_jobs().await;
    let read = get(&ana, created["attachment"]["id"].as_str().unwrap()).await;
    assert_eq!(read["ocr"]["language"], "ur", "{read}");
    let changed = ana.patch_json(&path, json!({ "language": null })).await;
    assert!(changed.expect(200)["language"].is_null());
    app.finish().await;
}

#[tokio::test]
async fn a_file_is_sent_to_a_conversation_of_ones_own_only() {
    let app = TestApp::spawn().await;
    let (ana, ben) = (app.user("ana").await, app.user("ben").await);
    let (bens, gone) = (
        ben.conversation("Ben's").await,
        ana.conversation("Gone").await,
    );
    let path = format!("/api/v1/conversations/{gone}");
    ana.delete(&path).await.expect(204);
    let nowhere = uuid::Uuid::new_v4().to_string();
    for conversation in [bens.as_str(), &gone, &nowhere, "7"] {
        let fields = [("conversationId", conversation)];
        let reply = ana.upload("a.jpg", fixture("two-lines.jpg"), &fields).await;
        assert_eq!(reply.expect_bad_fields(), ["/conversationId"]);
    }
    app.run_jobs().await;
    eventually("nothing is left", || async {
        objects(&app).await.is_empty()
    })
    .await;
    app.finish().await;
}

#[tokio::test]
async fn a_reading_that_fails_keeps_the_text_that_is_there() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    for (name, bytes) in [
        ("two-lines.jpg", fixture("two-lines.jpg")),
        ("scan.pdf", pdf::pdf(&[pdf::scan(fixture("two-lines.jpg"))])),
    ] {
        let created = ana.upload(name, bytes, &[]).await.expect(201);
        let id = created["attachment"]["id"].as_str().unwrap().to_owned();
        app.run_jobs().await;
        let path = format!("/api/v1/attachments/{id}/ocr");
        // Known, but not installed.
        ana.post_json(&path, json!({ "language": "ta" }))
            .await
            .expect(202);
        app.run_jobs().await;
        let read = get(&ana, &id).await;
        assert_eq!(read["ocr"]["status"], "failed");
        assert!(
            read["ocr"]["error"]
                .as_str()
                .unwrap()
                .contains("not installed")
        );
        assert!(
            read["extractedText"].as_str().unwrap().contains("4711"),
            "{read}"
        );
        // Without a body it is read as if nobody knew the language.
        ana.post(&path).await.expect(202);
        app.run_jobs().await;
        let read = get(&ana, &id).await;
        assert_eq!(
            (
                read["ocr"]["status"].as_str(),
                read["ocr"]["error"].as_str()
            ),
            (Some("succeeded"), None)
        );
        let jobs = read["jobs"].as_array().unwrap().iter();
        let readings = jobs.filter(|job| job["kind"] != "process_image");
        assert_eq!(readings.count(), 3);
    }
    app.expect_failed(2);
    app.finish().await;
}

#[tokio::test]
async fn a_reading_that_waits_is_not_asked_for_twice() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let id = upload(&ana, "two-lines.jpg", &[("language", "ta")]).await;
    let path = format!("/api/v1/attachments/{id}/ocr");
    let first = get(&ana, &id).await["jobs"][0]["id"].clone();
    for language in ["hi", "en"] {
        let again = ana
            .post_json(&path, json!({ "language": language }))
            .await
            .expect(202);
        assert_eq!(again["job"]["id"], first);
        // And the one that makes its variants.
        assert_eq!(again["attachment"]["jobs"].as_array().unwrap().len(), 2);
    }
    app.run_jobs().await;
    // The languages of the latest call count.
    let read = get(&ana, &id).await;
    assert_eq!(
        (
            read["ocr"]["status"].as_str(),
            read["ocr"]["language"].as_str()
        ),
        (Some("succeeded"), Some("en"))
    );
    let jobs: i64 = sqlx::query_scalar("SELECT count(*) FROM jobs WHERE kind = 'recognize_text'")
        .fetch_one(app.database.pool())
        .await
        .unwrap();
    assert_eq!(jobs, 1);
    app.finish().await;
}

#[tokio::test]
async fn a_reading_asked_for_while_one_runs_follows_it() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let id = upload(&ana, "two-lines.jpg", &[]).await;
    // As if a worker had claimed it.
    let run = |sql: &'static str| sqlx::query(sql).execute(app.database.pool());
    run("UPDATE jobs SET state = 'running', epoch = 1, attempt = 1, lease_until = job_now() + interval '1 minute'
          WHERE kind = 'recognize_text'")
        .await
        .unwrap();
    let path = format!("/api/v1/attachments/{id}/ocr");
    ana.post_json(&path, json!({ "language": "en" }))
        .await
        .expect(202);
    let again: bool = sqlx::query_scalar("SELECT rerun FROM jobs WHERE kind = 'recognize_text'")
        .fetch_one(app.database.pool())
        .await
        .unwrap();
    assert!(again);

    let mut tx = app.begin().await;
    let row = attachment::find_for_any_user(tx.orm(), typed(&id))
        .await
        .unwrap()
        .unwrap();
    let reading = Reading {
        language: Some("eng".to_owned()),
        confidence: Some(90.0),
        low_confidence: false,
        text: "of the first run".to_owned(),
        words: None,
        pages: None,
        page_count: None,
        truncated: false,
    };
    recognition::complete(&mut tx, &row, reading, true, app.clock.now())
        .await
        .unwrap();
    tx.commit().await.unwrap();
    let between = get(&ana, &id).await;
    assert_eq!(between["ocr"]["status"], "processing");
    assert_eq!(between["extractedText"], "of the first run");

    run(
        "UPDATE jobs SET state = 'queued', rerun = false, lease_until = NULL, attempt = 0
          WHERE kind = 'recognize_text'",
    )
    .await
    .unwrap();
    app.run_jobs().await;
    assert_eq!(get(&ana, &id).await["ocr"]["status"], "succeeded");
    app.finish().await;
}

#[tokio::test]
async fn a_cancelled_reading_keeps_the_text_that_is_there() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let id = upload(&ana, "two-lines.jpg", &[]).await;
    app.run_jobs().await;
    let again = ana
        .post(&format!("/api/v1/attachments/{id}/ocr"))
        .await
        .expect(202);
    let job = again["job"]["id"].as_str().unwrap();
    ana.post(&format!("/api/v1/jobs/{job}/cancel"))
        .await
        .expect(200);
    let read = get(&ana, &id).await;
    assert_eq!(read["ocr"]["status"], "cancelled");
    assert!(read["extractedText"].as_str().unwrap().contains("4711"));
    app.finish().await;
}

#[tokio::test]
async fn what_cannot_be_read_again_is_told() {
    let app = TestApp::spawn().await;
    let (ana, ben) = (app.user("ana").await, app.user("ben").await);
    let picture = upload(&ana, "two-lines.jpg", &[]).await;
    let sound = upload(&ana, "tone.wav", &[]).await;
    let path = format!("/api/v1/attachments/{picture}/ocr");
    ana.post(&format!("/api/v1/attachments/{sound}/ocr"))
        .await
        .expect_problem(409, "not_readable");
    let unknown = ana.post_json(&path, json!({ "language": "tlh" })).await;
    let problem = unknown.expect_problem(422, "invalid_request");
    assert_eq!(problem["errors"][0]["pointer"], "/language");
    let detail = problem["errors"][0]["detail"].as_str().unwrap();
    assert!(detail.contains("en, hi, ur"), "{detail}");
    for (body, pointer) in [
        (json!({ "language": 7 }), "/language"),
        (json!({ "language": "" }), "/language"),
        (json!({ "lang": "en" }), "/lang"),
    ] {
        let bad = ana.post_json(&path, body).await;
        assert_eq!(bad.expect_bad_fields(), [pointer]);
    }
    ben.post(&path).await.expect_problem(404, "not_found");
    app.anonymous()
        .post(&path)
        .await
        .expect_problem(401, "unauthenticated");
    ana.post("/api/v1/attachments/no-id/ocr")
        .await
        .expect_problem(404, "not_found");
    app.run_jobs().await;
    // Nobody speaks in a tone.
    app.expect_failed(1);
    app.finish().await;
}

#[tokio::test]
async fn a_picture_on_which_the_program_fails_is_tried_again_and_then_told() {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("tesseract");
    let script =
        "#!/bin/sh\n[ $1 = --list-langs ] && printf 'List:\\neng\\n' && exit\nkill -SEGV $$\n";
    std::fs::write(&program, script).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let mut options = Options::default();
    options.worker.tesseract = Some(program.display().to_string());
    let app = TestApp::with(options).await;
    let ana = app.user("ana").await;
    let id = upload(&ana, "two-lines.jpg", &[]).await;
    assert_eq!(app.run_due_jobs().await, 2, "and its variants are made");
    let once = get(&ana, &id).await;
    let job = &once["jobs"][0];
    assert_eq!(
        (job["status"].as_str(), job["error"].as_str()),
        (Some("retrying"), Some("the picture cannot be read"))
    );
    app.run_jobs().await;
    let read = get(&ana, &id).await;
    assert_eq!(read["ocr"]["status"], "failed");
    assert_eq!(read["ocr"]["error"], "the picture cannot be read");
    assert_eq!(read["jobs"][0]["attempt"], 3);
    app.expect_failed(1);
    app.finish().await;
}
