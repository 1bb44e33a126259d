//! Servers that write down what is said, by `OpenAI`'s protocol: Groq, `OpenAI`, and whatever speaks like them.
//!
//! Source: `OpenAI`'s and Groq's references of `POST /audio/transcriptions`, read 2026-11-28. Answers differ, so nothing
//! but `text` is relied upon: some models tell neither language nor times, and a language is a name here, a code there.

mod answer;
mod call;
mod reading;
mod request;
mod sound;
mod tries;

use std::{fmt, path::Path, sync::Arc, time::Duration};

use reqwest::{Client, redirect};

use self::answer::Answer;
pub use self::{
    call::{Asked, Came, Note, Told},
    sound::{Sound, Transcribed},
};
use crate::{clock::Clock, database, language::Language, providers::Providers, speech::Heard};

const USER_AGENT: &str = concat!("BaatCheet/", env!("CARGO_PKG_VERSION"));
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest time for one request: ten minutes of sound take some seconds, and a busy server a minute.
pub const TIMEOUT: Duration = Duration::from_mins(3);

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
}
