//! What is said in an attachment: asking for it, and how it is shown.

use chrono::{DateTime, Utc};
use deserr::Deserr;
use serde::Serialize;
use serde_json::Value;
use shared::{
    database::{Refusal, Tx},
    ids::JobId,
    jobs::TranscribeAudio,
    language,
    models::{
        attachment::{self, Kind},
        recognition::Status,
        transcription,
    },
    queue::{self, Enqueue},
};
use utoipa::ToSchema;

use super::dto::Attachment;
use crate::{
    error::Result,
    extract::Fields,
    jobs::dto::Job,
    text::{Languages, SpokenLanguage},
};

/// What was heard, and how well.
///
/// `status`, `error` and `finishedAt` are those of the latest try; all else is of the latest one that succeeded:
/// transcribing again keeps the text until there is a new one.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Transcription {
    status: Status,
    /// What is said; null until it is known. Lists show the first 1,000 characters only.
    #[schema(example = "The library opens on Saturday morning.")]
    text: Option<String>,
    /// What it is said in, as an ISO 639-1 code; null if the engine does not tell.
    #[schema(example = "en")]
    language: Option<String>,
    /// How sure the engine is, 0 to 1; null if it does not tell.
    #[schema(minimum = 0, maximum = 1, example = 0.87)]
    confidence: Option<f32>,
    /// Sentences, or what lies between pauses: `{start, end, text, confidence}`, times in seconds. Null in lists.
    #[schema(
        value_type = Option<Vec<Object>>,
        example = json!([{ "start": 0.24, "end": 3.1, "text": "The library opens on Saturday morning.", "confidence": 0.87 }]),
    )]
    segments: Option<Value>,
    /// Every word: `{start, end, text, confidence}`, times in seconds; empty if the engine does not tell. Null in lists.
    #[schema(
        value_type = Option<Vec<Object>>,
        example = json!([{ "start": 0.24, "end": 0.41, "text": "The", "confidence": 0.93 }]),
    )]
    words: Option<Value>,
    /// Length of the sound.
    #[schema(minimum = 0, example = 3.52)]
    duration_seconds: Option<f64>,
    /// Who heard it: `groq`, `openai`, `whisper.cpp` or `pocketsphinx`; several are joined by `+`.
    #[schema(example = "groq")]
    engine: Option<String>,
    /// With what; as many as there are engines.
    #[schema(example = "whisper-large-v3-turbo")]
    model: Option<String>,
    /// Why it could not be transcribed, for people. It begins with `transcription_unavailable:` if it is not the sound's
    /// fault.
    error: Option<String>,
    finished_at: Option<DateTime<Utc>>,
}

impl From<transcription::Model> for Transcription {
    fn from(row: transcription::Model) -> Self {
        let transcription::Model {
            attachment_id: _,
            job_id: _,
            earlier_jobs: _,
            status,
            requested_language: _,
            text,
            language,
            confidence,
            segments,
            words,
            duration_seconds,
            engine,
            model,
            error,
            versions: _,
            created_at: _,
            finished_at,
        } = row;
        Self {
            status,
            text,
            language: language.as_deref().and_then(language::codes_of),
            confidence,
            segments,
            words,
            duration_seconds,
            engine,
            model,
            error,
            finished_at,
        }
    }
}

/// How to transcribe an attachment.
#[derive(Debug, Default, Deserr, ToSchema)]
#[deserr(error = Fields, deny_unknown_fields, rename_all = camelCase)]
#[schema(rename_all = "camelCase")]
pub(super) struct TranscribeAttachment {
    /// The language that is spoken, if known: an ISO 639-1 code.
    #[deserr(default)]
    #[schema(value_type = Option<String>, example = "hi")]
    pub(super) language: Option<SpokenLanguage>,
}

/// An attachment that is being transcribed again.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TranscribingAttachment {
    /// As in lists: with the beginning of the text that is there, without segments and words.
    pub(super) attachment: Attachment,
    /// The job that transcribes it.
    pub(super) job: Job,
}

/// Asks for a transcription, in the caller's transaction. While one waits, asking again is the same job; while one runs,
/// it runs once more. The language of the latest call counts.
///
/// # Errors
/// [`Refusal::NotTranscribable`] for what is no sound.
pub(super) async fn begin(
    tx: &mut Tx,
    row: &attachment::Model,
    language: Option<String>,
    now: DateTime<Utc>,
) -> Result<JobId> {
    match row.kind {
        Kind::Audio => {}
        Kind::Image | Kind::Document => return Err(Refusal::NotTranscribable.into()),
    }
    let attachment = row.id;
    let key = format!("transcribe-attachment:{attachment}");
    let job = Enqueue::new(TranscribeAudio { attachment }).unique(key);
    let job = queue::enqueue(tx, job).await?;
    transcription::begin(tx, attachment, job.id, language, now).await?;
    Ok(job.id)
}

/// The language of an upload, for which several may be named: a sound has one, or nobody says which.
pub(super) fn of_upload(languages: Option<&Languages>) -> Option<String> {
    languages
        .and_then(Languages::only)
        .map(|language| language.as_str().to_owned())
}
