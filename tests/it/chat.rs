//! One turn with a model: asked, streamed, stored, accounted for.

use serde_json::{Value, json};
use tests::{
    Actor, Options, TestApp,
    fakes::provider::{Provider, Script, delta, end, stream, words_of},
    words,
};

/// A product whose models are this provider's, and somebody who uses it.
pub(crate) async fn app(provider: &Provider) -> (TestApp, Actor) {
    let app = TestApp::with(Options {
        providers: provider.args("sk-1"),
        ..Options::default()
    })
    .await;
    let ana = app.user("ana").await;
    (app, ana)
}

/// The ledger, oldest first.
pub(crate) async fn ledger(app: &TestApp) -> Vec<Value> {
    sqlx::query_scalar("SELECT to_jsonb(usage) FROM usage ORDER BY created_at, id")
        .fetch_all(app.database.pool())
        .await
        .unwrap()
}

pub(crate) fn id(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is no id"))
}

#[tokio::test]
async fn a_message_is_answered_and_both_are_stored() {
    let provider = Provider::saying(&["Salt", " and", " water."]).await;
    let (app, ana) = app(&provider).await;
    let body = json!({ "message": "What is the sea?", "conversationId": null, "model": "gpt-4o-mini",
                       "temperature": 0.5, "maxTokens": 100 });
    let reply = ana.chat(body).await;
    let header = |name: &str| reply.headers[name].to_str().unwrap().to_owned();
    assert_eq!(header("x-baatcheet-provider"), "openai");
    assert_eq!(header("x-baatcheet-attempts"), "1");
    // 11 × 0.15 and 3 × 0.6 dollars of a million: 3.45 millionths.
    assert_eq!(header("x-baatcheet-cost-microusd"), "3");
    assert!(header("x-baatcheet-overhead-ms").parse::<f64>().unwrap() >= 0.0);
    let answer = reply.expect(200);
    let message = &answer["message"];
    assert_eq!(
        message["content"],
        json!([{ "type": "text", "text": "Salt and water." }])
    );
    assert_eq!(message["status"], "completed");
    assert_eq!(message["finishReason"], "stop");
    assert_eq!(
        (&message["model"], &message["provider"]),
        (&json!("gpt-4o-mini"), &json!("openai"))
    );
    assert_eq!(answer["usage"]["inputTokens"], 11);
    assert_eq!(answer["usage"]["outputTokens"], 3);
    assert_eq!(answer["usage"]["costMicrousd"], 3);
    assert_eq!(answer["usage"]["estimated"], false);
    assert_eq!(
        (&answer["context"]["included"], &answer["context"]["total"]),
        (&json!(1), &json!(1))
    );

    let conversation = id(&answer["conversationId"]);
    let list = ana
        .get(&format!("/api/v1/conversations/{conversation}/messages"))
        .await
        .expect(200);
    let rows = list["data"].as_array().unwrap();
    assert_eq!(rows.len(), 2);
    assert_eq!(rows[0]["id"], message["id"]);
    assert_eq!(rows[0]["parentId"], rows[1]["id"]);
    assert_eq!(rows[1]["content"][0]["text"], "What is the sea?");
    let shown = ana
        .get(&format!("/api/v1/conversations/{conversation}"))
        .await
        .expect(200);
    assert_eq!(
        (&shown["messageCount"], &shown["model"]),
        (&json!(2), &json!("gpt-4o-mini"))
    );
    assert_eq!(shown["currentMessageId"], message["id"]);
    let tokens = rows
        .iter()
        .map(|row| row["tokenCount"].as_i64().unwrap())
        .sum::<i64>();
    assert_eq!(shown["tokenCount"], tokens);

    let asked = &provider.asked()[0];
    assert_eq!(asked.key, "sk-1");
    assert_eq!(asked.messages(), ["user: What is the sea?"]);
    assert_eq!(asked.body["model"], "gpt-4o-mini");
    assert_eq!(asked.body["temperature"], 0.5);
    assert_eq!(asked.body["max_completion_tokens"], 100);
    assert_eq!(asked.body["stream_options"]["include_usage"], true);

    let rows = ledger(&app).await;
    assert_eq!(rows.len(), 1);
    let row = &rows[0];
    for (field, value) in [
        ("kind", json!("chat")),
        ("outcome", json!("completed")),
        ("attempt", json!(1)),
        ("provider", json!("openai")),
        ("model", json!("gpt-4o-mini")),
        ("input_tokens", json!(11)),
        ("output_tokens", json!(3)),
        ("is_estimated", json!(false)),
        ("cost_microusd", json!(3)),
        ("message_id", message["id"].clone()),
        ("conversation_id", answer["conversationId"].clone()),
    ] {
        assert_eq!(row[field], value, "{field}");
    }
    assert!(row["price_version"].is_string() && row["first_token_ms"].is_number());
    app.finish().await;
}

#[tokio::test]
async fn a_stream_tells_what_is_stored() {
    let provider = Provider::saying(&["नम", "स्ते", " ", "दुनिया"]).await;
    let (app, ana) = app(&provider).await;
    let events = ana
        .stream(json!({ "message": "Greet me" }))
        .await
        .rest()
        .await;
    let names: Vec<&str> = events.iter().map(|event| event.name.as_str()).collect();
    assert_eq!(names.first(), Some(&"message.started"));
    assert_eq!(names.last(), Some(&"message.completed"));
    assert_eq!(words(&events), "नमस्ते दुनिया");
    assert!(
        events.is_sorted_by(|one, other| one.id < other.id),
        "{events:?}"
    );
    assert_eq!(events[0].id, 0);
    let last = events.last().unwrap();
    assert_eq!(last.id, "नमस्ते दुनिया".len() as u64 + 1);
    assert_eq!(last.data["message"]["content"][0]["text"], "नमस्ते दुनिया");
    assert_eq!(last.data["message"]["id"], events[0].data["messageId"]);
    assert_eq!(last.data["usage"]["outputTokens"], 4);
    app.finish().await;
}

#[tokio::test]
async fn bad_questions_get_clear_answers_and_nobody_is_asked() {
    let provider = Provider::saying(&["Yes."]).await;
    let (app, ana) = app(&provider).await;
    let ben = app.user("ben").await;
    let foreign = ben.conversation("Plans").await;
    let said = ben.say(&foreign, "secret").await;
    let project = json!({ "name": "Thesis" });
    let project = ben.post_json("/api/v1/projects", project).await.expect(201);
    let scan = ben
        .upload("scan.png", tests::picture("english-scan.png"), &[])
        .await
        .expect(201);

    let problem = ana
        .chat(json!({ "message": "Hi", "model": "gpt-4o-mni" }))
        .await;
    let problem = problem.expect_problem(404, "model_not_found");
    assert!(
        problem["detail"].as_str().unwrap().contains("gpt-4o-mini"),
        "{problem}"
    );
    let problem = ana
        .chat(json!({ "message": "Hi", "model": "gemini-2.5-flash" }))
        .await;
    let problem = problem.expect_problem(503, "no_provider");
    assert!(
        problem["detail"]
            .as_str()
            .unwrap()
            .contains("GEMINI_API_KEYS"),
        "{problem}"
    );
    for body in [
        json!({ "message": "Hi", "conversationId": foreign }),
        json!({ "message": "Hi", "projectId": project["id"] }),
        json!({ "message": "Hi", "attachmentIds": [scan["attachment"]["id"]] }),
        json!({ "message": "Hi", "conversationId": uuid::Uuid::new_v4() }),
    ] {
        ana.chat(body).await.expect_problem(404, "not_found");
    }
    for body in [
        json!({ "message": "" }),
        json!({ "message": " \n" }),
        json!({}),
    ] {
        assert_eq!(ana.chat(body).await.expect_bad_fields(), ["/message"]);
    }
    let long = "ह".repeat(200_001);
    ana.chat(json!({ "message": long }))
        .await
        .expect_problem(413, "payload_too_large");
    let bad = json!({ "message": "Hi", "temperature": 3, "maxTokens": 0, "conversationId": "x", "other": 1 });
    let fields = ana.chat(bad).await.expect_bad_fields();
    assert_eq!(
        fields,
        ["/conversationId", "/maxTokens", "/other", "/temperature"]
    );
    let own = ana.conversation("Mine").await;
    let body = json!({ "message": "Hi", "conversationId": own, "parentId": said["id"] });
    assert_eq!(ana.chat(body).await.expect_bad_fields(), ["/parentId"]);
    assert!(provider.asked().is_empty());
    assert!(ledger(&app).await.is_empty());
    let longest = "ह".repeat(200_000);
    ana.chat(json!({ "message": longest })).await.expect(200);
    app.forget_jobs().await;
    app.finish().await;
}

#[tokio::test]
async fn the_same_client_id_or_key_gets_the_first_answer() {
    let provider = Provider::saying(&["Yes."]).await;
    let (app, ana) = app(&provider).await;
    let body = json!({ "message": "Hi", "clientId": "c-1" });
    let (first, second) = tokio::join!(ana.chat(body.clone()), ana.chat(body.clone()));
    let (first, second) = (first.expect(200), second.expect(200));
    assert_eq!(first["message"], second["message"]);
    let events = ana.stream(body).await.rest().await;
    assert_eq!(words(&events), "Yes.");
    assert_eq!(events[0].data["messageId"], first["message"]["id"]);
    let other = json!({ "message": "Bye", "clientId": "c-1" });
    ana.chat(other)
        .await
        .expect_problem(409, "client_id_reused");

    let keyed = async |message: &str| {
        let request = ana.request(reqwest::Method::POST, "/api/v1/chat/completions");
        let request = request.header("idempotency-key", "k-1");
        ana.send(request.json(&json!({ "message": message }))).await
    };
    let first = keyed("Hello").await.expect(200);
    assert_eq!(keyed("Hello").await.expect(200), first);
    keyed("Bye")
        .await
        .expect_problem(422, "idempotency_key_reused");
    assert_eq!(provider.asked().len(), 2);
    assert_eq!(ledger(&app).await.len(), 2);
    app.finish().await;
}

#[tokio::test]
async fn answers_are_made_anew_reworded_continued_and_rated() {
    let answer = |asked: &tests::fakes::provider::Asked| -> Script {
        match asked.question().as_str() {
            "Count" => stream([vec![delta("one two")], end("length", 5, 2)].concat()),
            text if text.starts_with("Continue") => words_of(&[" three", " four"]),
            text => words_of(&[&format!("You said {text}")]),
        }
    };
    let provider = Provider::start(answer).await;
    let (app, ana) = app(&provider).await;
    let first = ana.chat(json!({ "message": "Hi" })).await.expect(200);
    let conversation = id(&first["conversationId"]).to_owned();
    let (answer, question) = (
        id(&first["message"]["id"]),
        id(&first["message"]["parentId"]),
    );

    let again = ana
        .post(&format!("/api/v1/messages/{answer}/regenerate"))
        .await
        .expect(200);
    assert_eq!(again["message"]["parentId"], question);
    assert_ne!(again["message"]["id"], first["message"]["id"]);
    let path = format!("/api/v1/messages/{question}/regenerate");
    let third = ana
        .post_json(&path, json!({ "model": "gpt-4o" }))
        .await
        .expect(200);
    assert_eq!(third["message"]["model"], "gpt-4o");
    let siblings = ana
        .get(&format!("/api/v1/messages/{answer}/siblings"))
        .await
        .expect(200);
    assert_eq!(siblings["data"].as_array().unwrap().len(), 3);

    let path = format!("/api/v1/messages/{question}/resend");
    let reworded = ana
        .post_json(&path, json!({ "message": "Hello" }))
        .await
        .expect(200);
    assert_eq!(reworded["message"]["content"][0]["text"], "You said Hello");
    let path = format!("/api/v1/messages/{}", id(&reworded["message"]["parentId"]));
    assert_eq!(ana.get(&path).await.expect(200)["parentId"], Value::Null);
    let path = format!("/api/v1/messages/{answer}/resend");
    ana.post_json(&path, json!({ "message": "No" }))
        .await
        .expect_problem(409, "message_not_editable");

    let body = json!({ "message": "Count", "conversationId": conversation });
    let cut = ana.chat(body).await.expect(200);
    assert_eq!(cut["message"]["finishReason"], "length");
    let path = format!("/api/v1/messages/{}/continue", id(&cut["message"]["id"]));
    let request = ana
        .request(reqwest::Method::POST, &path)
        .json(&json!({ "stream": true }));
    let events = tests::EventStream::of(request).await.rest().await;
    assert_eq!(words(&events), " three four");
    assert_eq!(events[0].id, "one two".len() as u64);
    let last = &events.last().unwrap().data;
    assert_eq!(last["message"]["content"][0]["text"], "one two three four");
    assert_eq!(last["message"]["id"], cut["message"]["id"]);
    ana.post(&path)
        .await
        .expect_problem(409, "message_not_continuable");
    let asked = provider.asked().pop().unwrap().messages();
    assert_eq!(asked[asked.len() - 2], "assistant: one two");

    let path = format!("/api/v1/messages/{answer}/feedback");
    let put = |body| ana.send(ana.request(reqwest::Method::PUT, &path).json(&body));
    let rated = put(json!({ "rating": "down", "reason": "Too short" })).await;
    let rated = rated.expect(200);
    assert_eq!(
        rated["feedback"],
        json!({ "rating": "down", "reason": "Too short" })
    );
    assert_eq!(
        put(json!({ "rating": "up" })).await.expect(200)["feedback"]["reason"],
        Value::Null
    );
    assert_eq!(
        put(json!({ "rating": "well" })).await.expect_bad_fields(),
        ["/rating"]
    );
    assert_eq!(ana.delete(&path).await.expect(200)["feedback"], Value::Null);
    let path = format!("/api/v1/messages/{question}/feedback");
    let put = ana
        .request(reqwest::Method::PUT, &path)
        .json(&json!({ "rating": "up" }));
    ana.send(put)
        .await
        .expect_problem(409, "message_not_ratable");
    app.finish().await;
}
