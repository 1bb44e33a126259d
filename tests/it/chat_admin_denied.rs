//! Who may not see providers, nor do anything with their keys: everybody but administrators.

use reqwest::Method;
use serde_json::{Value, json};
use tests::{
    Actor, Options, Reply, TestApp,
    fakes::provider::{Provider, refusal, words_of},
};

const LIST: &str = "/api/v1/admin/providers";

/// An operation of administration, as the document describes it.
struct Operation {
    method: Method,
    path: String,
    body: Option<Value>,
}

impl Operation {
    async fn by(&self, actor: &Actor) -> Reply {
        let mut request = actor.request(self.method.clone(), &self.path);
        if let Some(body) = &self.body {
            request = request.json(body);
        }
        actor.send(request).await
    }
}

/// All of them, on a provider.
async fn operations(app: &TestApp, provider: &str) -> Vec<Operation> {
    let document = app.anonymous().get("/api/openapi.json").await.expect(200);
    let mut operations = Vec::new();
    for (template, item) in document["paths"].as_object().unwrap() {
        if !template.starts_with("/api/v1/admin/") {
            continue;
        }
        for method in item.as_object().unwrap().keys() {
            let method: Method = method.to_uppercase().parse().unwrap();
            let body = match method {
                Method::PUT => Some(json!({ "keys": ["new:k9-secret-key"] })),
                Method::POST => Some(json!({})),
                _ => None,
            };
            operations.push(Operation {
                method,
                path: template.replace("{name}", provider),
                body,
            });
        }
    }
    operations
}

/// Keys and all that is known of them, which nobody below may change.
async fn state(app: &TestApp) -> Value {
    let sql = "SELECT jsonb_build_object('retired', (SELECT jsonb_agg(to_jsonb(k) ORDER BY k.key_id) FROM retired_keys k),
                                         'pools', (SELECT count(*) FROM provider_pools))";
    sqlx::query_scalar(sql)
        .fetch_one(app.database.pool())
        .await
        .unwrap()
}

#[tokio::test]
async fn nobody_but_an_administrator_sees_or_changes_keys() {
    let provider = Provider::start(|asked| match asked.key.as_str() {
        "k1-secret-key" => refusal(401, "Incorrect API key provided"),
        _ => words_of(&["Yes."]),
    })
    .await;
    let app = TestApp::with(Options {
        providers: provider.args("k1-secret-key,k2-secret-key"),
        ..Options::default()
    })
    .await;
    let (ana, eve) = (app.user("ana").await, app.user("eve").await);
    for _ in 0..2 {
        let body = json!({ "message": "Hi", "model": "gpt-4o-mini" });
        ana.chat(body).await.expect(200);
    }
    let before = state(&app).await;
    assert_eq!(before["retired"].as_array().map(Vec::len), Some(1));

    let key = json!({ "name": "bot", "scopes": ["read", "write"] });
    let key = ana.post_json("/api/v1/api-keys", key).await.expect(201);
    let of_token = |token: &str| Actor {
        token: Some(token.to_owned()),
        ..app.anonymous()
    };
    let program = of_token(key["key"].as_str().unwrap());
    let forger = of_token("bca_unknown");
    let known = operations(&app, "openai").await;
    // To see, to revive, to set and to reset.
    assert_eq!(known.len(), 4, "say here what a new one needs");
    let unknown = operations(&app, "nobody").await;
    for operation in known.iter().chain(&unknown) {
        for stranger in [&app.anonymous(), &forger] {
            let reply = operation.by(stranger).await;
            assert_eq!(reply.headers["www-authenticate"], "Bearer");
            reply.expect_problem(401, "unauthenticated");
        }
        for user in [&ana, &program] {
            let reply = operation.by(user).await;
            assert!(!reply.text.contains("openai"), "{}", reply.text);
            reply.expect_problem(403, "admin_required");
        }
    }
    assert_eq!(state(&app).await, before);

    // An administrator's program that may only read, may only see.
    let eve = app.promote(&eve).await;
    let key = json!({ "name": "bot", "scopes": ["read"] });
    let key = eve.post_json("/api/v1/api-keys", key).await.expect(201);
    let reader = of_token(key["key"].as_str().unwrap());
    for operation in &known {
        let reply = operation.by(&reader).await;
        if operation.method == Method::GET {
            reply.expect(200);
        } else {
            reply.expect_problem(403, "insufficient_scope");
        }
    }
    assert_eq!(state(&app).await, before);

    // Who may is told what is not there; the list is the same for all providers.
    for operation in unknown.iter().filter(|one| one.path != LIST) {
        operation.by(&eve).await.expect_problem(404, "not_found");
    }
    for operation in &known {
        let status = operation.by(&eve).await.status;
        assert!(status.is_success(), "{} {status}", operation.path);
    }
    assert_ne!(state(&app).await, before);
    app.finish().await;
}
