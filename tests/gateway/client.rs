//! Asks the provider or the API.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use futures::StreamExt as _;
use serde_json::{Value, json};

const QUESTION: &str = "What is the sea?";

/// Who is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    Provider,
    Api,
}

#[derive(Debug, Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    url: String,
    token: String,
    asked: Asked,
}

/// An answer that was streamed.
#[derive(Debug)]
pub(crate) struct Streamed {
    /// Until its first word.
    pub(crate) first: Duration,
    /// Its pieces.
    pub(crate) pieces: usize,
    /// All of it.
    pub(crate) text: String,
}

impl Client {
    pub(crate) fn new(base: &str, token: &str, asked: Asked) -> anyhow::Result<Self> {
        let path = match asked {
            Asked::Provider => "/v1/chat/completions",
            Asked::Api => "/api/v1/chat/completions",
        };
        let http = reqwest::Client::builder()
            .no_proxy()
            .timeout(Duration::from_mins(1))
            .build()?;
        Ok(Self {
            http,
            url: format!("{}{path}", base.trim_end_matches('/')),
            token: token.to_owned(),
            asked,
        })
    }

    fn request(&self, model: &str, is_streamed: bool) -> reqwest::RequestBuilder {
        let body = match self.asked {
            Asked::Provider => json!({
                "model": model, "stream": true, "messages": [{ "role": "user", "content": QUESTION }],
            }),
            Asked::Api => json!({
                "model": format!("bench-{model}"), "stream": is_streamed, "message": QUESTION,
            }),
        };
        self.http
            .post(&self.url)
            .bearer_auth(&self.token)
            .json(&body)
    }

    /// Asks, and tells how long it took until all of the answer was there.
    pub(crate) async fn ask(&self, model: &str) -> anyhow::Result<Duration> {
        let began = Instant::now();
        let answer = self.request(model, false).send().await?;
        answer.error_for_status()?.bytes().await?;
        Ok(began.elapsed())
    }

    /// Asks for a stream, and reads it.
    pub(crate) async fn stream(&self, model: &str) -> anyhow::Result<Streamed> {
        let began = Instant::now();
        let answer = self.request(model, true).send().await?;
        let mut bytes = answer.error_for_status()?.bytes_stream();
        let (mut first, mut pieces, mut text) = (None, 0, String::new());
        let mut unread = Vec::new();
        while let Some(more) = bytes.next().await {
            unread.extend_from_slice(&more?);
            while let Some(end) = unread.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = unread.drain(..=end).collect();
                if let Some(said) = self.said(&line) {
                    first.get_or_insert_with(|| began.elapsed());
                    pieces += 1;
                    text += &said;
                }
            }
        }
        let first = first.context("nothing was said")?;
        Ok(Streamed {
            first,
            pieces,
            text,
        })
    }

    /// What a line of a stream says.
    fn said(&self, line: &[u8]) -> Option<String> {
        let data: Value = serde_json::from_slice(line.strip_prefix(b"data: ")?).ok()?;
        let said = match self.asked {
            Asked::Provider => &data["choices"][0]["delta"]["content"],
            Asked::Api => &data["delta"],
        };
        said.as_str().map(str::to_owned)
    }
}
