//! Pages of other origins: which may use the API, and what the others are told.

use api::config::{ApiArgs, Args};
use reqwest::{Method, header::HeaderMap};
use shared::config::CommonArgs;
use tests::{Options, TestApp};

const APP: &str = "https://app.example.com";

async fn spawn_with_origins(origins: &str) -> TestApp {
    let api = ApiArgs {
        cors_origins: Some(origins.to_owned()),
        ..ApiArgs::default()
    };
    TestApp::with(Options {
        api,
        ..Options::default()
    })
    .await
}

async fn preflight(app: &TestApp, origin: &str, path: &str) -> (u16, HeaderMap) {
    let nobody = app.anonymous();
    let request = nobody
        .request(Method::OPTIONS, path)
        .header("origin", origin)
        .header("access-control-request-method", "PATCH")
        .header("access-control-request-headers", "authorization,if-match");
    let reply = nobody.send(request).await;
    assert_eq!(reply.text, "");
    (reply.status.as_u16(), reply.headers)
}

#[tokio::test]
async fn a_page_of_a_listed_origin_may_use_the_api() {
    let app = spawn_with_origins(&format!("http://localhost:3000, {APP}")).await;
    let (status, headers) = preflight(&app, APP, "/api/v1/users/me").await;
    assert_eq!(status, 204);
    assert_eq!(headers["access-control-allow-origin"], APP);
    assert_eq!(headers["access-control-allow-credentials"], "true");
    assert_eq!(headers["access-control-max-age"], "7200");
    assert_eq!(headers["vary"], "Origin");
    let listed = |name: &str, values: &[&str]| {
        let list = headers[name].to_str().unwrap();
        let list: Vec<&str> = list.split(", ").collect();
        for value in values {
            assert!(list.contains(value), "{name} has no {value}");
        }
    };
    let methods = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"];
    listed("access-control-allow-methods", &methods);
    let asked = [
        "authorization",
        "content-type",
        "idempotency-key",
        "if-match",
        "last-event-id",
        // Of OpenAI's client in Firefox, which lets pages say it.
        "user-agent",
    ];
    listed("access-control-allow-headers", &asked);

    let ana = app.user("ana").await;
    for (path, status) in [("/api/v1/users/me", 200), ("/api/v1/nothing", 404)] {
        let request = ana.request(Method::GET, path).header("origin", APP);
        let reply = ana.send(request).await;
        assert_eq!(reply.status, status);
        assert_eq!(reply.headers["access-control-allow-origin"], APP);
        assert_eq!(reply.headers["access-control-allow-credentials"], "true");
        assert_eq!(reply.headers["vary"], "Origin");
        let exposed = reply.headers["access-control-expose-headers"]
            .to_str()
            .unwrap();
        for name in [
            "x-request-id",
            "etag",
            "retry-after",
            "content-range",
            "link",
        ] {
            assert!(
                exposed.split(", ").any(|one| one == name),
                "{name} is hidden"
            );
        }
    }
    app.finish().await;
}

#[tokio::test]
async fn a_page_of_another_origin_is_told_nothing() {
    let app = spawn_with_origins(APP).await;
    for origin in [
        "https://evil.example.com",
        "https://app.example.com.evil.org",
        "http://app.example.com",
        "https://app.example.com:8443",
        "HTTPS://APP.EXAMPLE.COM",
        "null",
    ] {
        let (status, headers) = preflight(&app, origin, "/api/v1/users/me").await;
        assert_eq!(status, 204, "{origin}");
        let told = |headers: &HeaderMap| {
            let mut names = headers.keys();
            names.any(|name| name.as_str().starts_with("access-control-"))
        };
        assert!(!told(&headers), "{origin}: {headers:?}");
        assert_eq!(headers["vary"], "Origin");
        let nobody = app.anonymous();
        let request = nobody
            .request(Method::GET, "/api/health/live")
            .header("origin", origin);
        let reply = nobody.send(request).await;
        assert!(!told(&reply.headers), "{origin}");
        assert_eq!(reply.headers["vary"], "Origin", "for caches");
    }
    app.finish().await;
}

#[test]
fn every_bad_origin_is_named_at_start() {
    let args = Args {
        common: CommonArgs::default(),
        api: ApiArgs {
            cors_origins: Some(format!("{APP}/, *, {APP}, null, app.example.com")),
            ..ApiArgs::default()
        },
        command: None,
    };
    let told = args.check().unwrap_err().to_string();
    let told: Vec<&str> = told
        .lines()
        .filter(|line| line.contains("CORS_ORIGINS"))
        .collect();
    assert_eq!(told.len(), 4, "{told:?}");
    for bad in [
        "\"https://app.example.com/\" is not how",
        "\"*\"",
        "\"null\"",
        "\"app.example.com\"",
    ] {
        assert!(
            told.iter().any(|line| line.contains(bad)),
            "{bad} is missing in {told:?}"
        );
    }
}

#[tokio::test]
async fn without_origins_no_page_is_shared_with() {
    let app = TestApp::spawn().await;
    let nobody = app.anonymous();
    let request = nobody
        .request(Method::OPTIONS, "/api/v1/users/me")
        .header("origin", APP)
        .header("access-control-request-method", "GET");
    let reply = nobody.send(request).await;
    assert_eq!(reply.headers["allow"], "GET,HEAD,PATCH,DELETE");
    for name in [
        "access-control-allow-origin",
        "access-control-allow-methods",
        "vary",
    ] {
        assert!(!reply.headers.contains_key(name), "{name}");
    }
    reply.expect_problem(405, "method_not_allowed");
    app.finish().await;
}
