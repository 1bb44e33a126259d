//! Accounts.

use serde_json::json;
use tests::TestApp;

const REGISTER: &str = "/api/v1/auth/register";
const LOGIN: &str = "/api/v1/auth/login";
const ME: &str = "/api/v1/users/me";

#[tokio::test]
async fn registering_logs_in_and_the_token_opens_ones_own_account() {
    let app = TestApp::spawn().await;
    let mut ana = app.anonymous();
    let body =
        json!({ "email": "Ana@Example.com", "password": "correct horse", "displayName": "Ana" });

    let session = ana.post_json(REGISTER, body).await.expect(201);
    assert_eq!(session["user"]["email"], "ana@example.com");
    assert_eq!(session["user"]["displayName"], "Ana");
    assert_eq!(session["expiresIn"], 900);
    assert!(
        session["refreshToken"]
            .as_str()
            .unwrap()
            .starts_with("bcr_")
    );
    assert!(session["user"].get("passwordHash").is_none());

    ana.token = session["accessToken"].as_str().map(str::to_owned);
    assert_eq!(ana.get(ME).await.expect(200), session["user"]);
    app.finish().await;
}

#[tokio::test]
async fn an_address_has_one_account_whatever_its_case() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let again = json!({ "email": "ANA@example.com", "password": "another password" });
    ana.post_json(REGISTER, again)
        .await
        .expect_problem(409, "email_taken");
    app.finish().await;
}

#[tokio::test]
async fn logging_in_needs_the_right_password() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let login = |email: &str, password: &str| json!({ "email": email, "password": password });

    let session = ana
        .post_json(LOGIN, login("ana@example.com", "correct horse battery"))
        .await
        .expect(200);
    assert_eq!(session["user"]["email"], "ana@example.com");
    let wrong = ana
        .post_json(LOGIN, login("ana@example.com", "wrong horse battery"))
        .await;
    let wrong = wrong.expect_problem(401, "unauthenticated");
    let unknown = ana
        .post_json(LOGIN, login("nobody@example.com", "correct horse battery"))
        .await;
    let unknown = unknown.expect_problem(401, "unauthenticated");
    assert_eq!(
        wrong["detail"], unknown["detail"],
        "the answer tells who has an account"
    );
    app.finish().await;
}

#[tokio::test]
async fn an_access_token_lives_for_fifteen_minutes() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    app.advance(std::time::Duration::from_secs(15 * 60 - 1))
        .await;
    ana.get(ME).await.expect(200);
    app.advance(std::time::Duration::from_secs(1)).await;
    ana.get(ME).await.expect_problem(401, "unauthenticated");
    app.finish().await;
}

#[tokio::test]
async fn no_other_credentials_are_taken() {
    let app = TestApp::spawn().await;
    let mut nobody = app.anonymous();
    let reply = nobody.get(ME).await;
    assert_eq!(reply.headers["www-authenticate"], "Bearer");
    reply.expect_problem(401, "unauthenticated");
    for token in [
        "",
        "bca_",
        "bca_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "' OR 1=1 --",
    ] {
        nobody.token = Some(token.to_owned());
        nobody.get(ME).await.expect_problem(401, "unauthenticated");
    }
    let basic = nobody
        .http
        .get(format!("{}{ME}", nobody.base))
        .basic_auth("ana", Some("x"));
    nobody
        .send(basic)
        .await
        .expect_problem(401, "unauthenticated");
    app.finish().await;
}

#[tokio::test]
async fn every_bad_field_of_a_registration_is_named() {
    let app = TestApp::spawn().await;
    let nobody = app.anonymous();
    let body =
        json!({ "email": "nowhere", "password": "short", "displayName": "x", "role": "admin" });
    let fields = nobody.post_json(REGISTER, body).await.expect_bad_fields();
    assert_eq!(fields, ["/displayName", "/email", "/password", "/role"]);
    let fields = nobody
        .post_json(REGISTER, json!({}))
        .await
        .expect_bad_fields();
    assert_eq!(fields, ["/email", "/password"]);
    let body =
        json!({ "email": "a@example.com", "password": "long enough\u{0}", "displayName": null });
    assert_eq!(
        nobody.post_json(REGISTER, body).await.expect_bad_fields(),
        ["/password"]
    );
    app.finish().await;
}
