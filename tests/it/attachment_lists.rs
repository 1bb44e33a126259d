//! Lists of attachments.

use sea_orm::{DbBackend, QueryTrait as _};
use serde_json::Value;
use shared::{
    ids::{AttachmentId, UserId},
    models::{
        attachment::{self, Filter, Kind},
        recognition,
    },
};
use tests::{Actor, TestApp, fixture, pdf};

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
    // The broken picture is neither read nor made into variants, and nobody speaks in the tone.
    app.expect_failed(3);
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
        "INSERT INTO conversations (id, user_id, title, tags, message_count, token_count, version, created_at, updated_at)
         SELECT conversation_id, user_id, '', '{}', 0, 0, 1, created_at, created_at FROM attachments",
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
        // The conversations alone have 656.
        assert!(pages < 250, "{filter:?}: {pages} pages: {plan:#}");
    }
    app.finish().await;
}
