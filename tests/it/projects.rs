//! Projects.

use reqwest::Method;
use serde_json::{Value, json};
use tests::{Actor, TestApp, actor::each};

const PROJECTS: &str = "/api/v1/projects";

async fn project(actor: &Actor, name: &str) -> Value {
    let body = json!({ "name": name, "instructions": "Answer in Urdu." });
    actor.post_json(PROJECTS, body).await.expect(201)
}

fn path(project: &Value) -> String {
    format!("{PROJECTS}/{}", project["id"].as_str().unwrap())
}

#[tokio::test]
async fn a_project_is_made_read_changed_and_deleted() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let made = project(&ana, " Thesis ").await;
    assert_eq!(made["name"], "Thesis");
    assert_eq!(made["instructions"], "Answer in Urdu.");
    let path = path(&made);
    let seen = ana.get(&path).await;
    assert_eq!(seen.headers["etag"], "\"1\"");
    assert_eq!(seen.expect(200), made);

    let change = json!({ "name": "Book", "instructions": null });
    let changed = ana.patch_json(&path, change.clone()).await.expect(200);
    assert_eq!(changed["name"], "Book");
    assert_eq!(changed["instructions"], Value::Null);
    assert_eq!(changed["version"], 2);
    let stale = ana
        .request(Method::PATCH, &path)
        .header("if-match", "\"1\"");
    ana.send(stale.json(&change))
        .await
        .expect_problem(412, "precondition_failed");

    let talk = ana
        .post_json("/api/v1/conversations", json!({ "projectId": made["id"] }))
        .await
        .expect(201);
    ana.delete(&path).await.expect(204);
    ana.get(&path).await.expect_problem(404, "not_found");
    let talk = format!("/api/v1/conversations/{}", talk["id"].as_str().unwrap());
    let talk = ana.get(&talk).await.expect(200);
    assert_eq!(talk["projectId"], Value::Null);
    assert_eq!(talk["version"], 2, "it says something else than before");
    app.finish().await;
}

#[tokio::test]
async fn each_conversation_that_leaves_a_project_is_told_once() {
    const TALKS: i64 = 250;
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let project = project(&ana, "Thesis").await;
    sqlx::query(
        "INSERT INTO conversations (id, user_id, project_id, tags, message_count, token_count, version, created_at,
                                    updated_at, deleted_at)
         SELECT gen_random_uuid(), p.user_id, p.id, '{}', 0, 0, 1, job_now(), job_now(), CASE WHEN n > $2 THEN job_now() END
           FROM projects p, generate_series(1, $2 + 1) n WHERE p.id = $1::uuid",
    )
    .bind(project["id"].as_str().unwrap())
    .bind(TALKS)
    .execute(app.database.pool())
    .await
    .unwrap();
    let told = async || -> (i64, i64) {
        sqlx::query_as(
            "SELECT count(*), count(DISTINCT data ->> 'conversationId') FROM events
              WHERE kind = 'conversation.updated' AND data -> 'projectId' = 'null' AND data ->> 'version' = '2'",
        )
        .fetch_one(app.database.pool())
        .await
        .unwrap()
    };
    ana.delete(&path(&project)).await.expect(204);
    assert_eq!(told().await, (10, 10), "a request tells of some");
    app.run_jobs().await;
    assert_eq!(told().await, (TALKS, TALKS));
    app.finish().await;
}

#[tokio::test]
async fn a_project_that_is_being_deleted_takes_no_conversation() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let project = project(&ana, "Thesis").await;
    let mut deleting = app.database.pool().begin().await.unwrap();
    sqlx::query("DELETE FROM projects")
        .execute(&mut *deleting)
        .await
        .unwrap();
    let filed = json!({ "projectId": project["id"] });
    let filing = ana.post_json("/api/v1/conversations", filed);
    let deleted = async {
        app.database.somebody_waits().await;
        deleting.commit().await.unwrap();
    };
    let (reply, ()) = tokio::join!(filing, deleted);
    assert_eq!(reply.expect_bad_fields(), ["/projectId"]);
    app.finish().await;
}

#[tokio::test]
async fn bad_fields_of_a_project_are_named() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let bad =
        json!({ "name": " ", "description": "", "instructions": "x".repeat(32_001), "userId": 1 });
    assert_eq!(
        ana.post_json(PROJECTS, bad).await.expect_bad_fields(),
        ["/description", "/instructions", "/name", "/userId"]
    );
    let path = path(&project(&ana, "Thesis").await);
    assert_eq!(
        ana.patch_json(&path, json!({})).await.expect_bad_fields(),
        [""]
    );
    assert_eq!(
        ana.patch_json(&path, json!({ "name": "a\nb" }))
            .await
            .expect_bad_fields(),
        ["/name"]
    );
    app.finish().await;
}

#[tokio::test]
async fn nobody_sees_anothers_project() {
    let app = TestApp::spawn().await;
    let (ana, ben, nobody) = (
        app.user("ana").await,
        app.user("ben").await,
        app.anonymous(),
    );
    let path = path(&project(&ana, "Thesis").await);
    let change = json!({ "name": "Mine" });
    ben.get(&path).await.expect_problem(404, "not_found");
    ben.patch_json(&path, change.clone())
        .await
        .expect_problem(404, "not_found");
    ben.delete(&path).await.expect_problem(404, "not_found");
    assert!(each(&ben.get(PROJECTS).await.expect(200), "id").is_empty());
    for reply in [
        nobody.get(PROJECTS).await,
        nobody.get(&path).await,
        nobody.patch_json(&path, change.clone()).await,
        nobody.delete(&path).await,
        nobody.post_json(PROJECTS, change).await,
    ] {
        reply.expect_problem(401, "unauthenticated");
    }
    app.finish().await;
}

#[tokio::test]
async fn projects_are_listed_newest_first() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    for name in ["one", "two", "three"] {
        project(&ana, name).await;
    }
    let page = ana.get(&format!("{PROJECTS}?limit=2")).await.expect(200);
    assert_eq!(each(&page, "name"), ["three", "two"]);
    let cursor = page["pagination"]["nextCursor"].as_str().unwrap();
    let rest = ana
        .get(&format!("{PROJECTS}?cursor={cursor}"))
        .await
        .expect(200);
    assert_eq!(each(&rest, "name"), ["one"]);
    assert_eq!(rest["pagination"]["hasMore"], false);
    ana.get(&format!("{PROJECTS}?cursor=x"))
        .await
        .expect_problem(400, "malformed_request");
    app.finish().await;
}
