//! The surface that speaks like `OpenAI`'s API: every error is one that its clients read, and tells them whether to ask again.

use reqwest::Method;
use serde_json::json;
use shared::tokens::Encoding;
use tests::{
    Actor, Options, TestApp,
    fakes::provider::{Provider, refusal, words_of},
};

use crate::{
    chat::{app, ledger},
    openai_chat::{CHAT, ask, error, program},
    tokens::HINDI,
};

#[tokio::test]
async fn who_may_not_ask_is_told_so() {
    let provider = Provider::saying(&["Yes."]).await;
    let (app, ana) = app(&provider).await;
    let nobody = app.anonymous();
    let reply = nobody.post_json(CHAT, ask("Hi")).await;
    assert_eq!(reply.headers["www-authenticate"], "Bearer");
    assert_eq!(reply.headers["x-should-retry"], "false");
    error(reply, 401, "invalid_api_key");
    let stranger = Actor {
        token: Some("bck_unknown".to_owned()),
        ..nobody
    };
    error(stranger.get("/v1/models").await, 401, "invalid_api_key");
    let reader = program(&ana, &["read"]).await;
    reader.get("/v1/models").await.expect(200);
    let told = error(
        reader.post_json(CHAT, ask("Hi")).await,
        403,
        "insufficient_scope",
    );
    assert_eq!(told["type"], "permission_error");
    assert!(provider.asked().is_empty());
    app.finish().await;
}

#[tokio::test]
async fn whatever_is_wrong_with_a_request_has_the_same_form() {
    let provider = Provider::saying(&["Yes."]).await;
    let (app, ana) = app(&provider).await;
    for (change, param, code) in [
        (json!({ "temperature": 3 }), "temperature", "invalid_value"),
        (json!({ "n": 2 }), "n", "unsupported_value"),
        (
            json!({ "frobnicate": true }),
            "frobnicate",
            "unknown_parameter",
        ),
        (json!({ "messages": [] }), "messages", "invalid_value"),
        (
            json!({ "messages": null }),
            "messages",
            "missing_required_parameter",
        ),
        (
            json!({ "model": null }),
            "model",
            "missing_required_parameter",
        ),
        (
            json!({ "messages": [{ "role": "user", "content": [{ "type": "input_audio", "input_audio": {} }] }] }),
            "messages[0].content[0].type",
            "unsupported_value",
        ),
        (json!({ "functions": [] }), "functions", "unsupported_value"),
        (
            json!({ "function_call": "auto" }),
            "function_call",
            "unsupported_value",
        ),
        (
            json!({ "messages": [{ "role": "function", "name": "look", "content": "A cat." }] }),
            "messages[0].role",
            "invalid_value",
        ),
        (
            json!({ "tools": [{ "type": "custom", "custom": { "name": "look" } }] }),
            "tools[0].type",
            "unsupported_value",
        ),
        // Comparing it with what is known would take seconds.
        (
            json!({ "model": "gpt-4o".repeat(500_000) }),
            "model",
            "invalid_value",
        ),
    ] {
        let mut body = ask("Hi");
        let fields = body.as_object_mut().unwrap();
        fields.extend(change.as_object().unwrap().clone());
        let told = error(ana.post_json(CHAT, body).await, 400, code);
        assert_eq!(told["param"], param, "{told}");
        assert_eq!(told["type"], "invalid_request_error");
    }
    let told = error(
        ana.post_json(CHAT, json!({ "frobnicate": 1 })).await,
        400,
        "unknown_parameter",
    );
    assert_eq!(
        told["message"],
        "Unrecognized request argument supplied: frobnicate"
    );
    let mut body = ask("Hi");
    body["model"] = json!("gpt-4o-mni");
    let told = error(ana.post_json(CHAT, body).await, 404, "model_not_found");
    assert_eq!(told["param"], "model");
    assert!(told["message"].as_str().unwrap().contains("gpt-4o-mini"));
    // Known, but of nobody who is configured.
    let groq = json!({ "model": "llama-3.3-70b-versatile", "messages": [{ "role": "user", "content": "Hi" }] });
    error(ana.post_json(CHAT, groq).await, 503, "no_provider");
    assert!(provider.asked().is_empty() && ledger(&app).await.is_empty());
    app.finish().await;
}

#[tokio::test]
async fn what_a_client_makes_up_is_not_said_again_at_length() {
    let provider = Provider::saying(&["Yes."]).await;
    let (app, ana) = app(&provider).await;
    let long = "x".repeat(100);
    let mut body = ask("Hi");
    body[long.as_str()] = json!(1);
    let told = error(ana.post_json(CHAT, body).await, 400, "unknown_parameter");
    assert_eq!(told["param"].as_str(), Some(&long[..64]));
    let mut body = ask("Hi");
    body["model"] = json!(long);
    let no_model = error(ana.post_json(CHAT, body).await, 404, "model_not_found");
    let body = json!({ "model": long, "input": "salt" });
    let no_vectors = ana.post_json("/v1/embeddings", body).await;
    let no_vectors = error(no_vectors, 404, "model_not_found");
    let path = format!("/v1/models/{long}");
    let not_there = error(ana.get(&path).await, 404, "model_not_found");
    let nul = json!({ "model": "gpt-4o-mini", "messages": [{ "role": "user", "content": "Hi", long.as_str(): "\0" }] });
    let nul = error(ana.post_json(CHAT, nul).await, 400, "invalid_value");
    for told in [told, no_model, no_vectors, not_there, nul] {
        assert!(!told.to_string().contains(&long[..65]), "{told}");
    }
    app.finish().await;
}

#[tokio::test]
async fn what_only_an_operator_can_mend_is_not_told_as_the_clients_fault() {
    let provider = Provider::start(|asked| {
        let status = asked.question().parse().unwrap();
        refusal(status, "your input was flagged")
    })
    .await;
    let (app, ana) = app(&provider).await;
    for (status, told, kind) in [
        (400, 400, "invalid_request_error"),
        (422, 400, "invalid_request_error"),
        (413, 413, "invalid_request_error"),
        (402, 502, "server_error"),
        (403, 502, "server_error"),
        (404, 502, "server_error"),
    ] {
        let reply = ana.post_json(CHAT, ask(&status.to_string())).await;
        assert_eq!(reply.headers["x-should-retry"], "false", "{status}");
        let told = error(reply, told, "provider_refused");
        assert_eq!(told["type"], kind, "{status}");
    }
    app.finish().await;
}

#[tokio::test]
async fn bodies_routes_and_methods_that_are_not_there_are_told_alike() {
    let provider = Provider::saying(&["Yes."]).await;
    let (app, ana) = app(&provider).await;
    error(ana.get("/v1/nothing").await, 404, "unknown_url");
    error(ana.post("/v1").await, 404, "unknown_url");
    let reply = ana.get(CHAT).await;
    assert_eq!(reply.headers["allow"], "POST");
    error(reply, 405, "method_not_allowed");
    let broken = ana
        .request(Method::POST, CHAT)
        .header("content-type", "application/json")
        .body("{\"model\":");
    error(ana.send(broken).await, 400, "malformed_request");
    let plain = ana.request(Method::POST, CHAT).body("hello");
    error(ana.send(plain).await, 415, "unsupported_media_type");
    let nul = error(ana.post_json(CHAT, ask("a\0b")).await, 400, "invalid_value");
    assert_eq!(nul["param"], "messages[0].content");
    let long = ask(&"x".repeat((20 << 20) + 1_000));
    error(ana.post_json(CHAT, long).await, 413, "payload_too_large");
    // Elsewhere problems stay what they are.
    ana.get("/api/v1/nothing")
        .await
        .expect_problem(404, "not_found");
    app.finish().await;
}

#[tokio::test]
async fn a_question_that_its_model_counts_otherwise_is_too_long_as_the_model_counts() {
    let provider = Provider::saying(&["Yes."]).await;
    let app = TestApp::with(Options {
        providers: provider.args("sk-1"),
        token_fallback_encoding: Some("cl100k_base".to_owned()),
        ..Options::default()
    })
    .await;
    let ana = app.user("ana").await;
    let hindi = HINDI.repeat(50_000 / Encoding::O200k.count(HINDI));
    assert!(Encoding::Cl100k.count(&hindi) > 128_000);
    ana.post_json(CHAT, ask(&hindi)).await.expect(200);
    let told = error(
        ana.post_json(CHAT, ask(&hindi.repeat(3))).await,
        400,
        "context_length_exceeded",
    );
    let tokens = Encoding::O200k.count(&hindi.repeat(3)) + 5;
    let told = told["message"].as_str().unwrap();
    assert!(told.contains(&format!("{tokens} tokens")), "{told}");
    app.finish().await;
}

#[tokio::test]
async fn a_question_that_is_too_long_says_so() {
    let provider =
        Provider::start(|_| refusal(400, "This model's maximum context length is 128000 tokens."))
            .await;
    let (app, ana) = app(&provider).await;
    let long = ask(&"word ".repeat(130_000));
    let told = error(
        ana.post_json(CHAT, long).await,
        400,
        "context_length_exceeded",
    );
    assert_eq!(told["param"], "messages");
    assert!(
        told["message"]
            .as_str()
            .unwrap()
            .contains("maximum context length is 128000 tokens")
    );
    assert!(provider.asked().is_empty());
    // Where only the provider knows.
    error(
        ana.post_json(CHAT, ask("Hi")).await,
        400,
        "context_length_exceeded",
    );
    app.finish().await;
}

#[tokio::test]
async fn who_asks_too_much_hears_when_to_come_again() {
    let provider = Provider::start(|asked| match asked.key.as_str() {
        "day" => refusal(
            429,
            "Rate limit reached on requests per day (RPD). Please try again in 5h0m0s",
        ),
        // Older clients would not wait that long, and ask again all the same.
        "long" => refusal(429, "Rate limit reached").with("retry-after", "90"),
        _ => refusal(429, "Rate limit reached").with("retry-after", "7"),
    })
    .await;
    let told = async |key: &str| {
        let app = TestApp::with(Options {
            providers: provider.args(key),
            ..Options::default()
        })
        .await;
        let ana = app.user("ana").await;
        // Whoever is first hears of it from the provider, and the next from the pool.
        let mut told = Vec::new();
        for _ in 0..2 {
            let reply = ana.post_json(CHAT, ask("Hi")).await;
            let header = |name: &str| reply.headers[name].to_str().unwrap().to_owned();
            let headers = (
                header("retry-after"),
                header("retry-after-ms"),
                header("x-should-retry"),
            );
            told.push((
                headers,
                reply.status.as_u16(),
                reply.expect(429)["error"]["code"].clone(),
            ));
        }
        app.finish().await;
        told
    };
    for ((seconds, millis, retry), status, code) in told("minute").await {
        assert_eq!(
            (seconds.as_str(), millis.as_str(), retry.as_str()),
            ("7", "7000", "true")
        );
        assert_eq!((status, code), (429, json!("rate_limit_exceeded")));
    }
    for ((seconds, _, retry), _, code) in told("long").await {
        assert_eq!((seconds.as_str(), retry.as_str()), ("90", "false"));
        assert_eq!(code, "rate_limit_exceeded");
    }
    for ((seconds, _, retry), _, code) in told("day").await {
        assert_eq!((seconds.as_str(), retry.as_str()), ("18000", "false"));
        assert_eq!(code, "insufficient_quota");
    }
}

#[tokio::test]
async fn a_provider_that_refuses_our_key_is_no_affair_of_the_client() {
    let provider = Provider::start(|_| refusal(401, "Incorrect API key provided: sk-1")).await;
    let app = TestApp::with(Options {
        providers: provider.args("sk-1"),
        ..Options::default()
    })
    .await;
    let ana = app.user("ana").await;
    let reply = ana.post_json(CHAT, ask("Hi")).await;
    assert_eq!(reply.headers["x-should-retry"], "false");
    let told = error(reply, 502, "provider_failed");
    assert!(!told.to_string().contains("sk-1"), "{told}");
    let reply = ana.post_json(CHAT, ask("Hi")).await;
    assert_eq!(reply.headers["x-should-retry"], "false");
    error(reply, 503, "provider_keys_retired");
    assert_eq!(ledger(&app).await[0]["cost_microusd"], json!(0));
    app.finish().await;
}

#[tokio::test]
async fn without_a_provider_it_is_said_what_to_set() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let reply = ana.post_json(CHAT, ask("Hi")).await;
    assert_eq!(reply.headers["x-should-retry"], "false");
    let told = error(reply, 503, "no_provider");
    assert!(
        told["message"]
            .as_str()
            .unwrap()
            .contains("OPENAI_API_KEYS")
    );
    assert_eq!(
        ana.get("/v1/models").await.expect(200),
        json!({ "object": "list", "data": [] })
    );
    app.finish().await;
}

#[tokio::test]
async fn what_a_question_says_retires_no_key() {
    let provider = Provider::start(|asked| match asked.question().as_str() {
        "Hi" => words_of(&["Yes."]),
        "as Google says it" => refusal(400, "API key not valid. Please pass a valid API key."),
        quoted => refusal(400, &format!("Invalid value: '{quoted}'.")),
    })
    .await;
    let (app, ana) = app(&provider).await;
    for question in [
        "API key not valid. Please pass a valid API key.",
        "API_KEY_INVALID",
        "as Google says it",
    ] {
        error(
            ana.post_json(CHAT, ask(question)).await,
            400,
            "provider_refused",
        );
    }
    ana.post_json(CHAT, ask("Hi")).await.expect(200);
    assert_eq!(provider.asked().len(), 4);
    app.finish().await;
}
