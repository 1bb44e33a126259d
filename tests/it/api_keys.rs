//! API keys.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use tests::{Actor, TestApp, eventually};

const KEYS: &str = "/api/v1/api-keys";
const ME: &str = "/api/v1/users/me";

async fn make(actor: &Actor, scopes: &[&str]) -> Value {
    let body = json!({ "name": "a key", "scopes": scopes });
    actor.post_json(KEYS, body).await.expect(201)
}

fn program(actor: &Actor, key: &Value) -> Actor {
    Actor {
        token: key["key"].as_str().map(str::to_owned),
        ..actor.clone()
    }
}

#[tokio::test]
async fn a_key_is_shown_once_and_opens_the_account() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let body =
        json!({ "name": " nightly ", "scopes": ["write", "read", "read"], "expiresAt": null });
    let reply = ana.post_json(KEYS, body).await;
    let created = reply.expect(201);
    let key = created["key"].as_str().unwrap();
    assert!(key.starts_with("bck_") && key.len() == 47, "{key}");
    assert_eq!(created["name"], "nightly");
    assert_eq!(created["scopes"], json!(["read", "write"]));
    assert_eq!(created["hint"], key[43..]);
    assert_eq!(created["expiresAt"], Value::Null);
    assert_eq!(created["lastUsedAt"], Value::Null);

    let program = program(&ana, &created);
    assert_eq!(program.get(ME).await.expect(200)["email"], ana.email);
    let listed = program.get(KEYS).await.expect(200);
    assert!(!listed.to_string().contains(&key[..43]));
    assert_eq!(listed["data"][0]["id"], created["id"]);
    eventually("its use is noted", || async {
        ana.get(KEYS).await.expect(200)["data"][0]["lastUsedAt"] == "2026-01-02T03:04:05Z"
    })
    .await;
    app.advance(Duration::from_mins(1)).await;
    program.get(ME).await.expect(200);
    eventually("its use is noted again", || async {
        ana.get(KEYS).await.expect(200)["data"][0]["lastUsedAt"] == "2026-01-02T03:05:05Z"
    })
    .await;

    let stored: String = sqlx::query_scalar("SELECT api_keys::text FROM api_keys")
        .fetch_one(app.database.pool())
        .await
        .unwrap();
    assert!(!stored.contains(&key[..43]), "{stored}");
    app.finish().await;
}

#[tokio::test]
async fn keys_are_listed_by_pages_and_deleted_at_once_by_their_user_only() {
    let app = TestApp::spawn().await;
    let (ana, ben) = (app.user("ana").await, app.user("ben").await);
    let first = make(&ana, &["read"]).await;
    app.advance(Duration::from_secs(1)).await;
    let second = make(&ana, &["read"]).await;
    let page = ana.get(&format!("{KEYS}?limit=1")).await.expect(200);
    assert_eq!(page["data"][0]["id"], second["id"]);
    let cursor = page["pagination"]["nextCursor"].as_str().unwrap();
    let page = ana
        .get(&format!("{KEYS}?limit=1&cursor={cursor}"))
        .await
        .expect(200);
    assert_eq!(page["data"][0]["id"], first["id"]);
    assert_eq!(page["pagination"]["hasMore"], false);
    assert_eq!(ben.get(KEYS).await.expect(200)["data"], json!([]));

    let path = format!("{KEYS}/{}", first["id"].as_str().unwrap());
    let program = program(&ana, &first);
    program.get(ME).await.expect(200);
    ben.delete(&path).await.expect_problem(404, "not_found");
    program.get(ME).await.expect(200);
    ana.delete(&path).await.expect(204);
    program.get(ME).await.expect_problem(401, "unauthenticated");
    ana.delete(&path).await.expect_problem(404, "not_found");
    let nobody = app.anonymous();
    for reply in [
        nobody.get(KEYS).await,
        nobody.post_json(KEYS, json!({})).await,
        nobody.delete(&path).await,
    ] {
        reply.expect_problem(401, "unauthenticated");
    }
    app.finish().await;
}

#[tokio::test]
async fn a_key_ends_when_it_was_to_end() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let body = json!({ "name": "k", "scopes": ["read"], "expiresAt": "2026-01-02T04:04:35+01:00" });
    let created = ana.post_json(KEYS, body).await.expect(201);
    assert_eq!(created["expiresAt"], "2026-01-02T03:04:35Z");
    let program = program(&ana, &created);
    program.get(ME).await.expect(200);
    app.advance(Duration::from_secs(29)).await;
    program.get(ME).await.expect(200);
    app.advance(Duration::from_secs(1)).await;
    program.get(ME).await.expect_problem(401, "unauthenticated");
    assert_eq!(
        ana.get(KEYS).await.expect(200)["data"][0]["id"],
        created["id"],
        "its user sees that it ended"
    );
    app.finish().await;
}

#[tokio::test]
async fn every_bad_field_of_a_key_is_named() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let body = json!({ "name": "", "scopes": [], "expiresAt": "tomorrow", "key": "mine" });
    assert_eq!(
        ana.post_json(KEYS, body).await.expect_bad_fields(),
        ["/expiresAt", "/key", "/name", "/scopes"]
    );
    for (body, field) in [
        (json!({ "name": "k", "scopes": ["admin"] }), "/scopes"),
        (
            json!({ "name": "x".repeat(101), "scopes": ["read"] }),
            "/name",
        ),
        (
            json!({ "name": "k", "scopes": ["read"], "expiresAt": "2026-01-02T03:04:05Z" }),
            "/expiresAt",
        ),
    ] {
        assert_eq!(ana.post_json(KEYS, body).await.expect_bad_fields(), [field]);
    }
    app.finish().await;
}

#[tokio::test]
async fn a_user_has_fifty_keys_at_most_also_when_two_are_made_at_once() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    for _ in 0..49 {
        make(&ana, &["read"]).await;
    }
    // Whoever inserts a key waits for this transaction.
    let mut holder = app.database.pool().begin().await.unwrap();
    sqlx::query("LOCK TABLE api_keys IN SHARE ROW EXCLUSIVE MODE")
        .execute(&mut *holder)
        .await
        .unwrap();
    let release = async {
        eventually("both wait", || async {
            let sql = "SELECT count(*) FROM pg_stat_activity
                        WHERE datname = current_database() AND wait_event_type = 'Lock'";
            let waiting: i64 = sqlx::query_scalar(sql)
                .fetch_one(app.database.pool())
                .await
                .unwrap();
            waiting == 2
        })
        .await;
        holder.rollback().await.unwrap();
    };
    let body = || json!({ "name": "k", "scopes": ["read"] });
    let (one, other, ()) = tokio::join!(
        ana.post_json(KEYS, body()),
        ana.post_json(KEYS, body()),
        release
    );
    let mut replies = [one, other];
    replies.sort_by_key(|reply| reply.status);
    let [made, refused] = replies;
    made.expect(201);
    refused.expect_problem(409, "api_key_limit");

    let list = ana.get(KEYS).await.expect(200);
    let path = format!("{KEYS}/{}", list["data"][0]["id"].as_str().unwrap());
    ana.delete(&path).await.expect(204);
    make(&ana, &["read"]).await;
    app.finish().await;
}

/// Every operation with credentials, as its method and a path whose ids name nothing.
fn operations() -> Vec<(Method, String)> {
    let document = serde_json::to_value(api::document()).unwrap();
    let mut operations = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        let concrete: Vec<&str> = path
            .split('/')
            .map(|segment| {
                if segment.starts_with('{') {
                    "00000000-0000-7000-8000-000000000000"
                } else {
                    segment
                }
            })
            .collect();
        for (method, operation) in item.as_object().unwrap() {
            if operation["security"][0]["bearer"].is_array() {
                let method = method.to_uppercase().parse().unwrap();
                operations.push((method, concrete.join("/")));
            }
        }
    }
    operations
}

#[tokio::test]
async fn a_key_does_what_its_scopes_allow_on_every_route() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    // Nothing but scopes shall be in the way.
    sqlx::query("UPDATE users SET role = 'admin'")
        .execute(app.database.pool())
        .await
        .unwrap();
    let ana = app.login(&ana).await;
    let reader = program(&ana, &make(&ana, &["read"]).await);
    let writer = program(&ana, &make(&ana, &["write"]).await);
    let operations = operations();
    assert!(operations.len() > 15, "{operations:?}");
    for (method, path) in operations {
        let is_safe = method.is_safe();
        let (allowed, refused) = if is_safe {
            (&reader, &writer)
        } else {
            (&writer, &reader)
        };
        let body = json!({});
        let reply = refused
            .send(refused.request(method.clone(), &path).json(&body))
            .await;
        let problem: Value = serde_json::from_str(&reply.text).unwrap();
        // There problems are as OpenAI's clients read them.
        let problem = if path.starts_with("/v1/") {
            &problem["error"]
        } else {
            &problem
        };
        let code = problem["code"].as_str().unwrap_or_default();
        assert!(
            reply.status == 403 && matches!(code, "insufficient_scope" | "session_required"),
            "{method} {path}: {}",
            reply.text
        );
        // It is the scope that was missing, and nothing else.
        let request = allowed.request(method.clone(), &path).json(&body);
        let status = allowed.http.execute(request.build().unwrap()).await;
        let status = status.unwrap().status();
        assert_eq!(
            status == 403,
            code == "session_required",
            "{method} {path}: {status}, {code}"
        );
    }
    app.finish().await;
}

#[tokio::test]
async fn a_key_does_not_decide_over_credentials() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let key = make(&ana, &["read", "write"]).await;
    let program = program(&ana, &key);
    let sessions = "/api/v1/users/me/sessions";
    let session = ana.get(sessions).await.expect(200)["data"][0]["id"].clone();
    let id = |id: &Value| id.as_str().unwrap().to_owned();
    for (method, path) in [
        (Method::POST, KEYS.to_owned()),
        (Method::DELETE, format!("{KEYS}/{}", id(&key["id"]))),
        (Method::POST, format!("{ME}/password")),
        (Method::GET, sessions.to_owned()),
        (Method::DELETE, format!("{sessions}/{}", id(&session))),
        (Method::POST, "/api/v1/auth/logout".to_owned()),
        (Method::POST, "/api/v1/auth/logout-all".to_owned()),
    ] {
        let request = program.request(method, &path).json(&json!({}));
        program
            .send(request)
            .await
            .expect_problem(403, "session_required");
    }
    ana.get(ME).await.expect(200);
    program.get(ME).await.expect(200);
    ana.post("/api/v1/auth/logout-all").await.expect(204);
    program.get(ME).await.expect(200);
    app.finish().await;
}
