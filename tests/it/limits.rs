//! Limits on tries to log in, and whose address they count.

use std::time::Duration;

use api::config::ApiArgs;
use reqwest::Method;
use serde_json::{Value, json};
use tests::{Actor, Options, Reply, TestApp};

pub(crate) const LOGIN: &str = "/api/v1/auth/login";
pub(crate) const REGISTER: &str = "/api/v1/auth/register";
const REFRESH: &str = "/api/v1/auth/refresh";
pub(crate) const PASSWORD: &str = "correct horse battery";

pub(crate) fn limited(rate: &str, trusted_proxies: Option<&str>) -> Options {
    Options {
        api: ApiArgs {
            rate_limit_auth: Some(rate.to_owned()),
            trusted_proxies: trusted_proxies.map(str::to_owned),
            ..ApiArgs::default()
        },
        ..Options::default()
    }
}

/// Posts as a client behind a proxy.
async fn post_from(actor: &Actor, address: &str, path: &str, body: Value) -> Reply {
    let request = actor
        .request(Method::POST, path)
        .header("x-forwarded-for", address)
        .json(&body);
    actor.send(request).await
}

pub(crate) async fn log_in_from(
    actor: &Actor,
    address: &str,
    email: &str,
    password: &str,
) -> Reply {
    let body = json!({ "email": email, "password": password });
    post_from(actor, address, LOGIN, body).await
}

pub(crate) async fn redis_keys(app: &TestApp) -> Vec<String> {
    let client = redis::Client::open(app.redis_url.as_str()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    redis::cmd("KEYS")
        .arg(format!("{}rl:*", app.prefix))
        .query_async(&mut connection)
        .await
        .unwrap()
}

#[tokio::test]
async fn an_address_may_fail_five_times_in_any_quarter_of_an_hour() {
    let app = TestApp::with(limited("5/15m", Some("loopback"))).await;
    let ana = app.user("ana").await;
    let nobody = app.anonymous();
    for number in 0..5 {
        let email = format!("someone{number}@example.com");
        log_in_from(&nobody, "198.51.100.1", &email, "a wrong password")
            .await
            .expect_problem(401, "unauthenticated");
        app.advance(Duration::from_mins(1)).await;
    }
    let reply = log_in_from(&nobody, "198.51.100.1", &ana.email, PASSWORD).await;
    let headers = reply.headers.clone();
    let problem = reply.expect_problem(429, "too_many_requests");
    assert_eq!(problem["retryAfter"], 600);
    assert_eq!(headers["retry-after"], "600");
    assert_eq!(
        headers["ratelimit-policy"],
        "\"login-address\";q=5;w=900, \"login-account\";q=5;w=900"
    );
    assert_eq!(headers["ratelimit"], "\"login-address\";r=0;t=600");
    log_in_from(&nobody, "198.51.100.2", &ana.email, PASSWORD)
        .await
        .expect(200);

    app.advance(Duration::from_secs(599)).await;
    log_in_from(&nobody, "198.51.100.1", &ana.email, PASSWORD)
        .await
        .expect_problem(429, "too_many_requests");
    app.advance(Duration::from_secs(1)).await;
    log_in_from(&nobody, "198.51.100.1", &ana.email, PASSWORD)
        .await
        .expect(200);
    let keys = redis_keys(&app).await;
    assert!(
        keys.iter().any(|key| key.contains("rl:login-address:")),
        "{keys:?}"
    );
    assert!(!keys.concat().contains("example.com"), "{keys:?}");
    app.finish().await;
}

#[tokio::test]
async fn an_account_is_tried_five_times_from_all_addresses_together() {
    let app = TestApp::with(limited("5/15m", Some("loopback"))).await;
    let nobody = app.anonymous();
    let register = json!({ "email": "ana@example.com", "password": PASSWORD });
    post_from(&nobody, "198.51.100.99", REGISTER, register)
        .await
        .expect(201);
    // Whether or not there is such an account.
    for email in ["ana@example.com", "nobody@example.com"] {
        for number in 0..5 {
            let address = format!("2001:db8:0:{number}::1");
            log_in_from(&nobody, &address, email, "a wrong password")
                .await
                .expect_problem(401, "unauthenticated");
        }
        let reply = log_in_from(&nobody, "203.0.113.7", &email.to_uppercase(), PASSWORD).await;
        assert_eq!(reply.headers["ratelimit"], "\"login-account\";r=0;t=900");
        reply.expect_problem(429, "too_many_requests");
    }
    // Its owner is let in from where they are logged in, and has five tries of their own.
    for _ in 0..5 {
        log_in_from(
            &nobody,
            "198.51.100.99",
            "ana@example.com",
            "a wrong password",
        )
        .await
        .expect_problem(401, "unauthenticated");
    }
    log_in_from(&nobody, "198.51.100.99", "ana@example.com", PASSWORD)
        .await
        .expect_problem(429, "too_many_requests");
    app.advance(Duration::from_mins(15)).await;
    log_in_from(&nobody, "203.0.113.7", "ana@example.com", PASSWORD)
        .await
        .expect(200);
    app.finish().await;
}

#[tokio::test]
async fn who_succeeds_is_not_counted() {
    let app = TestApp::with(limited("2/15m", None)).await;
    let ana = app.user("ana").await;
    let body = json!({ "email": ana.email, "password": PASSWORD });
    for _ in 0..6 {
        ana.post_json(LOGIN, body.clone()).await.expect(200);
    }
    assert!(
        redis_keys(&app)
            .await
            .iter()
            .all(|key| !key.contains("rl:login"))
    );
    app.finish().await;
}

#[tokio::test]
async fn tries_at_the_same_time_are_counted_each() {
    let app = TestApp::with(limited("5/15m", None)).await;
    let nobody = app.anonymous();
    let replies = futures::future::join_all((0..20).map(|number| {
        let email = format!("someone{number}@example.com");
        nobody.post_json(
            LOGIN,
            json!({ "email": email, "password": "a wrong password" }),
        )
    }))
    .await;
    let tried = replies.iter().filter(|reply| reply.status == 401).count();
    assert_eq!(tried, 5);
    app.finish().await;
}

#[tokio::test]
async fn registrations_count_and_what_is_no_try_does_not() {
    let app = TestApp::with(limited("3/15m", None)).await;
    let nobody = app.anonymous();
    for _ in 0..5 {
        nobody
            .post_json(REGISTER, json!({ "email": "x" }))
            .await
            .expect_problem(422, "invalid_request");
    }
    for (name, status) in [("ana", 201), ("ana", 409), ("ben", 201), ("cid", 429)] {
        let body = json!({ "email": format!("{name}@example.com"), "password": PASSWORD });
        let reply = nobody.post_json(REGISTER, body).await;
        assert_eq!(reply.status, status, "{}", reply.text);
    }
    app.finish().await;
}

#[tokio::test]
async fn bad_refreshes_are_limited_and_good_ones_pass() {
    let app = TestApp::with(limited("2/15m", None)).await;
    let ana = app.user("ana").await;
    let login = json!({ "email": ana.email, "password": PASSWORD });
    let session = ana.post_json(LOGIN, login).await.expect(200);
    let refresh = |token: &Value| ana.post_json(REFRESH, json!({ "refreshToken": token }));
    let unknown = json!("bcr_unknown");
    for _ in 0..2 {
        refresh(&unknown)
            .await
            .expect_problem(401, "unauthenticated");
    }
    refresh(&unknown)
        .await
        .expect_problem(429, "too_many_requests");
    let next = refresh(&session["refreshToken"]).await.expect(200);
    refresh(&session["refreshToken"])
        .await
        .expect_problem(401, "refresh_token_reused");
    refresh(&next["refreshToken"])
        .await
        .expect_problem(429, "too_many_requests");
    app.finish().await;
}

#[tokio::test]
async fn changes_of_a_password_are_limited() {
    let app = TestApp::with(limited("2/15m", None)).await;
    let ana = app.user("ana").await;
    let change = |current: &str| {
        ana.post_json(
            "/api/v1/users/me/password",
            json!({ "currentPassword": current, "newPassword": PASSWORD }),
        )
    };
    for replayed in [false, true, true, true] {
        let body = json!({ "currentPassword": PASSWORD, "newPassword": PASSWORD });
        let request = ana.request(Method::POST, "/api/v1/users/me/password");
        let request = request.header("idempotency-key", "k").json(&body);
        let reply = ana.send(request).await;
        assert_eq!(reply.headers.contains_key("idempotent-replayed"), replayed);
        reply.expect(204);
    }
    change("a wrong password")
        .await
        .expect_problem(422, "invalid_request");
    change(PASSWORD)
        .await
        .expect_problem(429, "too_many_requests");
    app.advance(Duration::from_mins(15)).await;
    let ana = app.login(&ana).await;
    ana.get("/api/v1/users/me").await.expect(200);
    app.finish().await;
}

#[tokio::test]
async fn a_client_does_not_choose_its_address() {
    let app = TestApp::with(limited("2/15m", None)).await;
    let nobody = app.anonymous();
    for number in 0..2 {
        let (address, email) = (
            format!("198.51.100.{number}"),
            format!("someone{number}@example.com"),
        );
        log_in_from(&nobody, &address, &email, "a wrong password")
            .await
            .expect_problem(401, "unauthenticated");
    }
    log_in_from(&nobody, "203.0.113.7", "x@example.com", "a wrong password")
        .await
        .expect_problem(429, "too_many_requests");
    app.finish().await;

    // Behind a proxy, what the proxy added counts, and not what came with the request.
    let app = TestApp::with(limited("2/15m", Some("127.0.0.1"))).await;
    let ana = app.user("ana").await;
    let login = ana
        .request(Method::POST, LOGIN)
        .header("x-forwarded-for", "10.1.1.1, 203.0.113.7")
        .json(&json!({ "email": ana.email, "password": PASSWORD }));
    let session = ana.send(login).await.expect(200);
    let mut here = ana.clone();
    here.token = session["accessToken"].as_str().map(str::to_owned);
    let list = here.get("/api/v1/users/me/sessions").await.expect(200);
    assert_eq!(list["data"][0]["ip"], "203.0.113.0");
    app.finish().await;
}
