//! Bodies of attachments.

use chrono::{DateTime, Utc};
use deserr::Deserr;
use serde::Serialize;
use serde_json::Value;
use shared::{
    ids::{AttachmentId, ConversationId, JobId, MessageId},
    language,
    models::{
        attachment::{self, Kind},
        image, image_variant, job,
        recognition::{self, Status},
        transcription,
    },
};
use utoipa::{IntoParams, ToSchema};

use super::{content::Urls, transcription::Transcription};
use crate::{
    extract::Fields,
    jobs::dto::Job,
    page::Limit,
    text::{Id, Languages, Param},
    variants::dto::{Image, Variant},
};

/// The form of an upload.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "camelCase")]
#[expect(
    dead_code,
    reason = "it documents the form; `upload` reads it piece by piece"
)]
pub(super) struct UploadForm {
    /// The file: PNG, JPEG, WebP, GIF, PDF, MP3, WAV, Ogg, `WebM` or M4A, by its content.
    #[schema(value_type = String, format = Binary)]
    file: Vec<u8>,
    /// Languages of the text, if known: ISO 639-1 or 639-3 codes, joined by `+`. Of a sound only one is heeded.
    #[schema(value_type = String, required = false, example = "en+hi")]
    language: Option<String>,
    /// The conversation to which the file is sent. Its languages are tried first if `language` names none.
    #[schema(required = false)]
    conversation_id: Option<ConversationId>,
}

/// What was read, and how well.
///
/// `status`, `error` and `finishedAt` are those of the latest reading; all else, and `extractedText`, is of the latest one
/// that succeeded: reading again keeps the text until there is a new one.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Ocr {
    status: Status,
    /// The languages in which it was read, as ISO 639-1 codes joined by `+`.
    #[schema(example = "en")]
    language: Option<String>,
    /// Mean over the recognized words, 0 to 100; null if there are none.
    #[schema(minimum = 0, maximum = 100, example = 93.5)]
    confidence: Option<f32>,
    /// The text should not be trusted.
    low_confidence: bool,
    /// Every word of a picture with its box in pixels of the upright picture: `{text, confidence, x, y, width, height}`.
    /// Null in lists.
    #[schema(
        value_type = Option<Vec<Object>>,
        example = json!([{ "text": "Meeting", "confidence": 96.1, "x": 92, "y": 110, "width": 148, "height": 31 }]),
    )]
    words: Option<Value>,
    /// The pages of a document that were read: `{page, method, confidence, error}`, where `method` is `text` (the PDF's
    /// own) or `ocr`. Null in lists.
    #[schema(value_type = Option<Vec<Object>>)]
    pages: Option<Value>,
    /// How many pages the document has.
    page_count: Option<i32>,
    /// Not all of it was read: it has more than 200 pages, it took more than ten minutes, or its text is too long.
    truncated: bool,
    /// Why it could not be read, for people.
    error: Option<String>,
    finished_at: Option<DateTime<Utc>>,
}

/// What was found in an attachment, and made of it.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) read: Option<recognition::Model>,
    pub(super) heard: Option<transcription::Model>,
    pub(super) image: Option<image::Model>,
    pub(super) variants: Vec<image_variant::Model>,
}

impl Found {
    /// The jobs that did it: those that looked for text first, the latest of them first.
    pub(super) fn jobs(&self) -> Vec<JobId> {
        let read = self.read.iter().flat_map(recognition::Model::jobs);
        let heard = self.heard.iter().flat_map(transcription::Model::jobs);
        let image = self.image.iter().map(|image| image.job_id);
        let asked_for = self
            .variants
            .iter()
            .filter(|variant| variant.name.is_none());
        let asked_for = asked_for.map(|variant| variant.job_id);
        read.chain(heard).chain(image).chain(asked_for).collect()
    }
}

/// An uploaded file.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Attachment {
    id: AttachmentId,
    kind: Kind,
    /// As named by the client.
    #[schema(example = "scan.png")]
    file_name: String,
    /// Determined by the content, not by the name.
    #[schema(example = "image/png")]
    media_type: String,
    #[schema(minimum = 0, example = 48213)]
    size_bytes: i64,
    /// In lower-case hex.
    #[schema(example = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08")]
    sha256: String,
    /// Pixels, as stored in the file.
    #[schema(minimum = 0, example = 1240)]
    width: Option<i32>,
    /// Pixels, as stored in the file.
    #[schema(minimum = 0, example = 1754)]
    height: Option<i32>,
    /// The file as it was uploaded, without credentials, for an hour. What a camera wrote in it (where a photo was taken,
    /// for one) is still there: the variant `display` is what to show to others.
    #[schema(
        format = "uri",
        example = "https://api.example.com/api/v1/attachments/019aa5c1-7d3a-7c62-9f0b-5e1d2a3b4c5d/content?exp=1795255200&sig=6f1c"
    )]
    url: String,
    /// The picture, at most 1920×1920 pixels large, for as long. Null where the storage makes no such (Cloudinary does),
    /// and of what is no picture.
    #[schema(format = "uri")]
    preview_url: Option<String>,
    /// When `url` and `previewUrl` end; the attachment then has new ones.
    url_expires_at: DateTime<Utc>,
    conversation_id: Option<ConversationId>,
    message_id: Option<MessageId>,
    /// The text that was read or heard; null until then. Each page of a document ends in a line break and a form feed
    /// (U+000C). Lists show the first 1,000 characters only.
    #[schema(example = "Meeting on Friday at ten")]
    extracted_text: Option<String>,
    /// Null if there is no text to be read in it.
    ocr: Option<Ocr>,
    /// Null if it is no sound.
    transcription: Option<Transcription>,
    /// What the picture is; null for other files, and for pictures that were uploaded before variants were made.
    image: Option<Image>,
    /// What was made of the picture, for others to see. Lists show the variants with a name only.
    variants: Vec<Variant>,
    /// Its jobs, as long as they are kept.
    jobs: Vec<Job>,
    created_at: DateTime<Utc>,
}

impl Attachment {
    /// Puts an attachment together.
    pub(super) fn new(
        row: attachment::Model,
        found: Found,
        variants: Vec<Variant>,
        jobs: Vec<job::Model>,
        urls: Urls,
    ) -> Self {
        let Urls {
            url,
            preview_url,
            expires_at,
        } = urls;
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
        let (ocr, read) = found.read.map(read).unzip();
        let heard = found.heard.as_ref().and_then(|heard| heard.text.clone());
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
            preview_url,
            url_expires_at: expires_at,
            conversation_id,
            message_id,
            extracted_text: read.flatten().or(heard),
            ocr,
            transcription: found.heard.map(Into::into),
            image: found.image.map(Into::into),
            variants,
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
        requested_language: _,
        pages,
        page_count,
        truncated,
        readings: _,
        earlier_jobs: _,
    } = row;
    (
        Ocr {
            status,
            language: language.as_deref().and_then(language::codes_of),
            confidence,
            low_confidence,
            words,
            pages,
            page_count,
            truncated,
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
    /// The job that reads its text, or writes down what is said in it.
    pub(super) job: Job,
    #[schema(example = "OCR processing in background")]
    pub(super) message: &'static str,
}

/// An attachment that is being read again.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ReadingAttachment {
    /// As in lists: with the beginning of the text that is there, without words and pages.
    pub(super) attachment: Attachment,
    /// The job that reads it.
    pub(super) job: Job,
}

/// How to read an attachment.
#[derive(Debug, Default, Deserr, ToSchema)]
#[deserr(error = Fields, deny_unknown_fields, rename_all = camelCase)]
#[schema(rename_all = "camelCase")]
pub(super) struct ReadAttachment {
    /// Languages of the text, if known: ISO 639-1 or 639-3 codes, joined by `+`.
    #[deserr(default)]
    #[schema(value_type = Option<String>, example = "ur")]
    pub(super) language: Option<Languages>,
}

/// Which attachments are listed.
#[derive(Debug, Deserr, IntoParams)]
#[deserr(error = Fields, deny_unknown_fields, rename_all = camelCase)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
pub(super) struct ListAttachments {
    /// 1 to 100.
    #[deserr(default)]
    #[param(value_type = Option<u64>, minimum = 1, maximum = 100, default = 50)]
    pub(super) limit: Limit,
    /// `nextCursor` of the previous page.
    #[deserr(default)]
    pub(super) cursor: Option<String>,
    /// Only attachments of this kind.
    #[deserr(default)]
    #[param(value_type = Option<Kind>)]
    pub(super) kind: Option<Param<Kind>>,
    /// Only attachments of this conversation.
    #[deserr(default)]
    #[param(value_type = Option<ConversationId>)]
    pub(super) conversation_id: Option<Id<ConversationId>>,
    /// Only attachments whose latest reading or transcription has this status.
    #[deserr(default)]
    #[param(value_type = Option<Status>)]
    pub(super) status: Option<Param<Status>>,
}
