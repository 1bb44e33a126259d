//! Models that answer, by `OpenAI`'s protocol: Groq, `OpenRouter`, `DeepSeek`, Gemini, `OpenAI`, and whatever speaks like them.
//!
//! An answer is always asked for as a stream, so that it can be told, stored and stopped while it is made; whoever
//! answers in one piece all the same is understood. Sources: `OpenAI`'s reference of `POST /chat/completions`, and what the
//! providers say of their own, read in November 2026.

mod body;
mod calls;
mod chunk;
mod embed;
mod limit;
mod pass;
mod stream;

use std::time::Duration;

use chrono::{DateTime, Utc};
use http::{HeaderMap, StatusCode};
use reqwest::{Client, Response, redirect};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Serialize;
use url::Url;

pub use self::{
    body::{Part, Prompt, Said, Speaker, ToolSpec, ToolUse},
    calls::{ToolCall, ToolCallPart},
    embed::{Embedded, Embedding, Vector},
    limit::Limit,
    pass::Passed,
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
/// What they say where an account may not use a model, or nobody may from where we are.
const NO_SUCH: [&str; 5] = [
    "model_not_found",
    "model_permission",
    "access to model",
    "blocked at the",
    "location is not supported",
];
/// What Gemini says of a key with 400.
const BAD_KEY: [&str; 3] = ["api key not valid", "api_key_invalid", "api key expired"];
/// What they say with 429 where waiting does not help.
const NO_MONEY: [&str; 3] = ["insufficient_quota", "billing_hard_limit", "limit: 0,"];
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
        let body = body::body(prompt, &provider.quirks);
        let response = self.post(provider, key, "chat/completions", &body).await?;
        Ok(Answer::read(response, self.silence))
    }

    /// Posts something to a provider, and waits for the head of a success.
    async fn post(
        &self,
        provider: &ProviderConfig,
        key: &SecretString,
        path: &str,
        body: &(impl Serialize + Sync),
    ) -> Result<Response, AskError> {
        let base = provider.base_url.as_str().trim_end_matches('/');
        let url = Url::parse(&format!("{base}/{path}")).map_err(|error| unavailable(&error))?;
        let mut request = self.http.post(url).json(body);
        // A server of one's own may want none.
        if !key.expose_secret().is_empty() {
            request = request.bearer_auth(key.expose_secret());
        }
        let response = tokio::time::timeout(self.silence, request.send())
            .await
            .map_err(|_| unavailable(&"it does not answer"))?
            .map_err(|error| unavailable(&anyhow::Error::from(error.without_url())))?;
        if response.status().is_success() {
            return Ok(response);
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
        refusal(status, &headers, &body, quirks, self.clock.now())
    }
}

/// What an answer that is no success means for the key, its account, and the question.
pub fn refusal(
    status: StatusCode,
    headers: &HeaderMap,
    body: &[u8],
    quirks: &Quirks,
    now: DateTime<Utc>,
) -> AskError {
    let code = status.as_u16();
    let reason = chunk::reason_of(body).unwrap_or_else(|| status.to_string());
    let said = format!("{} {reason}", chunk::code_of(body).unwrap_or_default()).to_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| said.contains(word));
    let is_page = body.trim_ascii_start().starts_with(b"<");
    match code {
        400 if says(&BAD_KEY) => AskError::Key {
            status: code,
            reason,
        },
        // Of this model, or from here, nothing is to be had; the key may be good for others.
        400 | 403 if says(&NO_SUCH) => AskError::Refused {
            status: 404,
            reason,
        },
        402 | 403 if says(&QUESTION) && !says(&["afford 0"]) => AskError::Refused {
            status: code,
            reason,
        },
        // A page for people comes from something that stands before the provider.
        403 if is_page => AskError::Unavailable {
            reason: format!("{code}: {reason}"),
            retry_after: None,
        },
        401..=403 => AskError::Key {
            status: code,
            reason,
        },
        429 if says(&NO_MONEY) => AskError::Key {
            status: code,
            reason,
        },
        429 => AskError::Limited {
            reason,
            limit: Limit::read(headers, body, quirks, now),
        },
        400..=499 if code != 408 => AskError::Refused {
            status: code,
            reason,
        },
        _ => AskError::Unavailable {
            reason: format!("{code}: {reason}"),
            retry_after: retry_after(headers, now),
        },
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
                limit: Limit::of_text(&reason),
                reason,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_refused_is_told_apart() {
        let kind = |status: u16, body: &str| {
            let now = DateTime::UNIX_EPOCH;
            let status = StatusCode::from_u16(status).unwrap();
            let (headers, quirks) = (HeaderMap::new(), Quirks::default());
            match refusal(status, &headers, body.as_bytes(), &quirks, now) {
                AskError::Key { .. } => "key".to_owned(),
                AskError::Limited { .. } => "limited".to_owned(),
                AskError::Unavailable { .. } => "unavailable".to_owned(),
                AskError::Refused { status, .. } => format!("refused {status}"),
            }
        };
        let error = |code: &str, message: &str| {
            format!(r#"{{"error":{{"code":"{code}","message":"{message}"}}}}"#)
        };
        for (status, code, message, expected) in [
            (401, "invalid_api_key", "Incorrect API key provided", "key"),
            (402, "", "Insufficient Balance", "key"),
            (403, "", "Your account is suspended", "key"),
            (
                403,
                "model_not_found",
                "Project x does not have access to model y",
                "refused 404",
            ),
            (
                403,
                "model_permission_blocked_org",
                "The model is blocked",
                "refused 404",
            ),
            (403, "", "Your input was flagged", "refused 403"),
            (
                402,
                "",
                "requires more credits, or fewer max_tokens. You can only afford 12",
                "refused 402",
            ),
            (
                402,
                "",
                "requires more credits, or fewer max_tokens. You can only afford 0",
                "key",
            ),
            (
                400,
                "",
                "API key not valid. Please pass a valid API key.",
                "key",
            ),
            (
                400,
                "",
                "User location is not supported for the API use.",
                "refused 404",
            ),
            (
                400,
                "",
                "maximum context length is 8192 tokens",
                "refused 400",
            ),
            (
                429,
                "insufficient_quota",
                "You exceeded your current quota",
                "key",
            ),
            (429, "rate_limit_exceeded", "Rate limit reached", "limited"),
            (408, "", "", "unavailable"),
            (503, "", "overloaded", "unavailable"),
        ] {
            assert_eq!(
                kind(status, &error(code, message)),
                expected,
                "{status} {code} {message}"
            );
        }
        assert_eq!(
            kind(403, "<!DOCTYPE html><title>Sorry</title>"),
            "unavailable"
        );
        assert_eq!(kind(401, ""), "key");
    }

    #[test]
    fn a_limit_within_a_success_says_for_how_long() {
        let limit = |reason: &str| {
            let said = AnswerError::Said(reason.to_owned(), Some(429));
            match said.as_refusal() {
                Some(AskError::Limited { limit, .. }) => limit,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(limit("Slow down"), Limit::default());
        let soon = Limit {
            wait: Some(Duration::from_secs(62)),
            is_daily: false,
        };
        assert_eq!(limit("Too many. Try again in 62s."), soon);
        assert!(limit("Limit reached: free-models-per-day").is_daily);
    }
}
