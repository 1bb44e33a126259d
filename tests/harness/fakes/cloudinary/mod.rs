//! Cloudinary: keeps objects in memory, and believes no signature that it has not computed itself.

mod calls;
mod delivery;

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    extract::{DefaultBodyLimit, Request},
    http::{HeaderValue, Method, StatusCode, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use shared::clock::Clock;
use tokio::net::TcpListener;

const CLOUD: &str = "demo";
const API_KEY: &str = "1234";
const SECRET: &str = "hush-_hush";

const UP: u8 = 0;
const DOWN: u8 = 1;
const STALLED: u8 = 2;

/// The service; it ends with the test's runtime.
pub struct Cloudinary {
    address: std::net::SocketAddr,
    state: Arc<State>,
}

/// An object, and how it was uploaded.
#[derive(Debug, Clone)]
pub struct Stored {
    pub bytes: Bytes,
    pub created_at: DateTime<Utc>,
    /// All parameters of its upload.
    pub parameters: BTreeMap<String, String>,
}

#[derive(Default)]
struct State {
    mood: AtomicU8,
    asked_while_down: AtomicUsize,
    asked: AtomicUsize,
    /// What it says next, whatever it is asked: status and `Retry-After`.
    scripted: Mutex<Vec<(StatusCode, Option<&'static str>)>>,
    /// How many bytes it sends of what it delivers next, if it breaks off.
    breaks_after: Mutex<Option<usize>>,
    ignores_ranges: Mutex<bool>,
    /// What it puts before the ids of objects.
    preset: Mutex<&'static str>,
    /// Largest object; zero: any.
    max_bytes: AtomicU64,
    /// By type (image, raw) and public id.
    objects: Mutex<BTreeMap<(String, String), Stored>>,
    /// Parts, by the id of their upload.
    unfinished: Mutex<BTreeMap<String, Vec<u8>>>,
}

/// Why it does not do as asked.
struct Refusal {
    status: StatusCode,
    message: String,
    /// Where objects are delivered, there is no body.
    in_head: bool,
    retry_after: Option<&'static str>,
}

type Answer = Result<Response, Refusal>;

impl Cloudinary {
    pub async fn start() -> Self {
        let state = Arc::new(State::default());
        let answering = state.clone();
        let router = Router::new()
            .fallback(move |request: Request| {
                let state = answering.clone();
                async move { state.answer(request).await }
            })
            .layer(DefaultBodyLimit::disable());
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let address = listener.local_addr().expect("an address");
        #[expect(clippy::disallowed_methods, reason = "it ends with the test's runtime")]
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { address, state }
    }

    /// `STORAGE_URL` of its account.
    pub fn url(&self) -> String {
        self.url_with_secret(SECRET)
    }

    pub fn url_with_secret(&self, secret: &str) -> String {
        let base = format!("http://{}", self.address);
        format!(
            "cloudinary://{API_KEY}:{secret}@{CLOUD}?base_url={base}&delivery_url={base}/delivery"
        )
    }

    /// From now on every request is answered with 503.
    pub fn go_down(&self) {
        self.state.mood.store(DOWN, Ordering::SeqCst);
    }

    /// From now on uploads are not answered.
    pub fn stall_uploads(&self) {
        self.state.mood.store(STALLED, Ordering::SeqCst);
    }

    pub fn come_back(&self) {
        self.state.mood.store(UP, Ordering::SeqCst);
    }

    pub fn asked_while_down(&self) -> usize {
        self.state.asked_while_down.load(Ordering::SeqCst)
    }

    /// Requests so far.
    pub fn asked(&self) -> usize {
        self.state.asked.load(Ordering::SeqCst)
    }

    /// Answers the next request so.
    pub fn answers_next(&self, status: u16, retry_after: Option<&'static str>) {
        let status = StatusCode::from_u16(status).expect("a status");
        lock(&self.state.scripted).push((status, retry_after));
    }

    /// Breaks off what it delivers next.
    pub fn breaks_off_after(&self, bytes: usize) {
        *lock(&self.state.breaks_after) = Some(bytes);
    }

    /// From now on it delivers the whole, whatever part is asked for.
    pub fn ignore_ranges(&self) {
        *lock(&self.state.ignores_ranges) = true;
    }

    /// From now on what is uploaded gets another name, as an account's default upload preset can have it.
    pub fn rename_uploads(&self) {
        *lock(&self.state.preset) = "preset/";
    }

    /// From now on larger objects are refused.
    pub fn limit(&self, bytes: u64) {
        self.state.max_bytes.store(bytes, Ordering::SeqCst);
    }

    /// Puts an object there, past everything of ours.
    pub fn put(&self, key: &str, bytes: &'static [u8], age: Duration) {
        let stored = Stored {
            bytes: Bytes::from_static(bytes),
            created_at: Clock::System.now() - age,
            parameters: BTreeMap::new(),
        };
        let kept = if key.contains("/images/") {
            "image"
        } else {
            "raw"
        };
        let id = (kept.to_owned(), key.to_owned());
        lock(&self.state.objects).insert(id, stored);
    }

    /// Makes an object older.
    pub fn age(&self, key: &str, age: Duration) {
        for ((_, id), stored) in &mut *lock(&self.state.objects) {
            if id == key {
                stored.created_at = Clock::System.now() - age;
            }
        }
    }

    /// An object, and as what it is kept.
    pub fn object(&self, key: &str) -> Option<(String, Stored)> {
        let objects = lock(&self.state.objects);
        let found = objects.iter().find(|((_, id), _)| id == key);
        found.map(|((kept, _), stored)| (kept.clone(), stored.clone()))
    }

    /// How many objects there are.
    pub fn objects(&self) -> usize {
        lock(&self.state.objects).len()
    }

    /// Uploads whose last part has not come.
    pub fn unfinished(&self) -> usize {
        lock(&self.state.unfinished).len()
    }
}

impl State {
    async fn answer(&self, request: Request) -> Answer {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let path = request.uri().path().trim_matches('/').to_owned();
        let segments: Vec<&str> = path.split('/').collect();
        match self.mood.load(Ordering::SeqCst) {
            DOWN => {
                self.asked_while_down.fetch_add(1, Ordering::SeqCst);
                return Err(refusal(StatusCode::SERVICE_UNAVAILABLE, "down"));
            }
            STALLED if path.ends_with("/upload") => std::future::pending().await,
            _ => {}
        }
        if let Some((status, retry_after)) = lock(&self.scripted).pop() {
            let refusal = refusal(status, "as the test wants it");
            return Err(Refusal {
                retry_after,
                ..refusal
            });
        }
        let query = request.uri().query().unwrap_or_default().to_owned();
        let query: BTreeMap<String, String> = url::form_urlencoded::parse(query.as_bytes())
            .into_owned()
            .collect();
        match (request.method().clone(), segments.as_slice()) {
            (Method::POST, ["v1_1", CLOUD, kept, "upload"]) => self.upload(kept, request).await,
            (Method::POST, ["v1_1", CLOUD, kept, "destroy"]) => self.destroy(kept, request).await,
            (Method::GET, ["v1_1", CLOUD, kept, "download"]) => self.download(kept, &query),
            (Method::GET, ["v1_1", CLOUD, "resources", kept, "authenticated"]) => {
                self.list(kept, request.headers(), &query)
            }
            (
                Method::GET | Method::HEAD,
                ["delivery", kept, "authenticated", signature, rest @ ..],
            ) => self.deliver(kept, signature, rest, request.headers()),
            (_, ["v1_1", cloud, ..]) if *cloud != CLOUD => {
                Err(refusal(StatusCode::UNAUTHORIZED, "Invalid cloud_name"))
            }
            _ => Err(refusal(StatusCode::NOT_FOUND, "Not found")),
        }
    }

    fn find(&self, kept: &str, id: &str) -> Result<Stored, Refusal> {
        let id = (kept.to_owned(), id.to_owned());
        let found = lock(&self.objects).get(&id).cloned();
        found.ok_or_else(|| in_head(StatusCode::NOT_FOUND, "Resource not found"))
    }
}

/// The object itself, or what was made of it when it was uploaded.
fn transformed(stored: &Stored, transformation: Option<&str>) -> Result<Bytes, Refusal> {
    match transformation {
        None | Some("fl_original") => Ok(stored.bytes.clone()),
        asked if stored.parameters.get("eager").map(String::as_str) == asked => {
            Ok(Bytes::from_static(b"made of it"))
        }
        Some(_) => Err(bad("nobody made that")),
    }
}

fn ok(value: &Value) -> Response {
    let headers = [(header::CONTENT_TYPE, "application/json")];
    (headers, value.to_string()).into_response()
}

fn bad(message: &str) -> Refusal {
    refusal(StatusCode::BAD_REQUEST, message)
}

fn refusal(status: StatusCode, message: &str) -> Refusal {
    Refusal {
        status,
        message: message.to_owned(),
        in_head: false,
        retry_after: None,
    }
}

/// As where objects are delivered.
fn in_head(status: StatusCode, message: &str) -> Refusal {
    Refusal {
        in_head: true,
        ..refusal(status, message)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut answer = if self.in_head {
            (self.status, [("x-cld-error", self.message)]).into_response()
        } else {
            let body = ok(&json!({ "error": { "message": self.message } }));
            (self.status, body).into_response()
        };
        if let Some(retry_after) = self.retry_after {
            let retry_after = HeaderValue::from_static(retry_after);
            let headers = answer.headers_mut();
            headers.insert(header::RETRY_AFTER, retry_after);
        }
        answer
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no test panics in here")
}
