//! Lists of attachments, and reading them again.

use sea_orm::{DbBackend, QueryTrait as _};
use serde_json::{Value, json};
use shared::{
    attachment_text,
    ids::{AttachmentId, UserId},
    models::{
        attachment::{self, Filter, Kind},
        recognition::{self, Reading},
    },
};
use tests::{Actor, Options, TestApp, fixture, pdf};

async fn upload(user: &Actor, file: &str, fields: &[(&str, &str)]) -> String {
    let created = user.upload(file, fixture(file), fields).await.expect(201);
    created["attachment"]["id"].as_str().unwrap().to_owned()
}

async fn get(user: &Actor, id: &str) -> Value {
    user.get(&format!("/api/v1/attachments/{id}"))
        .await
        .expect(200)
}

async fn list(user: &Actor, query: &str) -> Vec<Value> {
    let page = user
        .get(&format!("/api/v1/attachments?{query}"))
        .await
        .expect(200);
    page["data"].as_array().unwrap().clone()
}

fn ids(attachments: &[Value]) -> Vec<&str> {
    attachments
        .iter()
        .map(|attachment| attachment["id"].as_str().unwrap())
        .collect()
}

fn typed(id: &str) -> AttachmentId {
    id.parse().unwrap()
}

#[tokio::test]
async fn attachments_are_listed_newest_first_and_filtered() {
    let app = TestApp::spawn().await;
    let (ana, ben) = (app.user("ana").await, app.user("ben").await);
    let picture = upload(&ana, "two-lines.jpg", &[]).await;
    let sound = upload(&ana, "tone.ogg", &[]).await;
    app.advance(std::time::Duration::from_secs(1)).await;
    let broken = upload(&ana, "broken.png", &[]).await;
    app.run_jobs().await;
    app.advance(std::time::Duration::from_secs(1)).await;
    let document = upload(&ana, "three-pages.pdf", &[]).await;

    let all = list(&ana, "").await;
    assert_eq!(ids(&all), [&document, &broken, &sound, &picture]);
    let read = &all[3];
    assert!(read["extractedText"].as_str().unwrap().contains("4711"));
    assert_eq!(read["jobs"][0]["status"], "succeeded");
    assert!(read["ocr"]["words"].is_null() && read["url"].is_string());
    let mut whole = get(&ana, &picture).await;
    assert!(whole["ocr"]["words"].is_array());
    whole["ocr"]["words"] = Value::Null;
    assert_eq!(*read, whole, "a list shows the same but for the words");
    assert!(all[2]["ocr"].is_null());

    for (query, expected) in [
        ("kind=image", vec![&broken, &picture]),
        ("kind=document", vec![&document]),
        ("kind=audio", vec![&sound]),
        ("status=processing", vec![&document]),
        ("status=succeeded", vec![&picture]),
        ("status=failed&kind=image", vec![&broken]),
        ("status=cancelled", vec![]),
        (
            "conversationId=00000000-0000-0000-0000-000000000000",
            vec![],
        ),
    ] {
        assert_eq!(ids(&list(&ana, query).await), expected, "{query}");
    }
    let first = ana.get("/api/v1/attachments?limit=3").await.expect(200);
    assert_eq!(first["data"].as_array().unwrap().len(), 3);
    assert_eq!(first["pagination"]["hasMore"], true);
    let cursor = first["pagination"]["nextCursor"].as_str().unwrap();
    assert_eq!(
        ids(&list(&ana, &format!("cursor={cursor}")).await),
        [&picture]
    );

    assert!(list(&ben, "").await.is_empty());
    let path = "/api/v1/attachments";
    app.anonymous()
        .get(path)
        .await
        .expect_problem(401, "unauthenticated");
    let bad = format!("{path}?kind=film&status=x&limit=101&conversationId=7&colour=red");
    let pointers = ana.get(&bad).await.expect_bad_fields();
    assert_eq!(
        pointers,
        ["/colour", "/conversationId", "/kind", "/limit", "/status"]
    );
    ana.get(&format!("{path}?cursor=nonsense"))
        .await
        .expect_problem(400, "malformed_request");
    app.run_jobs().await;
    app.expect_failed(1);
    app.finish().await;
}

#[tokio::test]
async fn a_list_shows_the_beginning_of_a_long_text() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let page = pdf::Page::Text("The library opens on Saturday at nine.\n".repeat(40));
    let created = ana
        .upload("x.pdf", pdf::pdf(&[page]), &[])
        .await
        .expect(201);
    app.run_jobs().await;
    let whole = get(&ana, created["attachment"]["id"].as_str().unwrap()).await;
    let whole = whole["extractedText"].as_str().unwrap();
    let listed = list(&ana, "").await;
    let listed = listed[0]["extractedText"].as_str().unwrap();
    assert_eq!((listed.len(), whole.starts_with(listed)), (1_000, true));
    assert!(whole.len() > 1_500);
    app.finish().await;
}

#[tokio::test]
async fn a_list_reads_no_rows_but_its_own() {
    let app = TestApp::spawn().await;
    let pool = app.database.pool();
    for sql in [
        "INSERT INTO users (id, email, password_hash, display_name, created_at, updated_at)
         SELECT gen_random_uuid(), n || '@example.com', '', '', job_now(), job_now() FROM generate_series(1, 20) n",
        "INSERT INTO attachments (id, user_id, conversation_id, kind, file_name, media_type, size_bytes, sha256,
                                  storage_key, created_at)
         SELECT gen_random_uuid(), users.id, gen_random_uuid(), CASE WHEN n % 50 = 0 THEN 'audio' ELSE 'image' END, '', '', 1, '',
                gen_random_uuid()::text, job_now() - n * interval '1 minute'
           FROM users, generate_series(1, 2000) n",
        "INSERT INTO recognitions (attachment_id, job_id, status, created_at)
         SELECT id, id, 'succeeded', created_at FROM attachments",
        "ANALYZE",
    ] {
        sqlx::query(sql).execute(pool).await.unwrap();
    }
    let user: uuid::Uuid = sqlx::query_scalar("SELECT id FROM users LIMIT 1")
        .fetch_one(pool)
        .await
        .unwrap();
    let conversation: uuid::Uuid =
        sqlx::query_scalar("SELECT conversation_id FROM attachments WHERE user_id = $1 LIMIT 1")
            .bind(user)
            .fetch_one(pool)
            .await
            .unwrap();
    let before = Some((
        app.clock.now() - chrono::TimeDelta::hours(9),
        AttachmentId(user),
    ));
    for filter in [
        Filter::default(),
        Filter {
            before,
            ..Filter::default()
        },
        Filter {
            kind: Some(Kind::Audio),
            ..Filter::default()
        },
        Filter {
            kind: Some(Kind::Audio),
            before,
            ..Filter::default()
        },
        Filter {
            status: Some(recognition::Status::Succeeded),
            ..Filter::default()
        },
        Filter {
            conversation: Some(shared::ids::ConversationId(conversation)),
            ..Filter::default()
        },
    ] {
        let statement = attachment::listing(UserId(user), &filter, 20).build(DbBackend::Postgres);
        let explain = format!("EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {statement}");
        let plan: Value = sqlx::query_scalar(sqlx::AssertSqlSafe(explain))
            .fetch_one(pool)
            .await
            .unwrap();
        let top = &plan[0]["Plan"];
        let pages = top["Shared Hit Blocks"].as_i64().unwrap()
            + top["Shared Read Blocks"].as_i64().unwrap();
        assert!(pages < 150, "{filter:?}: {pages} pages: {plan:#}");
    }
    app.finish().await;
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
        assert_eq!(attachment["ocr"]["words"], first["ocr"]["words"]);
        let jobs = attachment["jobs"].as_array().unwrap();
        assert_eq!(
            ids(jobs),
            [
                again["job"]["id"].as_str().unwrap(),
                created["job"]["id"].as_str().unwrap()
            ]
        );
    }
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
        assert_eq!(read["jobs"].as_array().unwrap().len(), 3);
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
        assert_eq!(again["attachment"]["jobs"].as_array().unwrap().len(), 1);
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
    let jobs: i64 = sqlx::query_scalar("SELECT count(*) FROM jobs")
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
    run("UPDATE jobs SET state = 'running', epoch = 1, attempt = 1, lease_until = job_now() + interval '1 minute'")
        .await
        .unwrap();
    let path = format!("/api/v1/attachments/{id}/ocr");
    ana.post_json(&path, json!({ "language": "en" }))
        .await
        .expect(202);
    let again: bool = sqlx::query_scalar("SELECT rerun FROM jobs")
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

    run("UPDATE jobs SET state = 'queued', rerun = false, lease_until = NULL, attempt = 0")
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
    app.finish().await;
}

/// Waits for Redis, which programs start without.
async fn redis_is_up(app: &TestApp) {
    tests::eventually("redis is connected", || async {
        app.context.redis.is_up()
            && app.anonymous().get("/api/health").await.expect(200)["status"] == "healthy"
    })
    .await;
}

#[tokio::test]
async fn a_text_is_kept_in_redis_until_it_is_read_again() {
    let app = TestApp::spawn().await;
    redis_is_up(&app).await;
    let redis = &app.context.redis;
    let ana = app.user("ana").await;
    let id = upload(&ana, "two-lines.jpg", &[]).await;
    let kept = || async { attachment_text::get(redis, typed(&id), 1).await };
    assert_eq!(kept().await, None);
    app.run_jobs().await;
    let text = get(&ana, &id).await["extractedText"].clone();
    assert_eq!(kept().await.as_deref(), text.as_str());
    assert_eq!(
        attachment_text::get(redis, typed(&id), 2).await,
        None,
        "of another reading"
    );

    // It is read from there, and put back when it is gone.
    attachment_text::put(redis, typed(&id), 1, "from redis").await;
    assert_eq!(get(&ana, &id).await["extractedText"], "from redis");
    attachment_text::remove(redis, typed(&id)).await;
    assert_eq!(get(&ana, &id).await["extractedText"], text);
    assert_eq!(kept().await.as_deref(), text.as_str());

    // An entry that outlived its reading counts for nothing.
    let path = format!("/api/v1/attachments/{id}/ocr");
    ana.post(&path).await.expect(202);
    assert_eq!(kept().await, None);
    app.run_jobs().await;
    attachment_text::put(redis, typed(&id), 1, "of the first reading").await;
    assert_eq!(get(&ana, &id).await["extractedText"], text);
    assert_eq!(
        attachment_text::get(redis, typed(&id), 2).await.as_deref(),
        text.as_str()
    );

    let long = "a".repeat((1 << 20) + 1);
    attachment_text::put(redis, typed(&id), 2, &long).await;
    assert_eq!(attachment_text::get(redis, typed(&id), 2).await, None);
    app.finish().await;
}

#[tokio::test]
async fn texts_are_read_without_redis_too() {
    let app = TestApp::with(Options {
        redis_url: Some("redis://127.0.0.1:1".to_owned()),
        ..Options::default()
    })
    .await;
    let ana = app.user("ana").await;
    let id = upload(&ana, "two-lines.jpg", &[]).await;
    app.run_jobs().await;
    assert!(
        get(&ana, &id).await["extractedText"]
            .as_str()
            .unwrap()
            .contains("4711")
    );
    ana.post(&format!("/api/v1/attachments/{id}/ocr"))
        .await
        .expect(202);
    app.run_jobs().await;
    let read = get(&ana, &id).await;
    assert_eq!(read["ocr"]["status"], "succeeded");
    let nowhere = &app.context.redis;
    attachment_text::put(nowhere, typed(&id), 2, "x").await;
    assert_eq!(attachment_text::get(nowhere, typed(&id), 2).await, None);
    attachment_text::remove(nowhere, typed(&id)).await;
    app.finish().await;
}
