//! What browsers are told: headers of every answer, and the documentation.

use api::config::ApiArgs;
use reqwest::{Method, header::HeaderMap};
use tests::{Actor, Options, TestApp, picture};

const NOTHING_RUNS: &str = "default-src 'none'; frame-ancestors 'none'";

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
    let api = ApiArgs {
        public_url: Some("https://api.example.com".to_owned()),
        ..ApiArgs::default()
    };
    let app = TestApp::with(Options {
        api,
        ..Options::default()
    })
    .await;
    for path in ["/api/health/live", "/nothing", "/api/docs/"] {
        let (_, headers) = headers(&app.anonymous(), Method::GET, path).await;
        let hsts = "max-age=63072000; includeSubDomains";
        assert_eq!(headers["strict-transport-security"], hsts, "{path}");
    }
    app.finish().await;
}

#[tokio::test]
async fn browsers_are_held_to_tls_where_a_trusted_proxy_has_it() {
    for (trusted, scheme, is_held) in [
        ("loopback", "https", true),
        ("loopback", "http", false),
        ("10.0.0.0/8", "https", false),
    ] {
        let api = ApiArgs {
            trusted_proxies: Some(trusted.to_owned()),
            ..ApiArgs::default()
        };
        let app = TestApp::with(Options {
            api,
            ..Options::default()
        })
        .await;
        let request = app
            .anonymous()
            .request(Method::GET, "/api/health/live")
            .header("x-forwarded-proto", scheme);
        let answer = request.send().await.expect("the API answers");
        assert_eq!(
            answer.headers().contains_key("strict-transport-security"),
            is_held,
            "{scheme} from a proxy, where {trusted} is trusted"
        );
        app.finish().await;
    }
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
