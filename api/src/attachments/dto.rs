//! Bodies of attachments.

use chrono::{DateTime, Utc};
use deserr::Deserr;
use serde::Serialize;
use serde_json::Value;
use shared::{
    ids::{AttachmentId, ConversationId, MessageId},
    models::{
        attachment, job,
        recognition::{self, Status},
    },
};
use utoipa::{IntoParams, ToSchema};

use crate::{
    extract::{Fields, Rule},
    jobs::dto::Job,
};

/// The form of an upload.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "camelCase")]
#[expect(
    dead_code,
    reason = "it documents the form; `upload` reads it piece by piece"
)]
pub(super) struct UploadForm {
    /// The file: PNG, JPEG or WebP.
    #[schema(value_type = String, format = Binary)]
    file: Vec<u8>,
    /// Language of the text, where it is known: ISO 639-1 (`en`, `hi`, `ur`) or the engine's name (`eng+hin`).
    language: Option<String>,
}

/// How far the reading has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum OcrStatus {
    /// Waiting for a worker, or being read.
    Processing,
    /// Read; the text may be empty.
    Succeeded,
    /// Could not be read; `error` says why.
    Failed,
    /// Stopped by its user.
    Cancelled,
}

/// What was read, and how well.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Ocr {
    status: OcrStatus,
    /// Languages it was read in, in the engine's names.
    #[schema(example = "eng")]
    language: Option<String>,
    /// Mean over the words, 0 to 100; null where there are no words.
    #[schema(minimum = 0, maximum = 100)]
    confidence: Option<f32>,
    /// The text should not be trusted.
    low_confidence: bool,
    /// Every word with its box in pixels of the upright picture: `{text, confidence, x, y, width, height}`.
    #[schema(value_type = Option<Vec<Object>>)]
    words: Option<Value>,
    /// Why it could not be read, for people.
    error: Option<String>,
    finished_at: Option<DateTime<Utc>>,
}

/// An uploaded file.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Attachment {
    id: AttachmentId,
    #[schema(example = "image")]
    kind: String,
    /// As the client named it.
    file_name: String,
    /// By content.
    #[schema(example = "image/png")]
    media_type: String,
    size_bytes: i64,
    /// Lower-case hex.
    sha256: String,
    /// Pixels, as stored in the file.
    width: Option<i32>,
    /// Pixels, as stored in the file.
    height: Option<i32>,
    /// The content, without credentials, for an hour.
    url: String,
    conversation_id: Option<ConversationId>,
    message_id: Option<MessageId>,
    /// What was read; null until then.
    extracted_text: Option<String>,
    ocr: Option<Ocr>,
    /// Null: this is no audio.
    #[schema(value_type = Option<Object>)]
    transcription: Option<()>,
    /// Its jobs, as long as they are kept.
    jobs: Vec<Job>,
    created_at: DateTime<Utc>,
}

impl Attachment {
    /// Puts an attachment together.
    pub(super) fn new(
        row: attachment::Model,
        recognition: Option<recognition::Model>,
        jobs: Vec<job::Model>,
        url: String,
    ) -> Self {
        let attachment::Model {
            id,
            user_id: _,
            conversation_id,
            message_id,
            kind,
            file_name,
            media_type,
            size_bytes,
            sha256,
            width,
            height,
            storage_key: _,
            created_at,
        } = row;
        let (ocr, extracted_text) = recognition.map(read).unzip();
        Self {
            id,
            kind,
            file_name,
            media_type,
            size_bytes,
            sha256: hex::encode(sha256),
            width,
            height,
            url,
            conversation_id,
            message_id,
            extracted_text: extracted_text.flatten(),
            ocr,
            transcription: None,
            jobs: jobs.into_iter().map(Into::into).collect(),
            created_at,
        }
    }
}

fn read(row: recognition::Model) -> (Ocr, Option<String>) {
    let recognition::Model {
        attachment_id: _,
        job_id: _,
        status,
        language,
        confidence,
        low_confidence,
        extracted_text,
        words,
        error,
        created_at: _,
        finished_at,
    } = row;
    let status = match status {
        Status::Processing => OcrStatus::Processing,
        Status::Succeeded => OcrStatus::Succeeded,
        Status::Failed => OcrStatus::Failed,
        Status::Cancelled => OcrStatus::Cancelled,
    };
    (
        Ocr {
            status,
            language,
            confidence,
            low_confidence,
            words,
            error,
            finished_at,
        },
        extracted_text,
    )
}

/// A new upload.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct CreatedAttachment {
    pub(super) attachment: Attachment,
    /// The job that reads its text.
    pub(super) job: Option<Job>,
    #[schema(example = "OCR processing in background")]
    pub(super) message: &'static str,
}

/// The permission in a signed URL.
#[derive(Debug, Deserr, IntoParams)]
#[deserr(error = Fields, deny_unknown_fields, rename_all = camelCase)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
pub(super) struct GetAttachmentContent {
    /// End of its life, in seconds since 1970.
    #[param(value_type = i64)]
    pub(super) exp: Expiry,
    /// Lower-case hex.
    pub(super) sig: String,
}

/// Seconds since 1970.
#[derive(Debug, Deserr)]
#[deserr(error = Fields, try_from(&String) = Expiry::parse -> Rule)]
pub(super) struct Expiry(pub(super) i64);

impl Expiry {
    fn parse(text: &str) -> Result<Self, Rule> {
        text.parse()
            .map(Self)
            .map_err(|_| Rule::new("must be a number"))
    }
}
