//! The part of the day with credentials, projects, conversations and documents.

use reqwest::Method;
use serde_json::{Value, json};
use tests::{
    Actor, Reply,
    pdf::{Page, pdf},
};

use super::{House, Marks};

/// Changes the password, refreshes, and makes a key, with which the day goes on; also in wrong ways.
pub(super) async fn credentials(marks: &mut Marks, ana: &Actor, password: &str) -> Actor {
    let mut ana = ana.clone();
    let login = json!({ "email": ana.email, "password": password });
    let login = ana.post_json("/api/v1/auth/login", login).await.expect(200);
    let refresh = "/api/v1/auth/refresh";
    let again = json!({ "refreshToken": marks.note("a refresh token", &login["refreshToken"]) });
    let session = ana.post_json(refresh, again.clone()).await.expect(200);
    marks.note("the next access token", &session["accessToken"]);
    marks.note("the next refresh token", &session["refreshToken"]);
    let unknown =
        json!({ "refreshToken": format!("bcr_{}", marks.make("an unknown refresh token")) });
    ana.post_json(refresh, unknown).await.expect(401);

    ana.token = session["accessToken"].as_str().map(str::to_owned);
    let change = "/api/v1/users/me/password";
    let wrong = json!({ "currentPassword": marks.make("a wrong present password"),
                        "newPassword": marks.make("a refused new password") });
    ana.post_json(change, wrong).await.expect(422);
    let right =
        json!({ "currentPassword": password, "newPassword": marks.make("the new password") });
    ana.post_json(change, right).await.expect(204);
    let key = json!({ "name": marks.make("the name of a key"), "scopes": ["read", "write"] });
    let key = ana.post_json("/api/v1/api-keys", key).await.expect(201);

    let mut program = ana.clone();
    program.token = Some(marks.note("an API key", &key["key"]));
    program.get("/api/v1/users/me").await.expect(200);
    program.get("/api/v1/users/me/sessions").await.expect(403);
    // Used twice: the login under it ends.
    ana.post_json(refresh, again).await.expect(401);
    ana.get("/api/v1/users/me").await.expect(401);
    program
}

/// Says marked things in every field that there is, and looks for them.
pub(super) async fn conversation(marks: &mut Marks, ana: &Actor) -> String {
    let project = json!({ "name": marks.make("the name of a project"),
                          "description": marks.make("the description of a project"),
                          "instructions": marks.make("the instructions of a project") });
    let project = post_once(marks, ana, "/api/v1/projects", &project).await;
    let project = project.expect(201);
    let talk = json!({ "title": marks.make("the title of a conversation"), "projectId": project["id"],
                       "systemPrompt": marks.make("a system prompt"), "model": marks.make("a model"),
                       "tags": [marks.make("a tag")] });
    let talk = post_once(marks, ana, "/api/v1/conversations", &talk).await;
    let talk = format!("/api/v1/conversations/{}", id(&talk.expect(201)));
    let messages = format!("{talk}/messages");
    let message =
        json!({ "content": marks.make("a message"), "clientId": marks.make("a client's id") });
    let message = post_once(marks, ana, &messages, &message).await.expect(201);
    let edited =
        json!({ "content": [{ "type": "text", "text": marks.make("an edited message") }] });
    let edit = format!("/api/v1/messages/{}/edit", id(&message));
    ana.post_json(&edit, edited).await.expect(201);
    let renamed = json!({ "title": marks.make("another title") });
    ana.patch_json(&talk, renamed).await.expect(200);

    // All that is wrong.
    let wrong =
        json!({ "content": 7, marks.make("a field of a message"): marks.make("its value") });
    ana.post_json(&messages, wrong).await.expect(422);
    let wrong = json!({ "title": format!("{}\0", marks.make("a title with U+0000")) });
    ana.patch_json(&talk, wrong).await.expect(422);
    let query = |text: String| format!("/api/v1/search?q={text}");
    ana.get(&query(marks.make("a search"))).await.expect(200);
    let cursor = format!("&cursor={}", marks.make("a cursor"));
    let refused = query(marks.make("a refused search")) + &cursor;
    ana.get(&refused).await.expect(400);
    messages
}

/// Uploads a document whose text is marked.
pub(super) async fn document(marks: &mut Marks, ana: &Actor) -> String {
    let text = marks.make("the text of a PDF");
    let name = format!("{}.pdf", marks.make("the name of a PDF"));
    let created = ana.upload(&name, pdf(&[Page::Text(text)]), &[]).await;
    format!(
        "/api/v1/attachments/{}",
        id(&created.expect(201)["attachment"])
    )
}

/// Lets the database refuse what is written: its errors quote the whole row.
pub(super) async fn break_inside(marks: &mut Marks, house: &House, ana: &Actor, messages: &str) {
    for statement in [
        "ALTER TABLE messages ADD CONSTRAINT narrow CHECK (size_bytes < 3) NOT VALID",
        "ALTER TABLE api_keys RENAME COLUMN scopes TO powers",
        "ALTER TABLE projects ADD CONSTRAINT narrow CHECK (length(name) < 3) NOT VALID",
    ] {
        let pool = house.app.database.pool();
        sqlx::query(statement).execute(pool).await.unwrap();
    }
    let message = json!({ "content": marks.make("a message that is not stored") });
    post_once(marks, ana, messages, &message).await.expect(500);
    let project = json!({ "name": marks.make("the name of a project that is not stored") });
    post_once(marks, ana, "/api/v1/projects", &project)
        .await
        .expect(500);
    // Unknown to the cache, so the broken table is asked.
    let mut program = ana.clone();
    program.token = Some(format!("bck_{}", marks.make("an unknown API key")));
    program.get("/api/v1/users/me").await.expect(500);
}

/// Sends a body under a marked `Idempotency-Key`.
async fn post_once(marks: &mut Marks, ana: &Actor, path: &str, body: &Value) -> Reply {
    let key = marks.make("an Idempotency-Key");
    let request = ana.request(Method::POST, path).json(body);
    ana.send(request.header("idempotency-key", key)).await
}

fn id(thing: &Value) -> &str {
    thing["id"].as_str().expect("an id")
}
