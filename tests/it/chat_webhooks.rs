//! What webhooks are told of questions and answers.

use serde_json::{Value, json};
use tests::{
    Actor, Options, TestApp, eventually,
    fakes::{
        provider::{Asked, Provider, Script, Step, delta, end, refusal, stream, words_of},
        receiver::Receiver,
    },
    words,
};

use crate::{
    chat::{app, id},
    chat_streams::Instance,
};

/// Makes an endpoint that wants to know of messages.
async fn listen(user: &Actor, receiver: &Receiver) {
    let events = ["message.created", "message.completed", "message.failed"];
    let body = json!({ "url": receiver.url(), "events": events });
    user.post_json("/api/v1/webhooks", body).await.expect(201);
}

/// What was told by events of this name, in any order.
async fn told(receiver: &Receiver, event: &str) -> Vec<Value> {
    let mut told = receiver.bodies().await;
    told.retain(|body| body["type"] == event);
    told.into_iter().map(|body| body["data"].clone()).collect()
}

/// How often each event was told.
async fn counts(receiver: &Receiver) -> [usize; 3] {
    let count = async |event: &str| told(receiver, event).await.len();
    [
        count("message.created").await,
        count("message.completed").await,
        count("message.failed").await,
    ]
}

async fn message(user: &Actor, id: &str) -> Value {
    let path = format!("/api/v1/messages/{id}");
    user.get(&path).await.expect(200)
}

#[tokio::test]
async fn a_question_and_its_answers_are_told() {
    let provider = Provider::saying(&["Salt", " and", " water."]).await;
    let (app, ana) = app(&provider).await;
    let ben = app.user("ben").await;
    let (anas, bens) = (Receiver::start().await, Receiver::start().await);
    listen(&ana, &anas).await;
    listen(&ben, &bens).await;
    let body = json!({ "message": "What is the sea?", "model": "gpt-4o-mini" });
    let answer = ana.chat(body).await.expect(200);
    app.run_jobs().await;
    let question = message(&ana, id(&answer["message"]["parentId"])).await;
    let expected = json!({
        "messageId": question["id"],
        "conversationId": answer["conversationId"],
        "parentId": null,
        "role": "user",
        "text": "What is the sea?",
        "truncated": false,
        "attachmentIds": [],
        "tokenCount": question["tokenCount"],
        "status": "completed",
        "model": null,
        "finishReason": null,
    });
    assert_eq!(told(&anas, "message.created").await, [expected]);
    let expected = json!({
        "messageId": answer["message"]["id"],
        "conversationId": answer["conversationId"],
        "parentId": question["id"],
        "role": "assistant",
        "text": "Salt and water.",
        "truncated": false,
        "attachmentIds": [],
        "tokenCount": answer["message"]["tokenCount"],
        "status": "completed",
        "model": "gpt-4o-mini",
        "finishReason": "stop",
    });
    assert_eq!(told(&anas, "message.completed").await, [expected]);
    for request in anas.requests().await {
        let body: Value = request.body_json().unwrap();
        let event = request.headers["x-baatcheet-event"].to_str().unwrap();
        assert_eq!(body["type"], event);
    }

    // Another answer to the same question.
    let path = format!("/api/v1/messages/{}/regenerate", id(&question["id"]));
    let again = ana.post(&path).await.expect(200);
    app.run_jobs().await;
    assert_eq!(counts(&anas).await, [1, 2, 0]);
    let answers = told(&anas, "message.completed").await;
    let is_new = |one: &&Value| one["messageId"] == again["message"]["id"];
    assert_eq!(answers.iter().filter(is_new).count(), 1, "{answers:?}");
    assert_eq!(counts(&bens).await, [0, 0, 0], "it is none of ben's");
    app.finish().await;
}

#[tokio::test]
async fn an_answer_that_is_stopped_and_gone_on_with_is_told_twice() {
    let answer = |asked: &Asked| -> Script {
        match asked.question().as_str() {
            "Count" => stream(vec![delta("One "), Step::Hold]),
            _ => words_of(&["two"]),
        }
    };
    let provider = Provider::start(answer).await;
    let (app, ana) = app(&provider).await;
    let receiver = Receiver::start().await;
    listen(&ana, &receiver).await;
    let mut stream = ana.stream(json!({ "message": "Count" })).await;
    let answer = id(&stream.next().await.unwrap().data["messageId"]).to_owned();
    assert_eq!(stream.next().await.unwrap().data["delta"], "One ");
    app.run_jobs().await;
    assert_eq!(counts(&receiver).await, [1, 0, 0], "it has not ended");

    let path = format!("/api/v1/chat/streams/{answer}/cancel");
    for _ in 0..2 {
        ana.post(&path).await.expect(200);
    }
    app.run_jobs().await;
    assert_eq!(counts(&receiver).await, [1, 1, 0]);
    let stopped = told(&receiver, "message.completed").await.remove(0);
    assert_eq!(stopped["messageId"], answer);
    assert_eq!(stopped["text"], "One ");
    assert_eq!(
        (&stopped["status"], &stopped["finishReason"]),
        (&json!("cancelled"), &json!("cancelled"))
    );

    let path = format!("/api/v1/messages/{answer}/continue");
    ana.post(&path).await.expect(200);
    app.run_jobs().await;
    assert_eq!(counts(&receiver).await, [1, 2, 0]);
    let mut whole = told(&receiver, "message.completed").await;
    whole.retain(|one| one["status"] == "completed");
    assert_eq!(whole.len(), 1);
    assert_eq!(
        (&whole[0]["messageId"], &whole[0]["text"]),
        (&json!(answer), &json!("One two"))
    );
    app.finish().await;
}

#[tokio::test]
async fn an_answer_that_fails_is_told_with_its_reason() {
    let answer = |asked: &Asked| -> Script {
        match asked.question().as_str() {
            "cut" => stream(vec![delta("Hi"), Step::Cut]),
            _ => refusal(400, "it is too long"),
        }
    };
    let provider = Provider::start(answer).await;
    let (app, _) = app(&provider).await;
    for (question, code, text) in [
        ("cut", "provider_failed", "Hi"),
        ("long", "provider_refused", ""),
    ] {
        // Somebody else each time: receivers that end make room for others at their address.
        let ana = app.user(question).await;
        let receiver = Receiver::start().await;
        listen(&ana, &receiver).await;
        let problem = ana.chat(json!({ "message": question })).await;
        let problem = problem.expect_problem(502, code);
        app.run_jobs().await;
        assert_eq!(counts(&receiver).await, [1, 0, 1], "{question}");
        let failed = told(&receiver, "message.failed").await.remove(0);
        assert_eq!(failed["messageId"], problem["messageId"]);
        assert_eq!(failed["conversationId"], problem["conversationId"]);
        assert_eq!(
            (&failed["role"], &failed["status"]),
            (&json!("assistant"), &json!("failed"))
        );
        assert_eq!(failed["text"], text);
        let row = message(&ana, id(&problem["messageId"])).await;
        assert_eq!(failed["error"], row["error"]);
        assert_eq!(failed["error"]["code"], code);
    }
    app.finish().await;
}

#[tokio::test]
async fn an_answer_whose_instance_is_killed_is_told_to_have_failed() {
    let provider = Provider::start(|_| {
        let steps = vec![delta("One "), Step::Hold];
        stream([steps, end("stop", 7, 1)].concat())
    })
    .await;
    let app = TestApp::with(Options {
        live: true,
        providers: provider.args("sk-1"),
        ..Options::default()
    })
    .await;
    let ana = app.user("ana").await;
    let receiver = Receiver::start().await;
    listen(&ana, &receiver).await;
    let mut other = Instance::start(&app, &provider, &[]).await;
    let mut stream = other.of(&ana).stream(json!({ "message": "Count" })).await;
    let answer = id(&stream.next().await.unwrap().data["messageId"]).to_owned();
    stream.next().await.unwrap();
    let here = ana.resume(&answer, None).await;
    eventually("the text is stored", async || {
        let text: Option<String> = sqlx::query_scalar("SELECT text FROM generations")
            .fetch_optional(app.database.pool())
            .await
            .unwrap();
        text.as_deref() == Some("One ")
    })
    .await;
    other.kill().await;
    assert_eq!(words(&here.rest().await), "One ");
    eventually("it is told", async || {
        app.run_due_jobs().await;
        receiver.requests().await.len() == 2
    })
    .await;
    assert_eq!(counts(&receiver).await, [1, 0, 1]);
    let failed = told(&receiver, "message.failed").await.remove(0);
    assert_eq!(
        (&failed["messageId"], &failed["text"]),
        (&json!(answer), &json!("One "))
    );
    assert_eq!(failed["status"], "interrupted");
    assert_eq!(failed["error"]["code"], "interrupted");
    app.finish().await;
}

#[tokio::test]
async fn an_answer_that_goes_with_its_conversation_is_not_told() {
    let provider = Provider::start(|_| stream(vec![delta("One "), Step::Hold])).await;
    let (app, ana) = app(&provider).await;
    let receiver = Receiver::start().await;
    listen(&ana, &receiver).await;
    let mut stream = ana.stream(json!({ "message": "Count" })).await;
    let conversation = stream.next().await.unwrap().data["conversationId"].clone();
    stream.next().await.unwrap();
    let path = format!("/api/v1/conversations/{}", id(&conversation));
    ana.delete(&path).await.expect(204);
    stream.rest().await;
    eventually("it has ended", async || {
        let left: i64 = sqlx::query_scalar("SELECT count(*) FROM generations")
            .fetch_one(app.database.pool())
            .await
            .unwrap();
        left == 0
    })
    .await;
    app.run_jobs().await;
    assert_eq!(counts(&receiver).await, [1, 0, 0]);
    app.finish().await;
}
