//! Sentry's ingest: keeps what programs report.

use std::sync::{Arc, Mutex};

use axum::{
    Router,
    extract::{Request, State},
    http::StatusCode,
    routing::post,
};
use serde_json::Value;
use tokio::net::TcpListener;

/// The server; it ends with the test.
pub struct Sentry {
    port: u16,
    bodies: Arc<Mutex<Vec<String>>>,
}

impl Sentry {
    pub async fn start() -> Self {
        let bodies = Arc::new(Mutex::new(Vec::new()));
        let router = Router::new()
            .route("/api/{project}/envelope/", post(keep))
            .with_state(bodies.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("its address").port();
        #[expect(clippy::disallowed_methods, reason = "it ends with the test")]
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { port, bodies }
    }

    pub fn dsn(&self) -> String {
        format!("http://publickey@127.0.0.1:{}/42", self.port)
    }

    /// All that has arrived, as it came.
    pub fn bodies(&self) -> Vec<String> {
        self.bodies.lock().unwrap().clone()
    }

    /// What has arrived of a type (`event`, `transaction`).
    pub fn items(&self, kind: &str) -> Vec<Value> {
        let mut items = Vec::new();
        for body in self.bodies() {
            // The first line is the envelope's own; then each item has a line of its own before it.
            let lines: Vec<&str> = body.lines().skip(1).collect();
            for pair in lines.chunks(2) {
                let header: Value = serde_json::from_str(pair[0]).expect("an item's header");
                if header["type"] == kind {
                    items.push(serde_json::from_str(pair[1]).expect("an item"));
                }
            }
        }
        items
    }
}

async fn keep(State(bodies): State<Arc<Mutex<Vec<String>>>>, request: Request) -> StatusCode {
    let auth = request.headers().get("x-sentry-auth").cloned();
    let auth = auth.expect("a key").to_str().expect("text").to_owned();
    assert!(auth.contains("sentry_key=publickey"), "{auth}");
    let body = axum::body::to_bytes(request.into_body(), 1 << 20).await;
    let body = String::from_utf8(body.expect("a body").to_vec()).expect("text");
    bodies.lock().unwrap().push(body);
    StatusCode::OK
}
