//! The operations of the API's document, and a thing for each that names one.

use reqwest::Method;
use serde_json::Value;
use tests::{Actor, TestApp, picture};

/// An operation, as the document describes it.
#[derive(Clone)]
pub(super) struct Operation {
    pub(super) name: String,
    pub(super) method: Method,
    pub(super) template: String,
    pub(super) is_private: bool,
    pub(super) is_list: bool,
    pub(super) parameters: Vec<String>,
    pub(super) query: String,
    pub(super) body: Option<Value>,
}

/// A thing of somebody, and an operation on it.
pub(super) struct Thing {
    pub(super) operation: Operation,
    pub(super) path: String,
    pub(super) ids: Vec<String>,
}

/// Makes what the last `{…}` of `template` names, below the things of `path`, for its owner.
async fn make(app: &TestApp, owner: &Actor, template: &str, path: &str) -> String {
    let made = match template {
        "/api/v1/attachments/{id}" => upload(owner).await["attachment"]["id"].clone(),
        "/api/v1/attachments/{id}/variants/{variantId}" => {
            let body = serde_json::json!({ "format": "png" });
            owner.post_json(path, body).await.expect(202)["variant"]["id"].clone()
        }
        "/api/v1/api-keys/{id}" => {
            let body = serde_json::json!({ "name": "bot", "scopes": ["read"] });
            owner.post_json("/api/v1/api-keys", body).await.expect(201)["id"].clone()
        }
        "/api/v1/conversations/{id}" => owner.conversation("Plans").await.into(),
        "/api/v1/messages/{id}" => {
            let conversation = owner.conversation("Plans").await;
            owner.say(&conversation, "किताबें").await["id"].clone()
        }
        "/api/v1/chat/streams/{messageId}" => {
            let body = serde_json::json!({ "message": "Hi" });
            owner.chat(body).await.expect(200)["message"]["id"].clone()
        }
        "/api/v1/exports/{id}" => {
            let conversation = owner.conversation("Plans").await;
            let exports = format!("/api/v1/conversations/{conversation}/exports");
            let body = serde_json::json!({ "format": "json" });
            let made = owner.post_json(&exports, body).await.expect(202);
            made["export"]["id"].clone()
        }
        "/api/v1/projects/{id}" => {
            let body = serde_json::json!({ "name": "Thesis" });
            owner.post_json("/api/v1/projects", body).await.expect(201)["id"].clone()
        }
        "/api/v1/users/me/sessions/{id}" => {
            app.login(owner).await;
            newest(owner, path).await
        }
        "/api/v1/jobs/{id}" => upload(owner).await["job"]["id"].clone(),
        "/api/v1/events/{id}" => newest(owner, path).await,
        "/api/v1/notifications/{id}" => {
            app.trouble(owner).await;
            newest(owner, path).await
        }
        "/api/v1/webhooks/{id}/deliveries/{deliveryId}" => {
            app.ocr_completed(owner, "text").await;
            newest(owner, path).await
        }
        "/api/v1/webhooks/{id}/recoveries/{recoveryId}" => {
            let body = serde_json::json!({ "since": app.clock.now() });
            let recover = path.replace("/recoveries", "/recover");
            let begun = owner.post_json(&recover, body).await.expect(202);
            begun["recovery"]["id"].clone()
        }
        "/api/v1/webhooks/{id}" => owner.webhook("http://127.0.0.1:9/").await["id"].clone(),
        _ => panic!(
            "{template}: say here how to make one below {path} of {}",
            app.base
        ),
    };
    made.as_str().expect("an id").to_owned()
}

/// The id of the first row of a list.
async fn newest(owner: &Actor, path: &str) -> Value {
    owner.get(path).await.expect(200)["data"][0]["id"].clone()
}

async fn upload(owner: &Actor) -> Value {
    let scan = picture("english-scan.png");
    owner.upload("scan.png", scan, &[]).await.expect(201)
}

/// Reads the document that the API serves.
pub(super) async fn operations(app: &TestApp) -> Vec<Operation> {
    let document = app.anonymous().get("/api/openapi.json").await.expect(200);
    let at = |value: &Value| match value["$ref"].as_str() {
        Some(path) => document
            .pointer(path.trim_start_matches('#'))
            .unwrap()
            .clone(),
        None => value.clone(),
    };
    let mut operations = Vec::new();
    for (template, item) in document["paths"].as_object().unwrap() {
        for (method, says) in item.as_object().unwrap() {
            let parameters = says["parameters"].as_array().into_iter().flatten();
            let parameters: Vec<Value> = parameters.map(at).collect();
            let names = parameters.iter().map(|one| one["name"].as_str().unwrap());
            let mut query = url::form_urlencoded::Serializer::new(String::new());
            for one in &parameters {
                if one["in"] == "query" && one["required"] == true {
                    let example = one.get("example").unwrap_or(&one["schema"]["example"]);
                    let text = example.as_str().map_or(example.to_string(), str::to_owned);
                    query.append_pair(one["name"].as_str().unwrap(), &text);
                }
            }
            let answer = at(&says["responses"]["200"]["content"]["application/json"]["schema"]);
            let body = &says["requestBody"]["content"]["application/json"]["example"];
            operations.push(Operation {
                name: format!("{method} {template}"),
                method: method.to_uppercase().parse().unwrap(),
                template: template.clone(),
                is_private: says["security"][0]["bearer"].is_array(),
                is_list: answer["properties"]["pagination"].is_object(),
                parameters: names.map(str::to_owned).collect(),
                query: query.finish(),
                body: (!body.is_null()).then(|| body.clone()),
            });
        }
    }
    operations
}

/// Makes a thing for each operation that names one.
pub(super) async fn things(app: &TestApp, owner: &Actor) -> Vec<Thing> {
    let mut things = Vec::new();
    // Models and types of events are nobody's, and operators' things have tests of their own.
    let operations = operations(app).await.into_iter();
    let is_owned = |one: &Operation| {
        let template = &one.template;
        !["/models/", "/event-types/", "/admin/"]
            .iter()
            .any(|part| template.contains(part))
    };
    for operation in operations.filter(is_owned) {
        let (mut path, mut template, mut ids) = (String::new(), String::new(), Vec::new());
        for part in operation.template.split('/').skip(1) {
            template = format!("{template}/{part}");
            if part.starts_with('{') {
                let id = make(app, owner, &template, &path).await;
                path = format!("{path}/{id}");
                ids.push(id);
            } else {
                path = format!("{path}/{part}");
            }
        }
        if !ids.is_empty() {
            things.push(Thing {
                operation,
                path,
                ids,
            });
        }
    }
    assert!(things.len() > 5, "the document names hardly any things");
    things
}
