//! One request to a server, and what its answer means.

use std::time::Duration;

use futures::StreamExt as _;
use http::{HeaderMap, StatusCode};
use reqwest::{
    Body, Response,
    multipart::{Form, Part},
};
use secrecy::ExposeSecret as _;
use tokio_util::io::ReaderStream;

use super::{Asked, Came, Sound, TranscribeError, Transcriber, call::Call, reading::Reading};
use crate::{
    clients::{
        chat::{AskError, Limit, refusal},
        retry_after::retry_after,
    },
    providers::Picked,
};

/// Largest answer. An hour of words with their times has about 1 MB.
const MAX_ANSWER_BYTES: usize = 16 << 20;
/// What is kept of an error's message.
const MAX_MESSAGE_CHARACTERS: usize = 300;

/// One answer that was no success.
pub(super) enum Failed {
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

impl Transcriber {
    /// A call, as it is before it is made.
    pub(super) fn asked(&self, picked: &Picked, seconds: f64, is_guessed: bool) -> Asked {
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

    /// Makes a call.
    pub(super) async fn ask<T: Reading>(
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

    /// The question: the sound, and how it is to be heard.
    pub(super) async fn form(&self, sound: &Sound<'_>) -> Result<Form, TranscribeError> {
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
    /// What was said, or what went wrong.
    pub(super) fn reason(&self) -> String {
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
