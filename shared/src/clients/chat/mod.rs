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
mod logprobs;
mod pass;
mod refusal;
mod stream;

use std::time::Duration;

use reqwest::{Client, Response, redirect};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Serialize;
use url::Url;

pub use self::{
    body::{Part, Prompt, Said, Speaker, ToolSpec, ToolUse},
    calls::{ToolCall, ToolCallPart},
    embed::{Embedded, Embedding, Vector},
    limit::Limit,
    logprobs::Logprobs,
    pass::Passed,
    refusal::refusal,
    stream::{Answer, AnswerError, Ending, Piece},
};
use crate::{catalogue::Quirks, clock::Clock, config::ProviderConfig};

const USER_AGENT: &str = concat!("BaatCheet/", env!("CARGO_PKG_VERSION"));
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Most calls of tools of one answer, where they are made here.
const OUR_CALLS_MAX: usize = 32;
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
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// This key is not taken, or has no money left. Another one may.
    #[error("the key is refused ({status}): {reason}")]
    Key {
        /// 401, 402 or 403; 400 or 429 where codes tell.
        status: u16,
        /// What was said.
        reason: String,
    },
    /// This key is not for what was asked. It may be good for other things, and another one for this.
    #[error("the key is not for this ({status}): {reason}")]
    Barred {
        /// 401, 403 or 429.
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
        Ok(Answer::read(response, self.silence).with_calls_max(OUR_CALLS_MAX))
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

impl AnswerError {
    /// What it would have been with a status of its own: some providers say 200 before they know.
    pub fn as_refusal(&self) -> Option<AskError> {
        match self {
            Self::Said(_, refusal) => refusal.as_deref().cloned(),
            _ => None,
        }
    }

    /// Whether it tells that something is wrong with the provider. An answer that is too long, or another one than was
    /// wanted, comes of the question: whoever asks it must not get others into trouble.
    pub fn is_failure(&self) -> bool {
        !matches!(self, Self::TooLong | Self::Unwanted(_))
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
    fn what_comes_of_a_question_is_no_failure_of_the_provider() {
        for (error, is_failure) in [
            (AnswerError::TooLong, false),
            (AnswerError::Unwanted(String::new()), false),
            (AnswerError::Cut, true),
            (AnswerError::Silent(Duration::ZERO), true),
            (AnswerError::Unreadable(String::new()), true),
            (AnswerError::Said(String::new(), None), true),
        ] {
            assert_eq!(error.is_failure(), is_failure, "{error:?}");
        }
    }
}
