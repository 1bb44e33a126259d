//! Servers that write down what is said, by `OpenAI`'s protocol: Groq, `OpenAI`, and whatever speaks like them.
//!
//! Source: `OpenAI`'s and Groq's references of `POST /audio/transcriptions`, read 2026-11-28. Answers differ, so nothing
//! but `text` is relied upon: some models tell neither language nor times, and a language is a name here, a code there.

mod answer;

use std::{
    collections::VecDeque,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::StreamExt as _;
use http::StatusCode;
use reqwest::{
    Body, Client, Response,
    multipart::{Form, Part},
    redirect,
};
use secrecy::ExposeSecret as _;
use tokio_util::io::ReaderStream;
use url::Url;

use self::answer::Answer;
use super::retry_after::retry_after;
use crate::{
    clock::Clock,
    config::{ProviderConfig, ProviderKey},
    language::Language,
    speech::Heard,
    telemetry::report_step,
};

const USER_AGENT: &str = concat!("BaatCheet/", env!("CARGO_PKG_VERSION"));
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest time for one request: ten minutes of sound take some seconds, and a busy server a minute.
const TIMEOUT: Duration = Duration::from_mins(3);
/// Further tries after an answer that may heal.
const RETRIES: u32 = 2;
/// Wait before the first further try; it doubles.
const FIRST_WAIT: Duration = Duration::from_millis(500);
/// A server that asks for more is left alone: another one may answer, and a worker has better things to do than wait.
const LONGEST_WAIT: Duration = Duration::from_secs(10);
/// Largest answer. An hour of words with their times has about 1 MB.
const MAX_ANSWER_BYTES: usize = 16 << 20;
/// What is kept of an error's message.
const MAX_MESSAGE_CHARACTERS: usize = 300;

/// A server; cheap to clone.
#[derive(Debug, Clone)]
pub struct Transcriber {
    http: Client,
    url: Url,
    provider: ProviderConfig,
    model: String,
    clock: Clock,
    next_key: Arc<AtomicUsize>,
}

/// Why a server heard nothing.
#[derive(Debug, thiserror::Error)]
pub enum TranscribeError {
    /// It is away, busy, or out of order. Asking again later helps.
    #[error("{provider} is not available: {reason}")]
    Unavailable {
        /// Its name.
        provider: Arc<str>,
        /// What it said, or what went wrong.
        reason: String,
        /// When it wants to be asked again.
        retry_after: Option<Duration>,
    },
    /// It takes none of our keys, or has no such model. Only the operator can help.
    #[error("{provider} refuses us: {reason}")]
    Refused {
        /// Its name.
        provider: Arc<str>,
        /// What it said.
        reason: String,
    },
    /// It does not take this sound.
    #[error("{provider} does not take the sound: {reason}")]
    NotTaken {
        /// Its name.
        provider: Arc<str>,
        /// What it said.
        reason: String,
    },
    /// The sound cannot be read from our own disk.
    #[error("the sound cannot be read")]
    Io(#[from] std::io::Error),
}

/// One answer that was no success.
enum Failed {
    /// Another key may be taken.
    Key(String),
    /// A key of another account may have quota left.
    Limited {
        reason: String,
        retry_after: Option<Duration>,
    },
    /// The same may succeed later.
    Passing {
        reason: String,
        retry_after: Option<Duration>,
    },
    /// It will not.
    Final(TranscribeError),
}

impl Transcriber {
    /// Makes the client of a provider's `model`.
    ///
    /// # Errors
    /// When no root certificates can be loaded.
    pub fn new(provider: ProviderConfig, model: String, clock: Clock) -> anyhow::Result<Self> {
        let http = Client::builder()
            .user_agent(USER_AGENT)
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(TIMEOUT)
            .redirect(redirect::Policy::none())
            .build()?;
        let base = provider.base_url.as_str().trim_end_matches('/');
        let url = Url::parse(&format!("{base}/audio/transcriptions"))?;
        Ok(Self {
            http,
            url,
            provider,
            model,
            clock,
            next_key: Arc::default(),
        })
    }

    /// The provider.
    pub fn name(&self) -> &str {
        &self.provider.name
    }

    /// The model.
    pub fn model(&self) -> &str {
        &self.model
    }

    /// Has a file transcribed, of at most 25 MB, which lasts `seconds`. `language` says what is spoken, if that is known.
    ///
    /// A key that is refused, and those of an account that has used up its quota, make room for the others. What may heal is
    /// tried twice more, after what the server asks for.
    ///
    /// # Errors
    /// See [`TranscribeError`].
    pub async fn transcribe(
        &self,
        file: &Path,
        media_type: &str,
        seconds: f64,
        language: Option<Language>,
    ) -> Result<Heard, TranscribeError> {
        let keys = &self.provider.keys;
        // Each call begins with another one.
        let first = self.next_key.fetch_add(1, Ordering::Relaxed) % keys.len();
        let mut left: VecDeque<&ProviderKey> = keys[first..].iter().chain(&keys[..first]).collect();
        let mut used_up: Vec<&ProviderKey> = Vec::new();
        let mut soonest: Option<Duration> = None;
        let mut tries = 0;
        while let Some(key) = left.front().copied() {
            let failed = match self.ask(key, file, media_type, seconds, language).await {
                Ok(heard) => return Ok(heard),
                Err(failed) => failed,
            };
            let (reason, wait) = match failed {
                Failed::Final(error) => return Err(error),
                Failed::Key(reason) => {
                    left.pop_front();
                    if left.is_empty() && used_up.is_empty() {
                        let provider = self.provider.name.clone();
                        return Err(TranscribeError::Refused { provider, reason });
                    }
                    (reason, soonest)
                }
                Failed::Limited {
                    reason,
                    retry_after,
                } => {
                    used_up.extend(left.iter().filter(|other| key.shares_quota(other)));
                    left.retain(|other| !key.shares_quota(other));
                    soonest = match (soonest, retry_after) {
                        (Some(one), Some(other)) => Some(one.min(other)),
                        (one, other) => one.or(other),
                    };
                    (reason, soonest)
                }
                Failed::Passing {
                    reason,
                    retry_after,
                } => {
                    left.rotate_left(1);
                    left.extend(used_up.drain(..));
                    self.wait(&mut tries, reason, retry_after).await?;
                    continue;
                }
            };
            if left.is_empty() {
                left.extend(used_up.drain(..));
                soonest = None;
                self.wait(&mut tries, reason, wait).await?;
            }
        }
        unreachable!(
            "a provider has at least one key, and the last one that is refused ends the loop"
        )
    }

    /// Waits for the next try, if there is one.
    async fn wait(
        &self,
        tries: &mut u32,
        reason: String,
        retry_after: Option<Duration>,
    ) -> Result<(), TranscribeError> {
        report_step(&self.provider.name, true, || reason.clone());
        let wait = retry_after.unwrap_or(FIRST_WAIT * 2_u32.pow(*tries));
        *tries += 1;
        if *tries > RETRIES || wait > LONGEST_WAIT {
            return Err(TranscribeError::Unavailable {
                provider: self.provider.name.clone(),
                reason,
                retry_after,
            });
        }
        tokio::time::sleep(wait).await;
        Ok(())
    }

    async fn ask(
        &self,
        key: &ProviderKey,
        file: &Path,
        media_type: &str,
        seconds: f64,
        language: Option<Language>,
    ) -> Result<Heard, Failed> {
        let form = self.form(file, media_type, language).await?;
        let request = self
            .http
            .post(self.url.clone())
            .bearer_auth(key.key.expose_secret())
            .multipart(form);
        let response = request.send().await.map_err(passing)?;
        let status = response.status();
        let wait = retry_after(response.headers(), self.clock.now());
        let body = read(response).await?;
        if !status.is_success() {
            return Err(self.refusal(status, wait, &body));
        }
        let answer: Answer = serde_json::from_slice(&body).map_err(|error| Failed::Passing {
            reason: format!("its answer cannot be read: {error}"),
            retry_after: None,
        })?;
        Ok(answer.heard(seconds))
    }

    async fn form(
        &self,
        file: &Path,
        media_type: &str,
        language: Option<Language>,
    ) -> Result<Form, Failed> {
        let io = |error: std::io::Error| Failed::Final(error.into());
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let opened = tokio::fs::File::open(file).await.map_err(io)?;
        let length = opened.metadata().await.map_err(io)?.len();
        let stream = Body::wrap_stream(ReaderStream::new(opened));
        let part = Part::stream_with_length(stream, length)
            .file_name(name.into_owned())
            .mime_str(media_type)
            .map_err(passing)?;
        let mut form = Form::new().text("model", self.model.clone());
        // Others than Whisper know only the plain form.
        if self.model.contains("whisper") {
            form = form
                .text("response_format", "verbose_json")
                .text("timestamp_granularities[]", "word")
                .text("timestamp_granularities[]", "segment");
        } else {
            form = form.text("response_format", "json");
        }
        if let Some(code) = language.and_then(Language::code) {
            form = form.text("language", code);
        }
        Ok(form.part("file", part))
    }

    fn refusal(&self, status: StatusCode, wait: Option<Duration>, body: &[u8]) -> Failed {
        let provider = self.provider.name.clone();
        let reason = match message(body) {
            Some(message) => format!("{} {message}", status.as_u16()),
            None => status.as_u16().to_string(),
        };
        match status.as_u16() {
            401..=403 => Failed::Key(reason),
            404 => Failed::Final(TranscribeError::Refused { provider, reason }),
            429 => Failed::Limited {
                reason,
                retry_after: wait,
            },
            408 | 409 | 500.. => Failed::Passing {
                reason,
                retry_after: wait,
            },
            _ => Failed::Final(TranscribeError::NotTaken { provider, reason }),
        }
    }
}

/// The address is the operator's own, and needs not be told.
fn passing(error: reqwest::Error) -> Failed {
    let reason = if error.is_timeout() {
        "it takes too long".to_owned()
    } else {
        let error = anyhow::Error::new(error.without_url());
        format!("{error:#}")
    };
    Failed::Passing {
        reason,
        retry_after: None,
    }
}

async fn read(response: Response) -> Result<Vec<u8>, Failed> {
    let mut body = Vec::new();
    let mut pieces = response.bytes_stream();
    while let Some(piece) = pieces.next().await {
        body.extend_from_slice(&piece.map_err(passing)?);
        if body.len() > MAX_ANSWER_BYTES {
            return Err(Failed::Passing {
                reason: "its answer is too long".to_owned(),
                retry_after: None,
            });
        }
    }
    Ok(body)
}

/// `error.message` of an answer.
fn message(body: &[u8]) -> Option<String> {
    let body: serde_json::Value = serde_json::from_slice(body).ok()?;
    let message = body["error"]["message"].as_str()?;
    Some(message.chars().take(MAX_MESSAGE_CHARACTERS).collect())
}
