//! A provider that answers at once or at a pace, and does nothing else.

use std::{convert::Infallible, time::Duration};

use axum::{
    Router,
    body::{Body, Bytes},
    http::{HeaderValue, header},
    response::Response,
    routing::post,
};
use futures::StreamExt as _;
use serde_json::{Value, json};

/// The model that speaks word by word, how many words it says, and the pause before each.
pub(crate) const PACED: &str = "paced";
pub(crate) const WORDS: usize = 64;
const PACE: Duration = Duration::from_millis(20);

/// What it answers, and after how many milliseconds.
pub(crate) const DELAYS: [u64; 2] = [60, 0];
pub(crate) const SIZES: [usize; 2] = [200, 10_000];

pub(crate) fn model(delay: u64, bytes: usize) -> String {
    format!("delay-{delay}-bytes-{bytes}")
}

/// The models, as the API knows them: `bench-` before the provider's name.
pub(crate) fn models() -> Value {
    let instant = DELAYS
        .iter()
        .flat_map(|delay| SIZES.map(|bytes| model(*delay, bytes)));
    let models: Vec<Value> = instant
        .chain([PACED.to_owned()])
        .map(|model| {
            json!({
                "id": format!("bench-{model}"), "name": model, "contextTokens": 128_000, "maxOutputTokens": 16_000,
                "routes": [{ "provider": "openai", "model": model, "price": { "input": 150_000, "output": 600_000 } }],
            })
        })
        .collect();
    json!({ "version": "bench", "models": models })
}

/// The n-th word of a paced answer.
pub(crate) fn word(number: usize) -> String {
    format!("word{number} ")
}

pub(crate) async fn serve(port: u16) -> anyhow::Result<()> {
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await?;
    let router = Router::new().route("/v1/chat/completions", post(complete));
    axum::serve(listener, router).await?;
    Ok(())
}

async fn complete(body: Bytes) -> Response {
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let model = body["model"].as_str().unwrap_or_default();
    let body = if model == PACED {
        Body::from_stream(paced())
    } else {
        let mut numbers = model.split('-').filter_map(|part| part.parse().ok());
        let (delay, bytes) = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(200));
        if delay > 0 {
            tokio::time::sleep(Duration::from_millis(delay)).await;
        }
        let words = bytes / 5;
        let text = "word ".repeat(usize::try_from(words).unwrap_or_default());
        Body::from(delta(&text) + &end(words))
    };
    let mut response = Response::new(body);
    let kind = HeaderValue::from_static("text/event-stream");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

fn paced() -> impl futures::Stream<Item = Result<String, Infallible>> {
    let start = tokio::time::Instant::now();
    futures::stream::iter(1..=WORDS)
        .then(move |number| async move {
            tokio::time::sleep_until(start + PACE * u32::try_from(number).unwrap_or(u32::MAX))
                .await;
            let mut said = delta(&word(number));
            if number == WORDS {
                said += &end(WORDS as u64);
            }
            said
        })
        .map(Ok)
}

fn event(data: &Value) -> String {
    format!("data: {data}\n\n")
}

fn delta(text: &str) -> String {
    event(&json!({
        "id": "x", "object": "chat.completion.chunk", "choices": [{ "index": 0, "delta": { "content": text }, "finish_reason": null }],
    }))
}

fn end(output: u64) -> String {
    let finish = json!({ "choices": [{ "index": 0, "delta": {}, "finish_reason": "stop" }] });
    let usage =
        json!({ "choices": [], "usage": { "prompt_tokens": 11, "completion_tokens": output } });
    event(&finish) + &event(&usage) + "data: [DONE]\n\n"
}
