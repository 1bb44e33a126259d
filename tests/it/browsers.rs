//! What browsers are told: headers of every answer, pages of other origins, the documentation.

use api::config::{ApiArgs, Args};
use reqwest::{Method, header::HeaderMap};
use shared::config::CommonArgs;
use tests::{Actor, Options, TestApp, picture};

const APP: &str = "https://app.example.com";
const NOTHING_RUNS: &str = "default-src 'none'; frame-ancestors 'none'";

async fn spawn_with(api: ApiArgs) -> TestApp {
    TestApp::with(Options {
        api,
        ..Options::default()
    })
    .await
}

async fn spawn_with_origins(origins: &str) -> TestApp {
    spawn_with(ApiArgs {
        cors_origins: Some(origins.to_owned()),
        ..ApiArgs::default()
    })
    .await
}

/// The headers of an answer, without waiting for its body.
async fn headers(actor: &Actor, method: Method, path: &str) -> (u16, HeaderMap) {
    let request = actor.request(method, path);
    let response = request.send().await.expect("the API answers");
    (response.status().as_u16(), response.headers().clone())
}

#[track_caller]
fn expect_hardened(path: &str, headers: &HeaderMap) {
    for (name, value) in [
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
        ("x-xss-protection", "1; mode=block"),
        ("referrer-policy", "strict-origin-when-cross-origin"),
    ] {
        assert_eq!(headers[name], value, "{path}");
        assert_eq!(headers.get_all(name).iter().count(), 1, "{path}: {name}");
    }
    let policy = headers["permissions-policy"].to_str().unwrap();
    for feature in [
        "camera=()",
        "microphone=()",
        "geolocation=()",
        "payment=()",
        "usb=()",
    ] {
        assert!(policy.contains(feature), "{path}: {policy}");
    }
    for name in [
        "server",
        "x-powered-by",
        "access-control-allow-origin",
        "vary",
    ] {
        assert!(!headers.contains_key(name), "{path} tells its {name}");
    }
    assert!(headers.contains_key("x-request-id"), "{path}");
    assert!(headers.contains_key("cache-control"), "{path}");
}

#[tokio::test]
async fn every_answer_has_the_security_headers() {
    let app = TestApp::spawn().await;
    let (ana, nobody) = (app.user("ana").await, app.anonymous());
    let uploaded = ana
        .upload("scan.png", picture("english-scan.png"), &[])
        .await
        .expect(201);
    let events = format!(
        "/api/v1/jobs/{}/events",
        uploaded["job"]["id"].as_str().unwrap()
    );
    let content = uploaded["attachment"]["url"].as_str().unwrap();
    let content = content
        .split_once("/api/")
        .map(|(_, path)| format!("/api/{path}"))
        .unwrap();

    for (actor, method, path, status, policy, caching) in [
        (
            &ana,
            Method::GET,
            "/api/v1/users/me",
            200,
            NOTHING_RUNS,
            "no-store",
        ),
        (
            &nobody,
            Method::GET,
            "/api/v1/users/me",
            401,
            NOTHING_RUNS,
            "no-store",
        ),
        (
            &nobody,
            Method::GET,
            "/api/v1/nothing",
            404,
            NOTHING_RUNS,
            "no-store",
        ),
        (
            &nobody,
            Method::PUT,
            "/api/v1/auth/login",
            405,
            NOTHING_RUNS,
            "no-store",
        ),
        (
            &nobody,
            Method::OPTIONS,
            "/api/v1/auth/login",
            405,
            NOTHING_RUNS,
            "no-store",
        ),
        (
            &nobody,
            Method::POST,
            "/api/v1/auth/login",
            415,
            NOTHING_RUNS,
            "no-store",
        ),
        (
            &nobody,
            Method::GET,
            "/api/health",
            200,
            NOTHING_RUNS,
            "no-store",
        ),
        (&ana, Method::GET, &events, 200, NOTHING_RUNS, "no-cache"),
        (
            &nobody,
            Method::GET,
            &content,
            200,
            "sandbox; default-src 'none'",
            "private, max-age=3600",
        ),
    ] {
        let (answered, headers) = headers(actor, method, path).await;
        assert_eq!(answered, status, "{path}");
        expect_hardened(path, &headers);
        assert_eq!(headers["content-security-policy"], policy, "{path}");
        assert_eq!(headers["cache-control"], caching, "{path}");
        assert!(!headers.contains_key("strict-transport-security"), "{path}");
    }

    app.run_jobs().await;
    let gone = "ALTER TABLE webhooks RENAME TO webhooks_of_old";
    sqlx::query(gone)
        .execute(app.database.pool())
        .await
        .unwrap();
    let (status, headers) = headers(&ana, Method::GET, "/api/v1/webhooks").await;
    assert_eq!(status, 500);
    expect_hardened("a 500", &headers);
    app.finish().await;
}

#[tokio::test]
async fn browsers_are_held_to_tls_where_the_public_url_has_it() {
    let app = spawn_with(ApiArgs {
        public_url: Some("https://api.example.com".to_owned()),
        ..ApiArgs::default()
    })
    .await;
    for path in ["/api/health/live", "/nothing", "/api/docs/"] {
        let (_, headers) = headers(&app.anonymous(), Method::GET, path).await;
        let hsts = "max-age=63072000; includeSubDomains";
        assert_eq!(headers["strict-transport-security"], hsts, "{path}");
    }
    app.finish().await;
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
    assert_eq!(reply.headers["allow"], "GET,HEAD");
    expect_hardened("a preflight", &reply.headers);
    reply.expect_problem(405, "method_not_allowed");
    app.finish().await;
}

#[tokio::test]
async fn the_documentation_needs_nothing_from_elsewhere() {
    let app = TestApp::spawn().await;
    let nobody = app.anonymous();
    let page = nobody.get("/api/docs/").await;
    let policy = page.headers["content-security-policy"].to_str().unwrap();
    for part in [
        "default-src 'self'",
        "script-src 'self';",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data:",
        "connect-src 'self'",
        "frame-ancestors 'none'",
    ] {
        assert!(policy.contains(part), "{policy}");
    }
    expect_hardened("/api/docs/", &page.headers);

    // No script stands in the page, and every file of it is ours.
    let html = page.text;
    for script in html.split("<script").skip(1) {
        let (tag, rest) = script.split_once('>').unwrap();
        assert!(tag.contains("src="), "an inline script: {script}");
        assert!(
            rest.trim_start().starts_with("</script>"),
            "an inline script: {script}"
        );
    }
    assert!(
        !html.contains(" on") && !html.contains("javascript:"),
        "{html}"
    );
    let mut files = 0;
    for part in html
        .split(['"', '\''])
        .filter(|part| part.starts_with("./") || *part == "index.css")
    {
        files += 1;
        let file = nobody.get(&format!("/api/docs/{part}")).await;
        assert_eq!(file.status, 200, "{part}");
        expect_hardened(part, &file.headers);
    }
    assert!(files >= 5, "{html}");
    let start = nobody.get("/api/docs/swagger-initializer.js").await.text;
    assert!(start.contains(r#""url": "/api/openapi.json""#), "{start}");
    assert!(start.contains(r#""validatorUrl": "none""#), "{start}");
    assert!(!start.contains("http"), "{start}");

    nobody
        .get("/api/docs/nothing.js")
        .await
        .expect_problem(404, "not_found");
    let root = nobody.get("/").await;
    assert_eq!(root.status, 200, "it leads to the documentation");
    assert!(root.text.contains("swagger-ui"));
    app.finish().await;
}
