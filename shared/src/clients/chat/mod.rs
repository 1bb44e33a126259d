//! Models that answer, by `OpenAI`'s protocol: Groq, `OpenRouter`, `DeepSeek`, Gemini, `OpenAI`, and whatever speaks like them.
//!
//! An answer is always asked for as a stream, so that it can be told, stored and stopped while it is made; whoever
//! answers in one piece all the same is understood. Sources: `OpenAI`'s reference of `POST /chat/completions`, and what the
//! providers say of their own, read in November 2026.

mod body;
mod chunk;
mod limit;
mod stream;

use std::time::Duration;

use http::{HeaderMap, StatusCode};
use reqwest::{Client, Response, redirect};
use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

pub use self::{
    body::{Part, Prompt, Said, Speaker},
    limit::Limit,
    stream::{Answer, AnswerError, Ending, Piece},
};
use super::retry_after::retry_after;
use crate::{catalogue::Quirks, clock::Clock, config::ProviderConfig};

const USER_AGENT: &str = concat!("BaatCheet/", env!("CARGO_PKG_VERSION"));
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// What providers say with 402 and 403 where the question is the trouble, and not the key: `OpenRouter` moderates, and reckons
/// with the longest answer.
const QUESTION: [&str; 4] = [
    "moderation",
    "flagged",
    "fewer max_tokens",
    "content policy",
];
/// Longest wait for a sign of life.
const PROBE_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest time without a byte.
pub const SILENCE: Duration = Duration::from_mins(1);
/// Largest answer that is no success.
const MAX_REFUSAL_BYTES: usize = 64 << 10;
/// What is kept of an error's message.
const MAX_REASON_CHARACTERS: usize = 300;

/// The way to all providers; cheap to clone, and keeps their connections open.
#[derive(Debug, Clone)]
pub struct Models {
    http: Client,
    clock: Clock,
    silence: Duration,
}

/// Why there is no answer. Nothing was said yet, so others may be asked.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// This key is not taken, or has no money left. Another one may.
    #[error("the key is refused ({status}): {reason}")]
    Key {
        /// 401, 402 or 403.
        status: u16,
        /// What was said.
        reason: String,
    },
    /// Too much was asked with this key's account.
    #[error("too many requests: {reason}")]
    Limited {
        /// What was said.
        reason: String,
        /// For how long, and whether the day is used up.
        limit: Limit,
    },
    /// It is away, busy, or out of order.
    #[error("not available: {reason}")]
    Unavailable {
        /// What was said, or what went wrong.
        reason: String,
        /// When it wants to be asked again.
        retry_after: Option<Duration>,
    },
    /// The question is not taken, whoever asks.
    #[error("the question is refused ({status}): {reason}")]
    Refused {
        /// 400 or another of the four hundreds.
        status: u16,
        /// What was said.
        reason: String,
    },
}

impl Models {
    /// Makes the client.
    ///
    /// # Errors
    /// When no root certificates can be loaded.
    pub fn new(clock: Clock) -> anyhow::Result<Self> {
        let http = Client::builder()
            .user_agent(USER_AGENT)
            .connect_timeout(CONNECT_TIMEOUT)
            .redirect(redirect::Policy::none())
            .build()?;
        Ok(Self {
            http,
            clock,
            silence: SILENCE,
        })
    }

    /// The same, but impatient.
    #[must_use]
    pub fn with_silence(mut self, silence: Duration) -> Self {
        self.silence = silence;
        self
    }

    /// Asks a provider with one of its keys; `prompt.model` is its own name of the model.
    ///
    /// Dropping the answer closes the connection: the provider stops.
    ///
    /// # Errors
    /// See [`AskError`].
    pub async fn ask(
        &self,
        provider: &ProviderConfig,
        key: &SecretString,
        prompt: &Prompt,
    ) -> Result<Answer, AskError> {
        let base = provider.base_url.as_str().trim_end_matches('/');
        let url =
            Url::parse(&format!("{base}/chat/completions")).map_err(|error| unavailable(&error))?;
        let mut request = self
            .http
            .post(url)
            .json(&body::body(prompt, &provider.quirks));
        // A server of one's own may want none.
        if !key.expose_secret().is_empty() {
            request = request.bearer_auth(key.expose_secret());
        }
        let response = tokio::time::timeout(self.silence, request.send())
            .await
            .map_err(|_| unavailable(&"it does not answer"))?
            .map_err(|error| unavailable(&anyhow::Error::from(error.without_url())))?;
        if response.status().is_success() {
            return Ok(Answer::read(response, self.silence));
        }
        Err(self.refusal(response, &provider.quirks).await)
    }

    /// Asks a provider for its models, which costs nothing, and tells whether it answers.
    ///
    /// # Errors
    /// See [`AskError`].
    pub async fn probe(
        &self,
        provider: &ProviderConfig,
        key: &SecretString,
    ) -> Result<(), AskError> {
        let base = provider.base_url.as_str().trim_end_matches('/');
        let url = Url::parse(&format!("{base}/models")).map_err(|error| unavailable(&error))?;
        let mut request = self.http.get(url).timeout(PROBE_TIMEOUT);
        if !key.expose_secret().is_empty() {
            request = request.bearer_auth(key.expose_secret());
        }
        let response = request
            .send()
            .await
            .map_err(|error| unavailable(&anyhow::Error::from(error.without_url())))?;
        if response.status().is_success() {
            return Ok(());
        }
        Err(self.refusal(response, &provider.quirks).await)
    }

    async fn refusal(&self, response: Response, quirks: &Quirks) -> AskError {
        let (status, headers) = (response.status(), response.headers().clone());
        let body = read_some(response, self.silence).await;
        let reason = chunk::reason_of(&body).unwrap_or_else(|| status.to_string());
        let limit = Limit::read(&headers, &body, quirks, self.clock.now());
        self.classify(status, &headers, limit, reason)
    }

    fn classify(
        &self,
        status: StatusCode,
        headers: &HeaderMap,
        limit: Limit,
        reason: String,
    ) -> AskError {
        let retry_after = retry_after(headers, self.clock.now());
        let code = status.as_u16();
        match code {
            // It is the question that is refused, or what it may cost; every key would be.
            402 | 403
                if QUESTION
                    .iter()
                    .any(|word| reason.to_lowercase().contains(word)) =>
            {
                AskError::Refused {
                    status: code,
                    reason,
                }
            }
            401..=403 => AskError::Key {
                status: code,
                reason,
            },
            429 => AskError::Limited { reason, limit },
            400..=499 if code != 408 => AskError::Refused {
                status: code,
                reason,
            },
            _ => AskError::Unavailable {
                reason: format!("{code}: {reason}"),
                retry_after,
            },
        }
    }
}

impl AnswerError {
    /// What it would have been with a status of its own: some providers say 200 before they know.
    pub fn as_refusal(&self) -> Option<AskError> {
        let Self::Said(reason, Some(status)) = self else {
            return None;
        };
        let (status, reason) = (*status, reason.clone());
        match status {
            401 | 402 => Some(AskError::Key { status, reason }),
            429 => Some(AskError::Limited {
                reason,
                limit: Limit::default(),
            }),
            400 | 403 | 404 | 413 | 422 => Some(AskError::Refused { status, reason }),
            _ => None,
        }
    }
}

fn unavailable(error: &impl std::fmt::Display) -> AskError {
    AskError::Unavailable {
        reason: cut(&format!("{error:#}")),
        retry_after: None,
    }
}

/// The beginning of a body; what cannot be read is left out.
async fn read_some(mut response: Response, silence: Duration) -> Vec<u8> {
    let mut body = Vec::new();
    while let Ok(Ok(Some(piece))) = tokio::time::timeout(silence, response.chunk()).await {
        let room = MAX_REFUSAL_BYTES - body.len();
        body.extend_from_slice(&piece[..piece.len().min(room)]);
        if piece.len() >= room {
            break;
        }
    }
    body
}

/// One line of a reason, as much as is worth keeping.
fn cut(reason: &str) -> String {
    let line = reason.replace(char::is_control, " ");
    line.chars().take(MAX_REASON_CHARACTERS).collect()
}
