//! Nobody sees what isn't theirs: every operation of the running API's document, asked for by everybody.

mod things;

use std::time::Duration;

use reqwest::{Method, StatusCode, header::HeaderMap};
use serde_json::Value;
use tests::{Actor, Options, TestApp};

use self::things::{Operation, Thing, operations, things};

/// No thing has come so far.
const STALE: &str = "\"2147483647\"";

/// What was answered; the body of a stream is not waited for.
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    text: String,
}

impl Answer {
    /// Without what differs between two answers to the same question.
    fn comparable(&self) -> (StatusCode, Value) {
        let mut body: Value = serde_json::from_str(&self.text).unwrap_or_default();
        body["requestId"] = Value::Null;
        (self.status, body)
    }
}

async fn ask(
    actor: &Actor,
    operation: &Operation,
    path: &str,
    header: Option<(&str, &str)>,
) -> Answer {
    let path = format!("{path}?{}", operation.query);
    let request = actor.request(operation.method.clone(), &path);
    let mut request = request.timeout(Duration::from_secs(30));
    if let Some(body) = &operation.body {
        request = request.json(body);
    }
    if let Some((name, value)) = header {
        request = request.header(name, value);
    }
    let response = request.send().await.expect("the API answers");
    let (status, headers) = (response.status(), response.headers().clone());
    let is_stream = headers
        .get("content-type")
        .is_some_and(|kind| kind == "text/event-stream");
    let text = if is_stream {
        String::new()
    } else {
        response.text().await.expect("a readable answer")
    };
    Answer {
        status,
        headers,
        text,
    }
}

/// Nobody but the owner gets more than a refusal, and it is the same where there is nothing.
async fn refuse(things: &[Thing], who: &str, caller: &Actor) {
    for Thing {
        operation,
        path,
        ids,
    } in things
    {
        let answer = ask(caller, operation, path, None).await;
        let name = &operation.name;
        assert!(
            matches!(answer.status.as_u16(), 401 | 403 | 404),
            "{who} gets {} from {name}: {}",
            answer.status,
            answer.text
        );
        let nowhere = ids.iter().fold(path.clone(), |path, id| {
            path.replace(id, &uuid::Uuid::new_v4().to_string())
        });
        let nothing = ask(caller, operation, &nowhere, None).await;
        assert_eq!(
            answer.comparable(),
            nothing.comparable(),
            "{who} can tell from {name} that the thing is there"
        );
    }
}

/// The owner is served, after all those who were not.
async fn serve(things: &[Thing], owner: &Actor) {
    for Thing {
        operation, path, ..
    } in things.iter().filter(|thing| thing.operation.is_private)
    {
        let answer = ask(owner, operation, path, None).await;
        let status = answer.status;
        assert!(
            status.is_success() || matches!(status.as_u16(), 302 | 303 | 307 | 409),
            "{} answers its owner {status}: {}",
            operation.name,
            answer.text
        );
    }
}

/// The jobs that the things brought are not what is tested.
async fn finish(app: TestApp) {
    app.forget_jobs().await;
    app.finish().await;
}

/// A product in which somebody answers.
async fn product() -> TestApp {
    TestApp::with(Options {
        environment: Some("development".to_owned()),
        ..Options::default()
    })
    .await
}

#[tokio::test]
async fn only_its_owner_gets_at_a_thing() {
    let app = product().await;
    let ana = app.user("ana").await;
    let stranger = |token: &str| Actor {
        token: Some(token.to_owned()),
        ..app.anonymous()
    };
    let things = things(&app, &ana).await;

    refuse(&things, "another user", &app.user("ben").await).await;
    refuse(&things, "somebody without credentials", &app.anonymous()).await;
    refuse(
        &things,
        "somebody with an unknown token",
        &stranger("bca_unknown"),
    )
    .await;
    let key = serde_json::json!({ "name": "bot", "scopes": ["read", "write"] });
    let key = ana.post_json("/api/v1/api-keys", key).await.expect(201);
    let path = format!("/api/v1/api-keys/{}", key["id"].as_str().unwrap());
    ana.delete(&path).await.expect(204);
    let token = key["key"].as_str().unwrap();
    refuse(&things, "the owner's revoked key", &stranger(token)).await;
    let logged_out = app.login(&ana).await;
    logged_out.post("/api/v1/auth/logout").await.expect(204);
    refuse(&things, "the owner, logged out", &logged_out).await;

    serve(&things, &ana).await;
    finish(app).await;
}

#[tokio::test]
async fn a_suspended_owner_gets_at_nothing() {
    let app = product().await;
    let eve = app.user("eve").await;
    let things = things(&app, &eve).await;
    sqlx::query("UPDATE users SET status = 'suspended'")
        .execute(app.database.pool())
        .await
        .unwrap();
    // No session is believed for longer than this without a look at the account.
    app.advance(Duration::from_secs(61)).await;
    refuse(&things, "the suspended owner", &eve).await;
    finish(app).await;
}

#[tokio::test]
async fn no_list_shows_what_is_anothers() {
    let app = product().await;
    let (ana, ben) = (app.user("ana").await, app.user("ben").await);
    let things = things(&app, &ana).await;
    let is_private_get = |one: &Operation| {
        one.is_private
            && one.method == Method::GET
            && !one.template.contains('{')
            && !one.template.contains("/admin/")
    };
    for operation in operations(&app)
        .await
        .iter()
        .filter(|one| is_private_get(one))
    {
        let name = &operation.name;
        let answer = ask(&ben, operation, &operation.template, None).await;
        assert_eq!(answer.status, 200, "{name}: {}", answer.text);
        for id in things.iter().flat_map(|thing| &thing.ids) {
            assert!(
                !answer.text.contains(id),
                "{name} shows ben what is ana's: {}",
                answer.text
            );
        }
        if operation.is_list {
            let own = ask(&ana, operation, &operation.template, None).await;
            let own: Value = serde_json::from_str(&own.text).unwrap();
            let rows = own["data"].as_array().map(Vec::len);
            assert!(
                rows > Some(0),
                "{name} shows ana nothing either, so this proves nothing"
            );
        }
    }
    finish(app).await;
}

#[tokio::test]
async fn every_private_operation_asks_for_credentials_first() {
    let app = product().await;
    let nobody = app.anonymous();
    let id = uuid::Uuid::new_v4().to_string();
    for operation in operations(&app).await.iter().filter(|one| one.is_private) {
        let parts = operation.template.split('/');
        let path: Vec<&str> = parts
            .map(|part| {
                if part.starts_with('{') {
                    id.as_str()
                } else {
                    part
                }
            })
            .collect();
        let reply = nobody.request(operation.method.clone(), &path.join("/"));
        let reply = nobody.send(reply).await;
        assert_eq!(reply.status, 401, "{}: {}", operation.name, reply.text);
        assert_eq!(reply.headers["www-authenticate"], "Bearer");
        if operation.template.starts_with("/v1/") {
            let error = &reply.expect(401)["error"];
            assert_eq!(error["code"], "invalid_api_key", "{}", operation.name);
        } else {
            reply.expect_problem(401, "unauthenticated");
        }
    }
    app.finish().await;
}

#[tokio::test]
async fn every_thing_with_a_version_keeps_to_it() {
    let app = product().await;
    let ana = app.user("ana").await;
    let mut tried = 0;
    for Thing {
        operation, path, ..
    } in &things(&app, &ana).await
    {
        let (name, has) = (&operation.name, |parameter: &str| {
            operation.parameters.iter().any(|one| one == parameter)
        });
        if has("If-Match") {
            tried += 1;
            let answer = ask(&ana, operation, path, Some(("if-match", STALE))).await;
            assert_eq!(answer.status, 412, "{name}: {}", answer.text);
        }
        if operation.is_private && has("If-None-Match") {
            tried += 1;
            let answer = ask(&ana, operation, path, None).await;
            let tag = answer
                .headers
                .get("etag")
                .unwrap_or_else(|| panic!("{name} has no ETag"));
            let tag = tag.to_str().unwrap();
            let answer = ask(&ana, operation, path, Some(("if-none-match", tag))).await;
            assert_eq!(
                (answer.status.as_u16(), answer.text.as_str()),
                (304, ""),
                "{name}"
            );
        }
    }
    assert!(tried > 1, "nothing has a version");
    finish(app).await;
}
