//! What every answer has in common.

use reqwest::Method;
use serde_json::json;
use tests::TestApp;

#[tokio::test]
async fn unknown_routes_and_methods_are_problems() {
    let app = TestApp::spawn().await;
    let nobody = app.anonymous();
    nobody
        .get("/api/v1/nothing")
        .await
        .expect_problem(404, "not_found");
    nobody
        .get("/api/v1/jobs/")
        .await
        .expect_problem(404, "not_found");
    for (method, path, allowed) in [
        ("PUT", "/api/v1/auth/login", "POST"),
        ("GET", "/api/v1/auth/login", "POST"),
        ("OPTIONS", "/api/v1/auth/login", "POST"),
        ("TRACE", "/api/v1/users/me", "GET,HEAD,PATCH,DELETE"),
        ("BREW", "/api/v1/webhooks", "POST,GET,HEAD"),
        ("POST", "/api/health", "GET,HEAD"),
    ] {
        let method = method.parse().unwrap();
        let reply = nobody.send(nobody.request(method, path)).await;
        assert_eq!(reply.headers["allow"], allowed, "{path}");
        reply.expect_problem(405, "method_not_allowed");
    }
    app.finish().await;
}

#[tokio::test]
async fn head_answers_like_get_without_a_body() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    for path in [
        "/api/v1/users/me",
        "/api/v1/webhooks",
        "/api/v1/nothing",
        "/api/health/live",
        "/api/docs/",
        "/api/openapi.json",
    ] {
        let get = ana.get(path).await;
        let head = ana.send(ana.request(Method::HEAD, path)).await;
        assert_eq!(head.status, get.status, "{path}");
        assert_eq!(head.text, "", "{path}");
        for name in ["content-type", "content-length", "etag"] {
            assert_eq!(
                head.headers.get(name),
                get.headers.get(name),
                "{path}: {name}"
            );
        }
    }
    app.finish().await;
}

#[tokio::test]
async fn a_body_that_is_no_json_is_told_so() {
    let app = TestApp::spawn().await;
    let nobody = app.anonymous();
    let request = nobody.request(Method::POST, "/api/v1/auth/login");
    let broken = request
        .try_clone()
        .unwrap()
        .header("content-type", "application/json")
        .body("{\"email\":");
    nobody
        .send(broken)
        .await
        .expect_problem(400, "malformed_request");
    let no_text = request
        .try_clone()
        .unwrap()
        .header("content-type", "application/json")
        .body(vec![0xff, 0xfe]);
    nobody
        .send(no_text)
        .await
        .expect_problem(400, "malformed_request");
    let other = request.header("content-type", "text/plain").body("hello");
    nobody
        .send(other)
        .await
        .expect_problem(415, "unsupported_media_type");
    app.finish().await;
}

#[tokio::test]
async fn a_sane_request_id_is_kept_and_another_replaced() {
    let app = TestApp::spawn().await;
    let nobody = app.anonymous();
    let with_id = |id: &str| {
        nobody
            .request(Method::GET, "/api/health/live")
            .header("x-request-id", id)
    };
    let kept = nobody.send(with_id("my-request.1")).await;
    assert_eq!(kept.headers["x-request-id"], "my-request.1");
    let made = nobody.send(with_id("not sane {}")).await;
    let made = made.headers["x-request-id"].to_str().unwrap();
    assert!(made.parse::<uuid::Uuid>().is_ok(), "{made}");
    app.finish().await;
}

#[tokio::test]
async fn health_tells_of_both_servers() {
    let app = TestApp::spawn().await;
    let nobody = app.anonymous();
    tests::eventually("redis is connected", || async {
        nobody.get("/api/health").await.expect(200)["status"] == "healthy"
    })
    .await;
    let health = nobody.get("/api/health").await.expect(200);
    assert_eq!(health["services"]["database"]["status"], "healthy");
    assert_eq!(health["services"]["redis"]["status"], "healthy");
    for field in ["timestamp", "uptime", "version"] {
        assert!(!health[field].is_null(), "{field} is missing in {health}");
    }
    assert_eq!(nobody.get("/api/health/live").await.status, 200);
    assert_eq!(nobody.get("/api/health/ready").await.status, 200);
    app.finish().await;
}

#[tokio::test]
async fn the_documents_are_served() {
    let app = TestApp::spawn().await;
    let nobody = app.anonymous();
    let document = nobody.get("/api/openapi.json").await.expect(200);
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    let page = nobody.get("/api/docs/").await;
    assert_eq!(page.status, 200);
    assert!(page.text.contains("swagger-ui"));
    app.finish().await;
}

#[tokio::test]
async fn a_json_body_over_the_limit_is_refused() {
    let app = TestApp::spawn().await;
    let nobody = app.anonymous();
    let body = json!({ "email": "x".repeat(300_000), "password": "x" });
    nobody
        .post_json("/api/v1/auth/login", body)
        .await
        .expect_problem(413, "payload_too_large");
    app.finish().await;
}
