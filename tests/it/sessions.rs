//! Logins: ending, and what is remembered of them.

use std::time::Duration;

use api::config::ApiArgs;
use reqwest::Method;
use serde_json::{Value, json};
use shared::models::user::{self, Status};
use tests::{Actor, Options, Reply, TestApp, eventually, process::RedisServer};

pub(crate) const REFRESH: &str = "/api/v1/auth/refresh";
const LOGIN: &str = "/api/v1/auth/login";
const LOGOUT: &str = "/api/v1/auth/logout";
pub(crate) const ME: &str = "/api/v1/users/me";
const SESSIONS: &str = "/api/v1/users/me/sessions";
const PASSWORD: &str = "correct horse battery";

/// A login of somebody who has an account: their session as it was answered.
pub(crate) async fn log_in(actor: &Actor) -> Value {
    let body = json!({ "email": actor.email, "password": PASSWORD });
    actor.post_json(LOGIN, body).await.expect(200)
}

pub(crate) async fn refresh(actor: &Actor, session: &Value) -> Reply {
    let body = json!({ "refreshToken": session["refreshToken"] });
    actor.post_json(REFRESH, body).await
}

pub(crate) fn with(actor: &Actor, session: &Value) -> Actor {
    Actor {
        token: session["accessToken"].as_str().map(str::to_owned),
        ..actor.clone()
    }
}

pub(crate) async fn count_sessions(actor: &Actor) -> usize {
    let list = actor.get(SESSIONS).await.expect(200);
    list["data"].as_array().unwrap().len()
}

/// What is cached of logins, as text.
async fn cached(app: &TestApp) -> Vec<(String, String, i64)> {
    let client = redis::Client::open(app.redis_url.as_str()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let pattern = format!("{}cache:session:*", app.prefix);
    let keys: Vec<String> = redis::cmd("KEYS")
        .arg(pattern)
        .query_async(&mut connection)
        .await
        .unwrap();
    let mut entries = Vec::new();
    for key in keys {
        let (entry, lifetime): (Option<String>, i64) = redis::pipe()
            .cmd("GET")
            .arg(&key)
            .cmd("TTL")
            .arg(&key)
            .query_async(&mut connection)
            .await
            .unwrap();
        entries.extend(entry.map(|entry| (key, entry, lifetime)));
    }
    entries
}

/// Uses a login until it is cached.
pub(crate) async fn warm(app: &TestApp, actor: &Actor) {
    let before = cached(app).await.len();
    eventually("the login is cached", || async {
        actor.get(ME).await.expect(200);
        cached(app).await.len() > before
    })
    .await;
}

async fn change_status(app: &TestApp, email: &str, status: Status) {
    let mut tx = app.begin().await;
    let user = user::find_by_email(tx.orm(), email).await.unwrap().unwrap();
    user.change_status(&mut tx, status, app.clock.now())
        .await
        .unwrap();
    tx.commit().await.unwrap();
}

#[tokio::test]
async fn logging_out_ends_this_login_at_once_and_no_other() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let session = log_in(&ana).await;
    let here = with(&ana, &session);
    warm(&app, &here).await;
    assert_eq!(here.post(LOGOUT).await.expect(204), Value::Null);
    here.get(ME).await.expect_problem(401, "unauthenticated");
    here.post(LOGOUT)
        .await
        .expect_problem(401, "unauthenticated");
    refresh(&ana, &session)
        .await
        .expect_problem(401, "unauthenticated");
    ana.get(ME).await.expect(200);
    app.anonymous()
        .post(LOGOUT)
        .await
        .expect_problem(401, "unauthenticated");
    app.finish().await;
}

#[tokio::test]
async fn logging_out_everywhere_ends_all_of_ones_own_logins() {
    let app = TestApp::spawn().await;
    let (ana, ben) = (app.user("ana").await, app.user("ben").await);
    let session = log_in(&ana).await;
    let there = with(&ana, &session);
    warm(&app, &there).await;
    ana.post("/api/v1/auth/logout-all").await.expect(204);
    for actor in [&ana, &there] {
        actor.get(ME).await.expect_problem(401, "unauthenticated");
    }
    refresh(&ana, &session)
        .await
        .expect_problem(401, "unauthenticated");
    ben.get(ME).await.expect(200);
    assert_eq!(count_sessions(&app.login(&ana).await).await, 1);
    app.anonymous()
        .post("/api/v1/auth/logout-all")
        .await
        .expect_problem(401, "unauthenticated");
    app.finish().await;
}

#[tokio::test]
async fn logins_are_listed_and_ended_by_their_user_only() {
    let app = TestApp::spawn().await;
    let (ana, ben) = (app.user("ana").await, app.user("ben").await);
    app.advance(Duration::from_secs(10)).await;
    let login = ana
        .request(Method::POST, LOGIN)
        .header("user-agent", "A phone")
        .json(&json!({ "email": ana.email, "password": PASSWORD }));
    let phone = with(&ana, &ana.send(login).await.expect(200));
    app.advance(Duration::from_secs(59)).await;
    let list = phone.get(SESSIONS).await.expect(200);
    let first = &list["data"][0];
    assert_eq!(first["current"], true);
    assert_eq!(list["data"][1]["current"], false);
    assert_eq!(first["userAgent"], "A phone");
    assert_eq!(first["ip"], "127.0.0.0");
    assert_eq!(first["createdAt"], "2026-01-02T03:04:15Z");
    assert_eq!(first["lastUsedAt"], first["createdAt"]);
    let fields: Vec<&String> = first.as_object().unwrap().keys().collect();
    assert_eq!(
        fields,
        [
            "createdAt",
            "current",
            "id",
            "ip",
            "lastUsedAt",
            "userAgent"
        ]
    );
    app.advance(Duration::from_secs(61)).await;
    eventually("the use is noted", || async {
        phone.get(SESSIONS).await.expect(200)["data"][0]["lastUsedAt"] == "2026-01-02T03:06:15Z"
    })
    .await;

    let page = phone.get(&format!("{SESSIONS}?limit=1")).await.expect(200);
    assert_eq!(page["pagination"]["hasMore"], true);
    let cursor = page["pagination"]["nextCursor"].as_str().unwrap();
    let page = phone
        .get(&format!("{SESSIONS}?limit=1&cursor={cursor}"))
        .await
        .expect(200);
    assert_eq!(page["data"][0]["id"], list["data"][1]["id"]);
    assert_eq!(page["pagination"]["hasMore"], false);

    let path = format!("{SESSIONS}/{}", first["id"].as_str().unwrap());
    ben.delete(&path).await.expect_problem(404, "not_found");
    phone.get(ME).await.expect(200);
    ana.delete(&path).await.expect(204);
    phone.get(ME).await.expect_problem(401, "unauthenticated");
    ana.delete(&path).await.expect_problem(404, "not_found");
    assert_eq!(count_sessions(&ana).await, 1);
    let nobody = app.anonymous();
    nobody
        .get(SESSIONS)
        .await
        .expect_problem(401, "unauthenticated");
    nobody
        .delete(&path)
        .await
        .expect_problem(401, "unauthenticated");
    assert_eq!(
        ana.get(&format!("{SESSIONS}?limit=0&x=1"))
            .await
            .expect_bad_fields(),
        ["/limit", "/x"]
    );
    ana.get(&format!("{SESSIONS}?cursor=x"))
        .await
        .expect_problem(400, "malformed_request");
    app.finish().await;
}

#[tokio::test]
async fn addresses_are_kept_as_the_operator_wants() {
    for (log_ip, shown) in [("full", json!("127.0.0.1")), ("off", Value::Null)] {
        let app = TestApp::with(Options {
            api: ApiArgs {
                log_ip: Some(log_ip.to_owned()),
                ..ApiArgs::default()
            },
            ..Options::default()
        })
        .await;
        let ana = app.user("ana").await;
        let list = ana.get(SESSIONS).await.expect(200);
        assert_eq!(list["data"][0]["ip"], shown);
        app.finish().await;
    }
}

#[tokio::test]
async fn a_known_login_is_answered_without_postgres_for_a_minute() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let token = ana.token.clone().unwrap();
    warm(&app, &ana).await;
    let entries = cached(&app).await;
    let [(key, entry, lifetime)] = entries.as_slice() else {
        panic!("{entries:?}");
    };
    assert!(!key.contains(&token) && !entry.contains(&token[4..]));
    assert!((1..=900).contains(lifetime), "{lifetime}");

    // Behind everybody's back.
    sqlx::query("DELETE FROM sessions")
        .execute(app.database.pool())
        .await
        .unwrap();
    ana.get(ME).await.expect(200);
    app.advance(Duration::from_secs(59)).await;
    ana.get(ME).await.expect(200);
    app.advance(Duration::from_secs(1)).await;
    ana.get(ME).await.expect_problem(401, "unauthenticated");
    app.finish().await;
}

#[tokio::test]
async fn logins_outlive_what_redis_forgets_and_its_absence() {
    let mut redis = RedisServer::start().await;
    let app = TestApp::with(Options {
        redis_url: Some(redis.url()),
        ..Options::default()
    })
    .await;
    let ana = app.user("ana").await;
    warm(&app, &ana).await;
    redis.stop().await;
    redis.restart().await;
    ana.get(ME).await.expect(200);

    redis.stop().await;
    let session = log_in(&ana).await;
    let next = refresh(&ana, &session).await.expect(200);
    with(&ana, &session)
        .get(ME)
        .await
        .expect_problem(401, "unauthenticated");
    let here = with(&ana, &next);
    here.get(ME).await.expect(200);
    here.post(LOGOUT).await.expect(204);
    here.get(ME).await.expect_problem(401, "unauthenticated");
    refresh(&ana, &session)
        .await
        .expect_problem(401, "unauthenticated");
    change_status(&app, &ana.email, Status::Suspended).await;
    ana.get(ME).await.expect_problem(403, "suspended");
    app.finish().await;
}

#[tokio::test]
async fn a_suspended_account_may_do_nothing_at_once() {
    let app = TestApp::spawn().await;
    let (ana, ben) = (app.user("ana").await, app.user("ben").await);
    let session = log_in(&ana).await;
    let here = with(&ana, &session);
    let key = here
        .post_json(
            "/api/v1/api-keys",
            json!({ "name": "k", "scopes": ["read"] }),
        )
        .await
        .expect(201);
    let program = with(&ana, &json!({ "accessToken": key["key"] }));
    warm(&app, &program).await;
    let login = |password: &str| json!({ "email": ana.email, "password": password });

    change_status(&app, &ana.email, Status::Suspended).await;
    for actor in [&here, &program, &here] {
        actor.get(ME).await.expect_problem(403, "suspended");
        actor
            .get("/api/v1/jobs")
            .await
            .expect_problem(403, "suspended");
    }
    here.post(LOGOUT).await.expect_problem(403, "suspended");
    refresh(&ana, &session)
        .await
        .expect_problem(403, "suspended");
    ana.post_json(LOGIN, login(PASSWORD))
        .await
        .expect_problem(403, "suspended");
    ana.post_json(LOGIN, login("another password"))
        .await
        .expect_problem(401, "unauthenticated");
    ben.get(ME).await.expect(200);

    change_status(&app, &ana.email, Status::Active).await;
    here.get(ME).await.expect(200);
    program.get(ME).await.expect(200);
    refresh(&ana, &session).await.expect(200);
    app.finish().await;
}
