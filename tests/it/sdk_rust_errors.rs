//! What the crate `async-openai` makes of errors at `/v1`. It knows no `retry-after-ms` and no `x-should-retry`: it waits for whole
//! seconds of `retry-after`, and gives up at once only where the error's type is `insufficient_quota`.

use std::time::{Duration, Instant};

use async_openai::{Client, config::OpenAIConfig, error::OpenAIError, middleware::ReqwestService};
use futures::StreamExt as _;
use serde_json::Value;
use tests::exposition::value;

use crate::{
    sdk::{House, api_key},
    sdk_rust::{MODEL, client, client_of, expect_error, question, question_of, refused, words},
};

/// Without its own retries.
fn impatient(house: &House) -> Client<OpenAIConfig> {
    client(house).with_http_service(ReqwestService::new(house.ana.http.clone()))
}

#[tokio::test]
async fn it_knows_every_error() {
    let house = House::start().await;
    let stranger = client_of(&house, "bck_wrong");
    let error = refused(stranger.chat().create(question("Hi")).await);
    expect_error(&error, 401, "invalid_api_key");

    let reader = api_key(&house.ana, &["read"]).await;
    let reader = client_of(&house, &reader);
    assert!(!reader.models().list().await.unwrap().data.is_empty());
    let error = refused(reader.chat().create(question("Hi")).await);
    expect_error(&error, 403, "insufficient_scope");

    let http = house.ana.http.clone();
    let nowhere = OpenAIConfig::new()
        .with_api_base("http://127.0.0.1:2/v1")
        .with_api_key(&house.key);
    let nowhere = Client::build(http.clone(), nowhere).with_http_service(ReqwestService::new(http));
    match nowhere.chat().create(question("Hi")).await {
        Err(OpenAIError::Reqwest(error)) => assert!(error.is_connect(), "{error}"),
        other => panic!("no error of the connection: {other:?}"),
    }

    let client = impatient(&house);
    let chat = client.chat();
    let unknown = question_of("gpt-4o-mni", "Hi");
    let error = refused(chat.create(unknown.clone()).await);
    expect_error(&error, 404, "model_not_found");
    let streamed = chat.create_stream(unknown).await;
    expect_error(&refused(streamed.map(|_| ())), 404, "model_not_found");

    let mut hot = question("Hi");
    hot.temperature = Some(9.0);
    let error = refused(chat.create(hot).await);
    assert_eq!(error.status_code.as_u16(), 400, "{error}");
    assert_eq!(
        error.api_error.r#type.as_deref(),
        Some("invalid_request_error")
    );
    assert_eq!(error.api_error.param.as_deref(), Some("temperature"));

    let limited = question_of("llama-3.1-8b-instant", "Leave me.");
    let error = refused(chat.create(limited).await);
    assert_eq!(error.status_code.as_u16(), 429, "{error}");

    // The whole body is its message.
    let error = refused(chat.create(question_of("deepseek-flash", "Be away.")).await);
    assert!(error.status_code.is_server_error(), "{error}");
    let body: Value = serde_json::from_str(&error.api_error.message).unwrap();
    assert!(body["error"]["code"].is_string(), "{body}");

    let stream = chat.create_stream(question("Break off.")).await.unwrap();
    let mut told: Vec<_> = stream.collect().await;
    let Some(Err(OpenAIError::JSONDeserialize(_, content))) = told.pop() else {
        panic!("no error at the end: {told:?}");
    };
    let content: Value = serde_json::from_str(&content).unwrap();
    assert!(content["error"]["message"].is_string(), "{content}");
    let told: Vec<_> = told.into_iter().map(Result::unwrap).collect();
    assert_eq!(words(&told), "Half");
    house.finish().await;
}

#[tokio::test]
async fn its_own_retries_obey() {
    let house = House::start().await;
    let client = client(&house);
    for (model, text, times, least) in [
        // The product leaves an account alone for a second at least, and it waits for as long as it is told.
        (MODEL, "Be busy once.", 2, Duration::from_millis(900)),
        ("deepseek-flash", "Be away twice.", 3, Duration::ZERO),
    ] {
        let began = Instant::now();
        let answer = client.chat().create(question_of(model, text)).await;
        let took = began.elapsed();
        assert!(took >= least, "{text} {took:?}");
        let answer = answer.unwrap();
        assert_eq!(
            answer.choices[0].message.content.as_deref(),
            Some("At last.")
        );
        assert_eq!(house.times(text), times, "{text}");
    }
    // It was not refused a second time because it did not wait.
    let page = house.ana.get("/api/metrics").await.text;
    let limited = r#"http_requests_total{method="POST",route="/v1/chat/completions",status="429"}"#;
    assert_eq!(value(&page, limited), Some(1.0), "{page}");
    // The day is used up: it would wait for eleven hours.
    for _ in 0..2 {
        let (chat, asked) = (
            client.chat(),
            question_of("llama-3.1-8b-instant", "Be spent."),
        );
        let answer = tokio::time::timeout(Duration::from_secs(5), chat.create(asked));
        let error = refused(answer.await.expect("an answer at once"));
        assert_eq!(error.status_code.as_u16(), 429, "{error}");
        assert_eq!(
            error.api_error.r#type.as_deref(),
            Some("insufficient_quota")
        );
    }
    assert_eq!(house.times("Be spent."), 1);
    house.finish().await;
}
