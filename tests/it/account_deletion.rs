//! Deleting one's account: who may, and what happens at once.

use reqwest::Method;
use serde_json::{Value, json};
use shared::{ids::UserId, models::user};
use tests::{Actor, Reply, TestApp, eventually, fakes::receiver::Receiver, picture};

use crate::{
    chat::{app, ledger},
    chat_streams::halting,
    downloads::path_of,
    limits::limited,
    sessions::{log_in, refresh, warm, with},
};

const ME: &str = "/api/v1/users/me";
const WEBHOOKS: &str = "/api/v1/webhooks";
pub(crate) const PASSWORD: &str = "correct horse battery";

/// Deletes somebody's account, or tries to.
pub(crate) async fn delete(user: &Actor, password: &str) -> Reply {
    let body = json!({ "password": password });
    user.send(user.request(Method::DELETE, ME).json(&body))
        .await
}

/// The same person with a key instead of a login.
async fn program(user: &Actor) -> Actor {
    let body = json!({ "name": "bot", "scopes": ["read", "write"] });
    let key = user.post_json("/api/v1/api-keys", body).await.expect(201);
    Actor {
        token: key["key"].as_str().map(str::to_owned),
        ..user.clone()
    }
}

#[tokio::test]
async fn a_deleted_account_is_gone_at_once_and_its_address_free() {
    let app = TestApp::spawn().await;
    let (ana, ben) = (app.user("ana").await, app.user("ben").await);
    let session = log_in(&ana).await;
    let (there, program) = (with(&ana, &session), program(&ana).await);
    let id = app.id_of(&ana).await;
    ana.conversation("Plans").await;
    let scan = ana.upload("a.png", picture("english-scan.png"), &[]).await;
    let url = path_of(&scan.expect(201)["attachment"]["url"]);
    assert_eq!(app.anonymous().get(&url).await.status, 200);
    for actor in [&there, &program] {
        warm(&app, actor).await;
    }

    let wrong = delete(&ana, "a wrong password").await;
    assert_eq!(wrong.expect_bad_fields(), ["/password"]);
    let request = ana.request(Method::DELETE, ME).json(&json!({}));
    assert_eq!(ana.send(request).await.expect_bad_fields(), ["/password"]);
    let body = json!({ "password": PASSWORD });
    let stale = ana.request(Method::DELETE, ME).json(&body);
    ana.send(stale.header("if-match", "\"99\""))
        .await
        .expect_problem(412, "precondition_failed");
    ana.get(ME).await.expect(200);

    delete(&ana, PASSWORD).await.expect(204);
    for actor in [&ana, &there, &program] {
        actor.get(ME).await.expect_problem(401, "unauthenticated");
    }
    delete(&ana, PASSWORD)
        .await
        .expect_problem(401, "unauthenticated");
    refresh(&ana, &session)
        .await
        .expect_problem(401, "unauthenticated");
    let login = json!({ "email": ana.email, "password": PASSWORD });
    ana.post_json("/api/v1/auth/login", login)
        .await
        .expect_problem(401, "unauthenticated");
    app.anonymous()
        .get(&url)
        .await
        .expect_problem(404, "not_found");
    let found = user::find(&app.context.db, id).await.unwrap();
    assert!(found.is_none(), "no finder knows of it");

    let again = app.user("ana").await;
    let me = again.get(ME).await.expect(200);
    assert_ne!(me["id"], json!(id));
    let conversations = again.get("/api/v1/conversations").await.expect(200);
    assert_eq!(conversations["data"], json!([]));
    ben.get(ME).await.expect(200);
    app.run_jobs().await;
    let again = app.login(&again).await;
    assert_eq!(again.get(ME).await.expect(200)["id"], me["id"]);
    app.finish().await;
}

#[tokio::test]
async fn only_who_is_logged_in_deletes_an_account() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    delete(&program(&ana).await, PASSWORD)
        .await
        .expect_problem(403, "session_required");
    delete(&app.anonymous(), PASSWORD)
        .await
        .expect_problem(401, "unauthenticated");
    ana.get(ME).await.expect(200);
    app.finish().await;
}

#[tokio::test]
async fn guesses_of_the_password_are_limited_like_those_of_a_change() {
    let app = TestApp::with(limited("2/15m", None)).await;
    let ana = app.user("ana").await;
    let change = json!({ "currentPassword": "a wrong password", "newPassword": PASSWORD });
    ana.post_json("/api/v1/users/me/password", change)
        .await
        .expect_problem(422, "invalid_request");
    delete(&ana, "a wrong password")
        .await
        .expect_problem(422, "invalid_request");
    delete(&ana, PASSWORD)
        .await
        .expect_problem(429, "too_many_requests");
    ana.get(ME).await.expect(200);
    app.finish().await;
}

#[tokio::test]
async fn an_administrator_stays() {
    let app = TestApp::spawn().await;
    let (root, ben) = (app.user("root").await, app.user("ben").await);
    let root = app.promote(&root).await;
    delete(&root, PASSWORD)
        .await
        .expect_problem(409, "last_admin");

    // One who may not act is none.
    let ben = app.promote(&ben).await;
    let suspend = |status: &'static str| {
        sqlx::query("UPDATE users SET status = $1 WHERE email = 'ben@example.com'")
            .bind(status)
            .execute(app.database.pool())
    };
    suspend("suspended").await.unwrap();
    delete(&root, PASSWORD)
        .await
        .expect_problem(409, "last_admin");
    suspend("active").await.unwrap();

    let (one, other) = tokio::join!(delete(&root, PASSWORD), delete(&ben, PASSWORD));
    let mut statuses = [one.status.as_u16(), other.status.as_u16()];
    statuses.sort_unstable();
    assert_eq!(statuses, [204, 409], "{} {}", one.text, other.text);
    app.run_jobs().await;
    app.finish().await;
}

#[tokio::test]
async fn administrators_are_told_and_nobody_else() {
    let app = TestApp::spawn().await;
    let root = app.user("root").await;
    let root = app.promote(&root).await;
    let (ana, ben) = (app.user("ana").await, app.user("ben").await);
    let (roots, anas, bens) = (
        Receiver::start().await,
        Receiver::start().await,
        Receiver::start().await,
    );
    let all = json!({ "url": roots.url(), "events": ["user.deleted"], "scope": "all" });
    root.post_json(WEBHOOKS, all).await.expect(201);
    for (actor, receiver) in [(&ana, &anas), (&ben, &bens)] {
        let own = json!({ "url": receiver.url(), "events": ["*"], "schedule": "short" });
        actor.post_json(WEBHOOKS, own).await.expect(201);
    }
    let id: UserId = app.id_of(&ana).await;
    // It waits when the account goes, and is not sent then.
    ana.conversation("Plans").await;

    delete(&ana, PASSWORD).await.expect(204);
    app.run_jobs().await;
    let told = roots.bodies().await;
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(told[0]["type"], "user.deleted");
    assert_eq!(told[0]["data"], json!({ "userId": id }));
    assert!(anas.requests().await.is_empty());
    assert!(bens.requests().await.is_empty());
    let root = app.login(&root).await;
    let events = root
        .get("/api/v1/events?scope=all&type=user.deleted")
        .await
        .expect(200);
    assert_eq!(events["data"][0]["data"], json!({ "userId": id }));
    app.finish().await;
}

#[tokio::test]
async fn an_answer_that_is_being_made_stops_and_is_accounted_for() {
    let provider = halting(&["One ", "two "], &["three"]).await;
    let (app, ana) = app(&provider).await;
    let id = app.id_of(&ana).await;
    let body = json!({ "message": "Count", "model": "gpt-4o-mini" });
    let mut stream = ana.stream(body).await;
    for _ in 0..3 {
        stream.next().await.unwrap();
    }
    delete(&ana, PASSWORD).await.expect(204);
    eventually("the provider is left", async || provider.open() == 0).await;
    stream.rest().await;
    eventually("it is accounted for", async || {
        !ledger(&app).await.is_empty()
    })
    .await;
    app.run_jobs().await;
    let rows = ledger(&app).await;
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0]["outcome"], "cancelled");
    assert_eq!(rows[0]["user_id"], json!(id), "money stays somebody's");
    assert!(rows[0]["cost_microusd"].as_i64().unwrap() > 0);
    app.finish().await;
}

/// Answers a request that waits while the account of `user` is deleted.
async fn deleted_meanwhile(
    app: &TestApp,
    user: &Actor,
    request: impl Future<Output = Reply>,
) -> Reply {
    let id = app.id_of(user).await;
    let mut tx = app.begin().await;
    let row = user::get_for_update(&mut tx, id).await.unwrap();
    row.delete(&mut tx, app.clock.now()).await.unwrap();
    let deleted = async {
        app.database.somebody_waits().await;
        tx.commit().await.unwrap();
    };
    let (reply, ()) = tokio::join!(request, deleted);
    reply
}

/// A login that has found the account when it is deleted begins no more.
#[tokio::test]
async fn no_login_begins_while_an_account_is_deleted() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let login = json!({ "email": ana.email, "password": PASSWORD });
    let login = ana.post_json("/api/v1/auth/login", login);
    let reply = deleted_meanwhile(&app, &ana, login).await;
    let problem: Value = reply.expect_problem(401, "unauthenticated");
    assert!(problem["detail"].as_str().unwrap().contains("password"));
    app.run_jobs().await;
    app.finish().await;
}

#[tokio::test]
async fn nothing_is_made_or_changed_while_an_account_is_deleted() {
    let app = TestApp::spawn().await;
    let (ana, ben, eve, kim) = (
        app.user("ana").await,
        app.user("ben").await,
        app.user("eve").await,
        app.user("kim").await,
    );
    deleted_meanwhile(&app, &ana, delete(&ana, PASSWORD))
        .await
        .expect_problem(401, "unauthenticated");

    let body = json!({ "url": "http://127.0.0.1:9/", "events": ["*"] });
    deleted_meanwhile(&app, &ben, ben.post_json(WEBHOOKS, body))
        .await
        .expect_problem(404, "not_found");

    let webhook = eve.webhook("http://127.0.0.1:9/").await;
    let path = format!("{WEBHOOKS}/{}", webhook["id"].as_str().unwrap());
    let change = eve.patch_json(&path, json!({ "isActive": true }));
    deleted_meanwhile(&app, &eve, change)
        .await
        .expect_problem(404, "not_found");

    let conversation = kim.conversation("Plans").await;
    let path = format!("/api/v1/conversations/{conversation}/exports");
    let export = kim.post_json(&path, json!({ "format": "markdown" }));
    deleted_meanwhile(&app, &kim, export)
        .await
        .expect_problem(404, "not_found");
    app.run_jobs().await;
    app.finish().await;
}
