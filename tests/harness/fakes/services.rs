//! Services that tools ask: real HTTP, all at one address, each at a path of its own, as a test scripts them.

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex},
    time::Instant,
};

use axum::{
    Router,
    body::{Body, Bytes, to_bytes},
    extract::{Request, State},
    http::{HeaderMap, StatusCode, header},
    response::Response,
};
use futures::stream;
use serde_json::Value;
use shared::config::ToolArgs;
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};

/// What was asked.
#[derive(Debug, Clone)]
pub struct Asked {
    pub method: String,
    /// Without the query.
    pub path: String,
    pub query: BTreeMap<String, String>,
    pub headers: HeaderMap,
    /// Null where it is no JSON.
    pub body: Value,
    pub at: Instant,
}

impl Asked {
    pub fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value.map_or("", |value| value.to_str().expect("a text"))
    }
}

/// What is answered.
#[derive(Debug, Clone)]
pub struct Reply {
    pub status: u16,
    pub body: String,
    /// Whether it waits until the test says so.
    pub is_held: bool,
    /// Whether the connection breaks after it.
    pub is_cut: bool,
}

impl Reply {
    pub fn json(body: &Value) -> Self {
        Self::new(200, &body.to_string())
    }

    pub fn new(status: u16, body: &str) -> Self {
        Self {
            status,
            body: body.to_owned(),
            is_held: false,
            is_cut: false,
        }
    }

    #[must_use]
    pub fn held(self) -> Self {
        Self {
            is_held: true,
            ..self
        }
    }

    #[must_use]
    pub fn cut(self) -> Self {
        Self {
            is_cut: true,
            ..self
        }
    }
}

type Answer = dyn Fn(&Asked) -> Reply + Send + Sync;

struct Shared {
    answer: Box<Answer>,
    asked: Mutex<Vec<Asked>>,
    released: watch::Sender<bool>,
}

/// The server.
pub struct Services {
    pub base_url: String,
    shared: Arc<Shared>,
    serving: JoinHandle<()>,
}

impl Services {
    /// Starts one that answers each question as `answer` says.
    pub async fn start(answer: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Self {
        let shared = Arc::new(Shared {
            answer: Box::new(answer),
            asked: Mutex::default(),
            released: watch::Sender::new(false),
        });
        let router = Router::new().fallback(reply).with_state(shared.clone());
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let address = listener.local_addr().expect("an address");
        #[expect(clippy::disallowed_methods, reason = "Services owns it")]
        let serving = tokio::spawn(async move {
            axum::serve(listener, router).await.expect("it serves");
        });
        Self {
            base_url: format!("http://{address}"),
            shared,
            serving,
        }
    }

    /// The variables of a product that asks it for everything: the weather at `/weather`, and so on.
    pub fn args(&self) -> ToolArgs {
        let at = |path: &str| Some(format!("{}/{path}", self.base_url));
        let key = |name: &str| Some(format!("key-of-{name}"));
        ToolArgs {
            openweather_api_key: key("weather"),
            openweather_base_url: at("weather"),
            exchange_rate_api_key: key("currency"),
            exchange_rate_base_url: at("currency"),
            news_api_key: key("news"),
            news_base_url: at("news"),
            tavily_api_key: key("web"),
            tavily_base_url: at("web"),
            google_places_base_url: at("google"),
            nominatim_base_url: at("nominatim"),
            ..ToolArgs::default()
        }
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.shared.asked.lock().unwrap().clone()
    }

    /// Answers all that is held, and all that comes.
    pub fn release(&self) {
        self.shared.released.send_replace(true);
    }
}

impl Drop for Services {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn reply(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, 1 << 20).await.expect("a body");
    let query = parts.uri.query().unwrap_or_default();
    let asked = Asked {
        method: parts.method.to_string(),
        path: parts.uri.path().to_owned(),
        query: url::form_urlencoded::parse(query.as_bytes())
            .into_owned()
            .collect(),
        headers: parts.headers,
        body: serde_json::from_slice(&body).unwrap_or_default(),
        at: Instant::now(),
    };
    let reply = (shared.answer)(&asked);
    shared.asked.lock().unwrap().push(asked);
    if reply.is_held {
        let mut released = shared.released.subscribe();
        released.wait_for(|is| *is).await.expect("it is there");
    }
    let status = StatusCode::from_u16(reply.status).expect("a status");
    let response = Response::builder().status(status);
    let response = if status.is_redirection() {
        response.header(header::LOCATION, &reply.body)
    } else {
        response.header(header::CONTENT_TYPE, "application/json")
    };
    let body = if reply.is_cut {
        let cut = io::Error::other("the connection breaks");
        Body::from_stream(stream::iter([Ok(Bytes::from(reply.body)), Err(cut)]))
    } else {
        Body::from(reply.body)
    };
    response.body(body).expect("a response")
}
