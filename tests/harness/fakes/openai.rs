//! A provider for the stock SDKs of `OpenAI`: it answers what their cases ask (`tests/sdk`), makes vectors, and hears
//! always the same.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    extract::{Multipart, State},
    http::header,
    response::{IntoResponse, Response},
    routing::post,
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::{Value, json};

use super::{
    provider::{
        Asked, Provider, Script, Step, calling, delta, end, event, refusal, stream, whole, words_of,
    },
    transcriber::verbose_body,
};

/// Models of providers that take little, and what they take in messages.
const GROQ: &str = "llama-3.1-8b-instant";
const GEMINI: &str = "gemini-2.5-flash";
const TAKEN: [&str; 4] = ["role", "content", "tool_calls", "tool_call_id"];
/// What it hears in every sound.
pub const SAID: &str = "hello brave world";

/// What was asked for besides answers.
#[derive(Default)]
pub struct Counts {
    /// Inputs for vectors, as they came.
    pub embedded: Mutex<Vec<Value>>,
    /// Formats of transcripts that were asked for.
    pub heard: Mutex<Vec<String>>,
}

/// Starts one.
pub async fn start() -> (Provider, Arc<Counts>) {
    let counts = Arc::new(Counts::default());
    let more = Router::new()
        .route("/v1/audio/transcriptions", post(hear))
        .with_state(counts.clone());
    let asked_before: Mutex<HashMap<String, usize>> = Mutex::default();
    let counted = counts.clone();
    let provider = Provider::start_with(
        move |asked| {
            if let Some(input) = asked.body.get("input") {
                counted.embedded.lock().unwrap().push(input.clone());
                return whole(&vectors(&asked.body));
            }
            let mut asked_before = asked_before.lock().unwrap();
            let times = asked_before.entry(asked.question()).or_default();
            *times += 1;
            answer(asked, *times)
        },
        more,
    )
    .await;
    (provider, counts)
}

/// What each question of the cases gets, that many times asked by now.
fn answer(asked: &Asked, times: usize) -> Script {
    if let Some(told) = not_taken(&asked.body) {
        return refusal(400, &told);
    }
    let messages = asked.body["messages"].as_array().expect("messages");
    if messages.last().expect("a message")["role"] == "tool" {
        return words_of(&["31", " degrees."]);
    }
    let (lahore, delhi) = (r#"{"city": "Lahore"}"#, r#"{"city": "Delhi"}"#);
    match asked.question().as_str() {
        "What is the weather in Lahore?" => calling(&[("call_1", "get_weather", lahore)]),
        "Think of the weather in Lahore." => {
            let function = json!({ "name": "get_weather", "arguments": lahore });
            let call = json!({ "index": 0, "id": "call_1", "type": "function", "function": function,
                               "extra_content": { "google": { "thought_signature": "sealed" } } });
            let thought = piece(&json!({ "reasoning_content": "Hm." }));
            let call = piece(&json!({ "tool_calls": [call] }));
            stream([vec![thought, call], end("tool_calls", 20, 5)].concat())
        }
        "What is the weather in Lahore and Delhi?" => calling(&[
            ("call_1", "get_weather", lahore),
            ("call_2", "get_weather", delhi),
        ]),
        "My name is Ana." => words_of(&["Hello,", " Ana."]),
        "What is my name?" => words_of(&["Your", " name is Ana."]),
        "Leave me." => refusal(429, "Rate limit reached").with("retry-after", "60"),
        "Be spent." => {
            let told = "Rate limit reached for requests per day (RPD): Limit 1000, Used 1000";
            refusal(429, told).with("retry-after", "40000")
        }
        "Be busy once." | "Be busy once more." if times == 1 => {
            refusal(429, "Rate limit reached").with("retry-after-ms", "50")
        }
        "Be away." => refusal(503, "overloaded"),
        // The product itself asks again once, and its client only after that.
        "Be away twice." if times <= 2 => refusal(503, "overloaded"),
        "Be busy once." | "Be busy once more." | "Be away twice." => words_of(&["At", " last."]),
        "Break off." => stream(vec![delta("Half"), Step::Cut]),
        "Be silent." => stream(vec![Step::Hold]),
        "Talk." => {
            let steps = vec![delta("One "), Step::Hold, delta("two")];
            stream([steps, end("stop", 11, 2)].concat())
        }
        _ => words_of(&["Salt", " and", " water."]),
    }
}

fn piece(delta: &Value) -> Step {
    event(&json!({ "choices": [{ "index": 0, "delta": delta, "finish_reason": null }] }))
}

/// What Groq and Gemini say of messages that they do not take: fields of others, null, and calls of Gemini without its seal.
fn not_taken(body: &Value) -> Option<String> {
    let is_gemini = body["model"] == GEMINI;
    if !is_gemini && body["model"] != GROQ {
        return None;
    }
    for message in body["messages"].as_array()? {
        for (name, value) in message.as_object()? {
            let is_null = value.is_null() && name != "content";
            if is_null || !TAKEN.contains(&name.as_str()) {
                return Some(format!("property '{name}' is unsupported"));
            }
        }
        for call in message["tool_calls"].as_array().into_iter().flatten() {
            if call["extra_content"].is_object() != is_gemini {
                return Some("thought_signature is missing, or not known".to_owned());
            }
        }
    }
    None
}

/// Makes of each text a vector of its length in bytes, a half, minus one, and its position.
fn vectors(body: &Value) -> Value {
    let texts = match &body["input"] {
        Value::Array(texts) => texts.clone(),
        text => vec![text.clone()],
    };
    let is_packed = body["encoding_format"] == "base64";
    let vectors = texts.iter().enumerate().map(|(index, text)| {
        let length = text.as_str().expect("a text").len();
        let numbers = [small(length), 0.5, -1.0, small(index)];
        let embedding = if is_packed {
            let packed = numbers.iter().flat_map(|number| number.to_le_bytes());
            json!(BASE64_STANDARD.encode(packed.collect::<Vec<u8>>()))
        } else {
            json!(numbers)
        };
        json!({ "object": "embedding", "index": index, "embedding": embedding })
    });
    let vectors: Vec<Value> = vectors.collect();
    let tokens = texts.len();
    json!({
        "object": "list", "model": body["model"], "data": vectors,
        "usage": { "prompt_tokens": tokens, "total_tokens": tokens },
    })
}

fn small(number: usize) -> f32 {
    f32::from(u16::try_from(number).expect("a short text"))
}

/// Hears the same in every sound, in whatever form it is wanted.
async fn hear(State(counts): State<Arc<Counts>>, mut form: Multipart) -> Response {
    let mut format = "json".to_owned();
    while let Some(field) = form.next_field().await.expect("a good form") {
        if field.name() == Some("response_format") {
            format = field.text().await.expect("a text");
        }
    }
    counts.heard.lock().unwrap().push(format.clone());
    match format.as_str() {
        "verbose_json" => json_of(&verbose_body("english", SAID)),
        "text" => format!("{SAID}\n").into_response(),
        "srt" => format!("1\n00:00:00,000 --> 00:00:02,000\n{SAID}\n\n").into_response(),
        "vtt" => format!("WEBVTT\n\n00:00:00.000 --> 00:00:02.000\n{SAID}\n\n").into_response(),
        _ => json_of(&json!({ "text": SAID, "usage": { "type": "duration", "seconds": 2 } })),
    }
}

fn json_of(body: &Value) -> Response {
    let content_type = [(header::CONTENT_TYPE, "application/json")];
    (content_type, body.to_string()).into_response()
}
