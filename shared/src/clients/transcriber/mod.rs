//! Servers that write down what is said, by `OpenAI`'s protocol: Groq, `OpenAI`, and whatever speaks like them.
//!
//! Source: `OpenAI`'s and Groq's references of `POST /audio/transcriptions`, read 2026-11-28. Answers differ, so nothing
//! but `text` is relied upon: some models tell neither language nor times, and a language is a name here, a code there.

mod answer;
mod call;
mod sound;

use std::{fmt, path::Path, sync::Arc, time::Duration};

use futures::StreamExt as _;
use http::{HeaderMap, StatusCode};
use reqwest::{
    Body, Client, Response,
    multipart::{Form, Part},
    redirect,
};
use secrecy::ExposeSecret as _;
use serde::de::DeserializeOwned;
use tokio_util::io::ReaderStream;

use self::{answer::Answer, call::Call};
pub use self::{
    call::{Asked, Came, Note, Told},
    sound::{Sound, Transcribed},
};
use super::{
    chat::{AskError, Limit, refusal},
    retry_after::retry_after,
};
use crate::{
    clock::Clock,
    database,
    language::Language,
    providers::{NotNow, Picked, Providers},
    speech::Heard,
    telemetry::report_step,
};

const USER_AGENT: &str = concat!("BaatCheet/", env!("CARGO_PKG_VERSION"));
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest time for one request: ten minutes of sound take some seconds, and a busy server a minute.
pub const TIMEOUT: Duration = Duration::from_mins(3);
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
#[derive(Clone)]
pub struct Transcriber {
    http: Client,
    name: Arc<str>,
    model: String,
    timeout: Duration,
    providers: Providers,
    clock: Clock,
}

impl fmt::Debug for Transcriber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Transcriber({} at {})", self.model, self.name)
    }
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
        /// Whether it is because of too many requests.
        is_limit: bool,
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
    /// It was not asked, as nobody could account for it.
    #[error("the call cannot be noted")]
    Unnoted(#[source] database::Error),
}

/// What an answer is read as.
trait Reading: DeserializeOwned {
    /// Whether nobody here knows how long the sound is.
    const IS_GUESSED: bool;

    /// Length of the sound, if it tells and nobody knows better.
    fn seconds(&self) -> Option<f64>;
}

impl Reading for Answer {
    /// Whoever decoded the sound knows it.
    const IS_GUESSED: bool = false;

    fn seconds(&self) -> Option<f64> {
        None
    }
}

impl Reading for Transcribed {
    /// Its length is reckoned from its bytes.
    const IS_GUESSED: bool = true;

    fn seconds(&self) -> Option<f64> {
        Transcribed::seconds(self)
    }
}

/// One answer that was no success.
enum Failed {
    /// Another key may be taken.
    Key(String),
    /// The key is not for this, but may be good for other things; another one may be for this.
    Barred(String),
    /// A key of another account may have quota left.
    Limited { reason: String, limit: Limit },
    /// The same may succeed later.
    Passing {
        reason: String,
        retry_after: Option<Duration>,
    },
    /// It will not.
    Final(TranscribeError),
}

/// The way to all servers; cheap to clone, and keeps their connections open.
#[derive(Clone)]
pub struct Transcribers {
    http: Client,
    providers: Providers,
    clock: Clock,
}

impl Transcribers {
    /// Makes the client; `providers` has the keys.
    ///
    /// # Errors
    /// When no root certificates can be loaded.
    pub fn new(providers: Providers, clock: Clock) -> anyhow::Result<Self> {
        let http = Client::builder()
            .user_agent(USER_AGENT)
            .connect_timeout(CONNECT_TIMEOUT)
            .redirect(redirect::Policy::none())
            .build()?;
        Ok(Self {
            http,
            providers,
            clock,
        })
    }

    /// A provider's `model`.
    pub fn of(&self, name: Arc<str>, model: String) -> Transcriber {
        Transcriber {
            http: self.http.clone(),
            name,
            model,
            timeout: TIMEOUT,
            providers: self.providers.clone(),
            clock: self.clock.clone(),
        }
    }
}

impl Transcriber {
    /// Makes the client of a provider's `model`; `providers` has its keys.
    ///
    /// # Errors
    /// When no root certificates can be loaded.
    pub fn new(
        name: Arc<str>,
        model: String,
        providers: Providers,
        clock: Clock,
    ) -> anyhow::Result<Self> {
        Ok(Transcribers::new(providers, clock)?.of(name, model))
    }

    /// The same, with another longest time for one request.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Whether its provider has keys now.
    pub fn has_keys(&self) -> bool {
        self.providers.has(&self.name)
    }

    /// The provider.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The model.
    pub fn model(&self) -> &str {
        &self.model
    }

    /// Has a file transcribed, of at most 25 MB, which lasts `seconds`. `language` says what is spoken, if that is known.
    /// Each call of the server is noted by `note` before.
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
        note: &Note<'_>,
    ) -> Result<Heard, TranscribeError> {
        let sound = Sound {
            file,
            media_type,
            seconds,
            language: language.and_then(Language::code),
            prompt: None,
            temperature: None,
            words: true,
        };
        let answer: Answer = self.hear(&sound, note).await?;
        Ok(answer.heard(seconds))
    }

    /// Has a sound written down as its user wants it, like [`Self::transcribe`]; nothing of the answer is left out.
    ///
    /// # Errors
    /// See [`TranscribeError`].
    pub async fn write_down(
        &self,
        sound: &Sound<'_>,
        note: &Note<'_>,
    ) -> Result<Transcribed, TranscribeError> {
        self.hear(sound, note).await
    }

    async fn hear<T: Reading>(
        &self,
        sound: &Sound<'_>,
        note: &Note<'_>,
    ) -> Result<T, TranscribeError> {
        let mut tried: Vec<String> = Vec::new();
        let mut rounds = 0;
        let mut refused = "none of our keys is taken".to_owned();
        // Of the accounts that are asked too often: what the last one said, and for how long to wait for the first.
        let mut limited: Option<(String, Option<Duration>)> = None;
        loop {
            let form = self.form(sound).await?;
            let picked = match self.providers.pick(&self.name, &self.model, &tried).await {
                Ok(picked) => picked,
                Err(why @ (NotNow::Exhausted(wait) | NotNow::Open(wait))) => {
                    let reason = "it is asked too often, or has failed too often".to_owned();
                    let is_limit = matches!(why, NotNow::Exhausted(_));
                    self.wait(&mut rounds, reason, Some(wait), is_limit).await?;
                    tried.clear();
                    continue;
                }
                Err(NotNow::NoKey) => {
                    let Some((reason, wait)) = limited.take() else {
                        let provider = self.name.clone();
                        return Err(TranscribeError::Refused {
                            provider,
                            reason: refused,
                        });
                    };
                    self.wait(&mut rounds, reason, wait, true).await?;
                    tried.clear();
                    continue;
                }
            };
            tried.push(picked.key_id().to_owned());
            let asked = self.asked(&picked, sound.seconds, T::IS_GUESSED);
            let mut call = match Call::begin(note, asked).await {
                Ok(call) => call,
                Err(error) => {
                    self.providers.end_probe(&picked).await;
                    return Err(TranscribeError::Unnoted(error));
                }
            };
            let heard = self.ask::<T>(&picked, form, &mut call).await;
            call.end(match &heard {
                Ok(_) => Came::Heard,
                Err(failed) => Came::Failed(failed.reason()),
            });
            match heard {
                Ok(heard) => {
                    self.providers.completed(&picked).await;
                    return Ok(heard);
                }
                Err(Failed::Final(error)) => {
                    self.providers.end_probe(&picked).await;
                    return Err(error);
                }
                Err(Failed::Key(reason)) => {
                    self.providers.retired(&picked, reason.clone()).await;
                    refused = reason;
                }
                Err(Failed::Barred(reason)) => {
                    self.providers.end_probe(&picked).await;
                    refused = reason;
                }
                Err(Failed::Limited { reason, limit }) => {
                    self.providers.limited(&picked, limit).await;
                    let known = limited.take().and_then(|(_, wait)| wait);
                    let soonest = match (known, limit.wait) {
                        (Some(one), Some(other)) => Some(one.min(other)),
                        (one, other) => one.or(other),
                    };
                    limited = Some((reason, soonest));
                }
                Err(Failed::Passing {
                    reason,
                    retry_after,
                }) => {
                    self.providers.failed(&picked).await;
                    self.wait(&mut rounds, reason, retry_after, false).await?;
                    tried.clear();
                }
            }
        }
    }

    /// Waits for the next try, if there is one.
    async fn wait(
        &self,
        tries: &mut u32,
        reason: String,
        retry_after: Option<Duration>,
        is_limit: bool,
    ) -> Result<(), TranscribeError> {
        report_step(&self.name, true, || reason.clone());
        let wait = retry_after.unwrap_or(FIRST_WAIT * 2_u32.pow(*tries));
        *tries += 1;
        if *tries > RETRIES || wait > LONGEST_WAIT {
            return Err(TranscribeError::Unavailable {
                provider: self.name.clone(),
                reason,
                retry_after,
                is_limit,
            });
        }
        tokio::time::sleep(wait).await;
        Ok(())
    }

    /// A call, as it is before it is made.
    fn asked(&self, picked: &Picked, seconds: f64, is_guessed: bool) -> Asked {
        Asked {
            provider: self.name.to_string(),
            model: self.model.clone(),
            key_group: picked.group().to_owned(),
            at: self.clock.now(),
            audio_ms: millis(seconds),
            is_guessed,
            took: Duration::ZERO,
            is_refused: false,
            came: Came::Left,
        }
    }

    async fn ask<T: Reading>(
        &self,
        picked: &Picked,
        form: Form,
        call: &mut Call,
    ) -> Result<T, Failed> {
        let base = picked.provider().base_url.as_str().trim_end_matches('/');
        let url = format!("{base}/audio/transcriptions");
        let mut request = self.http.post(url).timeout(self.timeout);
        // A server of one's own may want none.
        if !picked.secret().expose_secret().is_empty() {
            request = request.bearer_auth(picked.secret().expose_secret());
        }
        let sent = request.multipart(form).send().await;
        let response = sent.map_err(|error| {
            if error.is_connect() {
                call.is_not_made();
            }
            passing(error)
        })?;
        let (status, headers) = (response.status(), response.headers().clone());
        call.answered(status);
        let body = read(response).await?;
        if !status.is_success() {
            return Err(self.refusal(picked, status, &headers, &body));
        }
        let answer: T = serde_json::from_slice(&body).map_err(|error| Failed::Passing {
            reason: format!("its answer cannot be read: {error}"),
            retry_after: None,
        })?;
        if let Some(seconds) = answer.seconds() {
            call.lasts(millis(seconds));
        }
        Ok(answer)
    }

    async fn form(&self, sound: &Sound<'_>) -> Result<Form, TranscribeError> {
        let file = sound.file;
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let opened = tokio::fs::File::open(file).await?;
        let length = opened.metadata().await?.len();
        let stream = Body::wrap_stream(ReaderStream::new(opened));
        let part = Part::stream_with_length(stream, length)
            .file_name(name.into_owned())
            .mime_str(sound.media_type)
            .map_err(std::io::Error::other)?;
        let mut form = Form::new().text("model", self.model.clone());
        // Others than Whisper know only the plain form.
        if self.model.contains("whisper") {
            form = form.text("response_format", "verbose_json");
            if sound.words {
                form = form.text("timestamp_granularities[]", "word");
            }
            form = form.text("timestamp_granularities[]", "segment");
        } else {
            form = form.text("response_format", "json");
        }
        if let Some(code) = sound.language {
            form = form.text("language", code.to_owned());
        }
        if let Some(prompt) = sound.prompt {
            form = form.text("prompt", prompt.to_owned());
        }
        if let Some(temperature) = sound.temperature {
            form = form.text("temperature", temperature.to_string());
        }
        Ok(form.part("file", part))
    }

    fn refusal(
        &self,
        picked: &Picked,
        status: StatusCode,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Failed {
        let provider = self.name.clone();
        let now = self.clock.now();
        let reason = match message(body) {
            Some(message) => format!("{} {message}", status.as_u16()),
            None => status.as_u16().to_string(),
        };
        match refusal(status, headers, body, &picked.provider().quirks, now) {
            AskError::Key { .. } => Failed::Key(reason),
            AskError::Barred { .. } => Failed::Barred(reason),
            AskError::Limited { limit, .. } => Failed::Limited { reason, limit },
            AskError::Unavailable { retry_after, .. } => Failed::Passing {
                reason,
                retry_after,
            },
            AskError::Refused { status: 409, .. } => Failed::Passing {
                reason,
                retry_after: retry_after(headers, now),
            },
            AskError::Refused { status: 404, .. } => {
                Failed::Final(TranscribeError::Refused { provider, reason })
            }
            AskError::Refused { .. } => {
                Failed::Final(TranscribeError::NotTaken { provider, reason })
            }
        }
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "a float is cut to what fits"
)]
fn millis(seconds: f64) -> i64 {
    (seconds * 1_000.0).round() as i64
}

impl Failed {
    fn reason(&self) -> String {
        match self {
            Self::Key(reason)
            | Self::Barred(reason)
            | Self::Limited { reason, .. }
            | Self::Passing { reason, .. } => reason.clone(),
            Self::Final(error) => error.to_string(),
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
