//! Accounts.

use reqwest::Method;
use serde_json::{Value, json};
use tests::{Actor, Reply, TestApp, fakes::receiver::Receiver};

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

async fn patch(actor: &Actor, path: &str, body: Value) -> Reply {
    actor
        .send(actor.request(Method::PATCH, path).json(&body))
        .await
}

#[tokio::test]
async fn a_new_account_is_like_this() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let me = ana.get(ME).await.expect(200);
    insta::assert_json_snapshot!(me, { ".id" => "[id]" }, @r#"
    {
      "avatarUrl": null,
      "createdAt": "2026-01-02T03:04:05Z",
      "displayName": "ana",
      "email": "ana@example.com",
      "id": "[id]",
      "isVerified": false,
      "presenceSharing": "everyone",
      "readReceiptsEnabled": true,
      "role": "user",
      "status": "active",
      "tier": "free",
      "updatedAt": "2026-01-02T03:04:05Z",
      "version": 1
    }
    "#);
    app.finish().await;
}

#[tokio::test]
async fn a_profile_is_changed_field_by_field() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let avatar = "http://127.0.0.1:9/ana.png";
    let reply = patch(&ana, ME, json!({ "avatarUrl": avatar })).await;
    assert_eq!(reply.headers["etag"], "\"2\"");
    let me = reply.expect(200);
    assert_eq!(
        (&me["avatarUrl"], &me["displayName"]),
        (&json!(avatar), &json!("ana"))
    );
    let me = patch(&ana, ME, json!({ "displayName": " Ana B. " }))
        .await
        .expect(200);
    assert_eq!(
        (&me["avatarUrl"], &me["displayName"]),
        (&json!(avatar), &json!("Ana B."))
    );
    let me = patch(&ana, ME, json!({ "avatarUrl": null }))
        .await
        .expect(200);
    assert_eq!(
        (&me["avatarUrl"], &me["version"]),
        (&Value::Null, &json!(4))
    );
    assert_eq!(ana.get(ME).await.expect(200), me);

    let stale = ana
        .request(Method::PATCH, ME)
        .header("if-match", "\"3\"")
        .json(&json!({ "displayName": "Anna" }));
    ana.send(stale)
        .await
        .expect_problem(412, "precondition_failed");
    let repeated = async || {
        let request = ana
            .request(Method::PATCH, ME)
            .header("idempotency-key", "k")
            .header("if-match", "\"4\"")
            .json(&json!({ "displayName": "Anna" }));
        ana.send(request).await.expect(200)
    };
    assert_eq!(repeated().await, repeated().await);
    app.finish().await;
}

#[tokio::test]
async fn privacy_is_changed_field_by_field() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let path = "/api/v1/users/me/privacy";
    for sharing in ["friends", "nobody", "everyone", "friends"] {
        let me = patch(&ana, path, json!({ "presenceSharing": sharing }))
            .await
            .expect(200);
        assert_eq!(me["presenceSharing"], sharing);
        assert_eq!(me["readReceiptsEnabled"], true);
    }
    let me = patch(&ana, path, json!({ "readReceiptsEnabled": false }))
        .await
        .expect(200);
    assert_eq!(me["presenceSharing"], "friends");
    assert_eq!(
        (&me["readReceiptsEnabled"], &me["version"]),
        (&json!(false), &json!(6))
    );
    assert_eq!(ana.get(ME).await.expect(200), me);
    let stale = ana
        .request(Method::PATCH, path)
        .header("if-match", "\"1\"")
        .json(&json!({ "readReceiptsEnabled": true }));
    ana.send(stale)
        .await
        .expect_problem(412, "precondition_failed");
    app.finish().await;
}

#[tokio::test]
async fn what_cannot_be_changed_is_named() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let privacy = "/api/v1/users/me/privacy";
    for (path, body, fields) in [
        (ME, json!({}), vec![""]),
        (privacy, json!({}), vec![""]),
        (
            ME,
            json!({ "displayName": null, "role": "admin", "tier": "pro" }),
            vec!["/displayName", "/role", "/tier"],
        ),
        (
            ME,
            json!({ "displayName": "x", "avatarUrl": "nowhere" }),
            vec!["/avatarUrl", "/displayName"],
        ),
        (
            privacy,
            json!({ "presenceSharing": "some", "readReceiptsEnabled": null }),
            vec!["/presenceSharing", "/readReceiptsEnabled"],
        ),
    ] {
        let found = patch(&ana, path, body.clone()).await.expect_bad_fields();
        assert_eq!(found, fields, "{body}");
    }
    let private = json!({ "avatarUrl": "https://10.0.0.1/ana.png" });
    let refused = patch(&ana, ME, private).await.expect(422);
    assert_ne!(refused["code"], "invalid_request");
    for path in [ME, privacy] {
        patch(&app.anonymous(), path, json!({}))
            .await
            .expect_problem(401, "unauthenticated");
    }
    assert_eq!(ana.get(ME).await.expect(200)["version"], 1);
    app.finish().await;
}

#[tokio::test]
async fn a_change_of_an_account_is_an_event() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let receiver = Receiver::start().await;
    let hook = json!({ "url": receiver.url(), "events": ["user.updated"] });
    ana.post_json("/api/v1/webhooks", hook).await.expect(201);
    patch(&ana, ME, json!({ "displayName": "Anna" }))
        .await
        .expect(200);
    patch(
        &ana,
        "/api/v1/users/me/privacy",
        json!({ "presenceSharing": "nobody" }),
    )
    .await
    .expect(200);
    app.run_jobs().await;
    let mut told: Vec<Value> = receiver
        .requests()
        .await
        .iter()
        .map(|request| serde_json::from_slice(&request.body).unwrap())
        .collect();
    told.sort_by_key(|event| event["data"]["version"].as_i64());
    assert_eq!(told.len(), 2);
    assert_eq!(told[0]["data"]["displayName"], "Anna");
    assert_eq!(told[1]["data"]["presenceSharing"], "nobody");
    assert!(told[0]["data"].get("email").is_none(), "{}", told[0]);
    app.finish().await;
}

#[tokio::test]
async fn another_password_ends_the_other_logins() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let there = app.login(&ana).await;
    let path = "/api/v1/users/me/password";
    let change =
        |current: &str, new: &str| json!({ "currentPassword": current, "newPassword": new });
    there.get(ME).await.expect(200);

    let wrong = change("a wrong password", "staple of another kind");
    assert_eq!(
        ana.post_json(path, wrong).await.expect_bad_fields(),
        ["/currentPassword"]
    );
    assert_eq!(
        ana.post_json(path, change("correct horse battery", "short"))
            .await
            .expect_bad_fields(),
        ["/newPassword"]
    );
    there.get(ME).await.expect(200);

    let body = change("correct horse battery", "staple of another kind");
    let stale = ana.request(Method::POST, path).json(&body);
    ana.send(stale.header("if-match", "\"99\""))
        .await
        .expect_problem(412, "precondition_failed");
    for replayed in [false, true] {
        let request = ana
            .request(Method::POST, path)
            .header("idempotency-key", "k")
            .json(&body);
        let reply = ana.send(request).await;
        assert_eq!(reply.headers.contains_key("idempotent-replayed"), replayed);
        reply.expect(204);
    }
    ana.get(ME).await.expect(200);
    there.get(ME).await.expect_problem(401, "unauthenticated");
    let login = |password: &str| json!({ "email": ana.email, "password": password });
    ana.post_json(LOGIN, login("correct horse battery"))
        .await
        .expect_problem(401, "unauthenticated");
    ana.post_json(LOGIN, login("staple of another kind"))
        .await
        .expect(200);
    app.anonymous()
        .post_json(path, body)
        .await
        .expect_problem(401, "unauthenticated");
    app.finish().await;
}

#[tokio::test]
async fn no_login_begins_under_a_password_that_is_being_changed() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let mut changing = app.database.pool().begin().await.unwrap();
    sqlx::query("UPDATE users SET password_hash = 'another'")
        .execute(&mut *changing)
        .await
        .unwrap();
    let login = json!({ "email": ana.email, "password": "correct horse battery" });
    let changed = async {
        app.database.somebody_waits().await;
        changing.commit().await.unwrap();
    };
    let (reply, ()) = tokio::join!(ana.post_json(LOGIN, login), changed);
    reply.expect_problem(401, "unauthenticated");
    app.finish().await;
}
