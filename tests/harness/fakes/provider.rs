//! A provider of models that speaks `OpenAI`'s protocol: real HTTP, word by word, as a test scripts it.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::Response,
    routing::{get, post},
};
use serde_json::{Value, json};
use shared::config::ProviderArgs;
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};

/// Something that the server does.
#[derive(Debug, Clone)]
pub enum Step {
    /// Sends these bytes.
    Send(String),
    /// Waits.
    Pause(Duration),
    /// Waits until the test says so.
    Hold,
    /// Breaks the connection.
    Cut,
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Script {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub steps: Vec<Step>,
}

/// What was asked.
#[derive(Debug, Clone)]
pub struct Asked {
    pub key: String,
    pub body: Value,
    pub at: Instant,
}

impl Asked {
    /// What was said last.
    pub fn question(&self) -> String {
        let messages = self.body["messages"].as_array().expect("messages");
        text_of(&messages.last().expect("a message")["content"])
    }

    /// All messages as `role: text`.
    pub fn messages(&self) -> Vec<String> {
        let messages = self.body["messages"].as_array().expect("messages");
        let shown = messages.iter().map(|message| {
            let role = message["role"].as_str().expect("a role");
            format!("{role}: {}", text_of(&message["content"]))
        });
        shown.collect()
    }
}

fn text_of(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        parts => {
            let parts = parts.as_array().expect("parts");
            let texts = parts.iter().map(|part| match part["text"].as_str() {
                Some(text) => text.to_owned(),
                None => format!("<{}>", part["type"].as_str().unwrap_or_default()),
            });
            texts.collect::<Vec<_>>().join(" ")
        }
    }
}

type Answer = dyn Fn(&Asked) -> Script + Send + Sync;

struct Shared {
    answer: Box<Answer>,
    asked: Mutex<Vec<Asked>>,
    /// Answers that are being sent.
    open: AtomicUsize,
    released: watch::Sender<bool>,
    models_asked: AtomicUsize,
}

/// The server.
pub struct Provider {
    pub base_url: String,
    shared: Arc<Shared>,
    serving: JoinHandle<()>,
}

impl Provider {
    /// Starts one that answers each question as `answer` says.
    pub async fn start(answer: impl Fn(&Asked) -> Script + Send + Sync + 'static) -> Self {
        Self::start_with(answer, Router::new()).await
    }

    /// Starts one that does more than answer questions.
    pub async fn start_with(
        answer: impl Fn(&Asked) -> Script + Send + Sync + 'static,
        more: Router,
    ) -> Self {
        let shared = Arc::new(Shared {
            answer: Box::new(answer),
            asked: Mutex::default(),
            open: AtomicUsize::new(0),
            released: watch::Sender::new(false),
            models_asked: AtomicUsize::new(0),
        });
        let router = Router::new()
            .route("/v1/chat/completions", post(complete))
            .route("/v1/embeddings", post(complete))
            .route("/v1/models", get(list))
            .with_state(shared.clone())
            .merge(more)
            .layer(axum::extract::DefaultBodyLimit::max(64 << 20));
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let address = listener.local_addr().expect("an address");
        #[expect(clippy::disallowed_methods, reason = "Provider owns it")]
        let serving = tokio::spawn(async move {
            axum::serve(listener, router).await.expect("it serves");
        });
        Self {
            base_url: format!("http://{address}/v1"),
            shared,
            serving,
        }
    }

    /// Starts one that says the same to everybody.
    pub async fn saying(words: &[&str]) -> Self {
        let script = words_of(words);
        Self::start(move |_| script.clone()).await
    }

    /// The variables of a product whose `OpenAI` this is.
    pub fn args(&self, keys: &str) -> ProviderArgs {
        ProviderArgs {
            openai_api_keys: Some(keys.to_owned()),
            openai_base_url: Some(self.base_url.clone()),
            ..ProviderArgs::default()
        }
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.shared.asked.lock().unwrap().clone()
    }

    /// How many answers are being sent.
    pub fn open(&self) -> usize {
        self.shared.open.load(Ordering::SeqCst)
    }

    /// How often somebody asked for the models.
    pub fn models_asked(&self) -> usize {
        self.shared.models_asked.load(Ordering::SeqCst)
    }

    /// Ends all that is held.
    pub fn release(&self) {
        self.shared.released.send_replace(true);
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

struct Open(Arc<Shared>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::SeqCst);
    }
}

async fn list(State(shared): State<Arc<Shared>>) -> String {
    shared.models_asked.fetch_add(1, Ordering::SeqCst);
    json!({ "object": "list", "data": [] }).to_string()
}

async fn complete(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: Bytes) -> Response {
    let key = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .map(|value| value.trim_start_matches("Bearer ").to_owned());
    let asked = Asked {
        key: key.unwrap_or_default(),
        body: serde_json::from_slice(&body).expect("a JSON body"),
        at: Instant::now(),
    };
    shared.asked.lock().unwrap().push(asked.clone());
    let script = (shared.answer)(&asked);
    shared.open.fetch_add(1, Ordering::SeqCst);
    let open = Open(shared.clone());
    let steps = VecDeque::from(script.steps);
    let pieces = futures::stream::unfold((steps, open), |(mut steps, open)| async move {
        loop {
            match steps.pop_front()? {
                Step::Send(text) => {
                    return Some((Ok::<_, std::io::Error>(Bytes::from(text)), (steps, open)));
                }
                Step::Pause(time) => tokio::time::sleep(time).await,
                Step::Hold => {
                    let mut released = open.0.released.subscribe();
                    released.wait_for(|is| *is).await.expect("it is there");
                }
                Step::Cut => {
                    // What was sent before must have left.
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    let cut = std::io::Error::other("the connection breaks");
                    return Some((Err(cut), (VecDeque::new(), open)));
                }
            }
        }
    });
    let mut response = Response::new(Body::from_stream(pieces));
    *response.status_mut() = StatusCode::from_u16(script.status).expect("a status");
    for (name, value) in script.headers {
        let value = value.parse().expect("a header");
        response.headers_mut().insert(name, value);
    }
    response
}

/// An event with more words.
pub fn delta(text: &str) -> Step {
    event(
        &json!({ "id": "x", "object": "chat.completion.chunk", "choices": [
        { "index": 0, "delta": { "content": text }, "finish_reason": null }
    ] }),
    )
}

/// An event of a stream.
pub fn event(data: &Value) -> Step {
    Step::Send(format!("data: {data}\n\n"))
}

/// A call of a tool, in two pieces.
pub fn tool_call(index: usize, id: &str, name: &str, arguments: &str) -> Vec<Step> {
    let piece = |call: Value| {
        event(&json!({ "choices": [
            { "index": 0, "delta": { "tool_calls": [call] }, "finish_reason": null }
        ] }))
    };
    vec![
        piece(json!({ "index": index, "id": id, "type": "function",
                      "function": { "name": name, "arguments": "" } })),
        piece(json!({ "index": index, "function": { "arguments": arguments } })),
    ]
}

/// An answer that wants tools to be called: their ids, names and arguments.
pub fn calling(calls: &[(&str, &str, &str)]) -> Script {
    let steps = calls.iter().enumerate();
    let steps =
        steps.flat_map(|(index, (id, name, arguments))| tool_call(index, id, name, arguments));
    stream(steps.chain(end("tool_calls", 20, 5)).collect())
}

/// The end of an answer: its reason, its figures, and the mark.
pub fn end(finish: &str, input: usize, output: usize) -> Vec<Step> {
    vec![
        event(
            &json!({ "choices": [{ "index": 0, "delta": {}, "finish_reason": finish }], "usage": null }),
        ),
        event(&json!({ "choices": [], "usage": {
            "prompt_tokens": input, "completion_tokens": output, "total_tokens": input + output } })),
        Step::Send("data: [DONE]\n\n".to_owned()),
    ]
}

/// An answer of some steps.
pub fn stream(steps: Vec<Step>) -> Script {
    Script {
        status: 200,
        headers: vec![("content-type", "text/event-stream".to_owned())],
        steps,
    }
}

/// These words, one after the other: 11 tokens were read, and one for each word was written.
pub fn words_of(words: &[&str]) -> Script {
    let steps = words.iter().map(|word| delta(word));
    stream(steps.chain(end("stop", 11, words.len())).collect())
}

/// An answer in one piece.
pub fn whole(body: &Value) -> Script {
    Script {
        status: 200,
        headers: vec![("content-type", "application/json".to_owned())],
        steps: vec![Step::Send(body.to_string())],
    }
}

/// An error as providers give it.
pub fn refusal(status: u16, message: &str) -> Script {
    let body = json!({ "error": { "message": message, "type": "error", "code": null } });
    Script {
        status,
        headers: vec![("content-type", "application/json".to_owned())],
        steps: vec![Step::Send(body.to_string())],
    }
}

impl Script {
    /// The same, with one more header.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }
}
