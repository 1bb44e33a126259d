//! What a user asks the API for, and what came of each request.

use std::time::{Duration, Instant};

use bytes::Bytes;
use reqwest::{RequestBuilder, StatusCode};
use serde_json::{Value, json};
use tokio::sync::mpsc::UnboundedSender;

use super::{
    routes::{CREATE_API_KEY, DOWNLOAD, REGISTER, Route},
    streams::{Streamed, Surface},
};

/// A request that has ended.
#[derive(Debug)]
pub(super) struct Sample {
    pub(super) route: Route,
    /// 0 where there was none.
    pub(super) status: u16,
    /// Until the answer was read, or given up.
    pub(super) took: Duration,
    pub(super) came: Came,
}

/// What came of a request.
#[derive(Debug)]
pub(super) enum Came {
    /// What was asked for.
    Answer,
    /// An answer of a model, to its end.
    Stream {
        surface: Surface,
        model: String,
        first: Duration,
    },
    /// No success, with its code.
    Refusal(String),
    /// A success that is not what was asked for, and why.
    Wrong(String),
    /// A stream that did not end well, and why.
    Broken(String),
    /// No answer, or not all of it, and why.
    Nothing(String),
}

/// Somebody with an account.
#[derive(Debug)]
pub(super) struct Client {
    http: reqwest::Client,
    api: String,
    /// The access token, and an API key; empty at first.
    token: String,
    key: String,
    samples: UnboundedSender<Sample>,
}

impl Client {
    pub(super) fn new(http: reqwest::Client, api: &str, samples: UnboundedSender<Sample>) -> Self {
        Self {
            http,
            api: api.trim_end_matches('/').to_owned(),
            token: String::new(),
            key: String::new(),
            samples,
        }
    }

    /// Makes an account with an API key, and tells whether that went well.
    pub(super) async fn register(&mut self, email: &str) -> bool {
        let body = json!({ "email": email, "password": "correct horse battery" });
        let request = self.request(REGISTER, "").json(&body);
        let session = self.ask(REGISTER, request, "/accessToken").await;
        let Some(token) = text(session.as_ref(), "/accessToken") else {
            return false;
        };
        self.token = token;
        let body = json!({ "name": "load", "scopes": ["read", "write"] });
        let request = self.request(CREATE_API_KEY, "").json(&body);
        let made = self.ask(CREATE_API_KEY, request, "/key").await;
        let key = text(made.as_ref(), "/key");
        self.key = key.unwrap_or_default();
        !self.key.is_empty()
    }

    /// Begins a request.
    pub(super) fn request(&self, route: Route, id: &str) -> RequestBuilder {
        self.request_with(route, id, "")
    }

    /// The same with a query.
    pub(super) fn request_with(&self, route: Route, id: &str, query: &str) -> RequestBuilder {
        let path = route.path.replace("{id}", id);
        let mark = if query.is_empty() { "" } else { "?" };
        let url = format!("{}{path}{mark}{query}", self.api);
        let credential = if route.is_openai() {
            &self.key
        } else {
            &self.token
        };
        let request = self.http.request(route.method(), url);
        if credential.is_empty() {
            request
        } else {
            request.bearer_auth(credential)
        }
    }

    /// Sends a request, and hands back what came of it, if that is JSON with something at `needed` (a JSON pointer), or nothing
    /// and nothing is needed.
    pub(super) async fn ask(
        &self,
        route: Route,
        request: RequestBuilder,
        needed: &str,
    ) -> Option<Value> {
        let began = Instant::now();
        let answer = whole(request).await;
        let took = began.elapsed();
        let (status, came, body) = match answer {
            Err(error) => (0, Came::Nothing(why(error)), None),
            Ok((status, body)) if status.is_success() => {
                let body = read(&body).filter(|body| body.pointer(needed).is_some());
                let came = if body.is_some() {
                    Came::Answer
                } else {
                    Came::Wrong(format!("it is no JSON, or has no {needed:?}"))
                };
                (status.as_u16(), came, body)
            }
            Ok((status, body)) => (status.as_u16(), Came::Refusal(code_of(&body)), None),
        };
        self.tell(route, status, took, came);
        body
    }

    /// Downloads what was uploaded, from the path of its signed URL.
    pub(super) async fn download(&self, path: &str, size_bytes: u64) {
        let began = Instant::now();
        // Signed, so nobody has to say who they are.
        let answer = whole(self.http.get(format!("{}{path}", self.api))).await;
        let took = began.elapsed();
        let (status, came) = match answer {
            Err(error) => (0, Came::Nothing(why(error))),
            Ok((status, body)) if status.is_success() => {
                let came = if body.len() as u64 == size_bytes {
                    Came::Answer
                } else {
                    Came::Wrong(format!("{} bytes of {size_bytes}", body.len()))
                };
                (status.as_u16(), came)
            }
            Ok((status, body)) => (status.as_u16(), Came::Refusal(code_of(&body))),
        };
        self.tell(DOWNLOAD, status, took, came);
    }

    /// Asks a model, and reads its answer while it is made.
    pub(super) async fn stream(
        &self,
        surface: Surface,
        model: &str,
        route: Route,
        request: RequestBuilder,
    ) -> Option<Streamed> {
        let began = Instant::now();
        let (status, came, streamed) = match request.send().await {
            Err(error) => (0, Came::Nothing(why(error)), None),
            Ok(answer) if answer.status().is_success() => {
                let status = answer.status().as_u16();
                match surface.read(answer, began).await {
                    Ok(streamed) => {
                        let came = Came::Stream {
                            surface,
                            model: model.to_owned(),
                            first: streamed.first,
                        };
                        (status, came, Some(streamed))
                    }
                    Err(error) => (status, Came::Broken(format!("{error:#}")), None),
                }
            }
            Ok(answer) => {
                let status = answer.status().as_u16();
                match answer.bytes().await {
                    Ok(body) => (status, Came::Refusal(code_of(&body)), None),
                    Err(error) => (status, Came::Nothing(why(error)), None),
                }
            }
        };
        self.tell(route, status, began.elapsed(), came);
        streamed
    }

    fn tell(&self, route: Route, status: u16, took: Duration, came: Came) {
        let sample = Sample {
            route,
            status,
            took,
            came,
        };
        // Whoever listens does so until the last user is gone.
        let _ = self.samples.send(sample);
    }
}

async fn whole(request: RequestBuilder) -> reqwest::Result<(StatusCode, Bytes)> {
    let answer = request.send().await?;
    let status = answer.status();
    Ok((status, answer.bytes().await?))
}

/// JSON; an answer without a body is null.
fn read(body: &[u8]) -> Option<Value> {
    if body.is_empty() {
        return Some(Value::Null);
    }
    serde_json::from_slice(body).ok()
}

/// The permanent code of a problem, in our words or in `OpenAI`'s.
fn code_of(body: &[u8]) -> String {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let error = &body["error"];
    let codes = [&body["code"], &error["code"], &error["type"]];
    let code = codes.into_iter().find_map(Value::as_str);
    code.unwrap_or("without a code").to_owned()
}

fn why(error: reqwest::Error) -> String {
    format!("{:#}", anyhow::Error::from(error.without_url()))
}

/// A text in an answer.
pub(super) fn text(answer: Option<&Value>, pointer: &str) -> Option<String> {
    let text = answer?.pointer(pointer)?.as_str()?;
    Some(text.to_owned())
}
