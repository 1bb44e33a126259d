//! The catalogue of things that happen. An event, its deliveries and their jobs are rows of the transaction that
//! causes it.

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::{
    database::{Result, Tx},
    ids::{
        AttachmentId, ConversationId, DeliveryId, EventId, ExportId, JobId, MessageId, ProjectId,
        UserId, WebhookId,
    },
    jobs::DeliverWebhook,
    language,
    models::{
        attachment, conversation, delivery, event, export, message,
        user::{self, PresenceSharing},
        webhook,
    },
    queue,
};

/// Longest `extractedText` in an event, in characters; the whole is at the attachment. Receivers expect payloads
/// of some 20 kB (Standard Webhooks 1.0.0, "Payload size").
const EVENT_TEXT_CHARACTERS: usize = 16_000;

/// Names of all events.
pub const NAMES: &[&str] = &[
    "user.updated",
    "conversation.created",
    "conversation.updated",
    "conversation.archived",
    "conversation.deleted",
    "message.created",
    "attachment.deleted",
    "image.ocr_completed",
    "image.ocr_failed",
    "document.ocr_completed",
    "document.ocr_failed",
    "audio.transcription_completed",
    "audio.transcription_failed",
    "export.completed",
    "export.failed",
];

/// Something that happened.
#[derive(Debug, Clone)]
pub enum Event {
    /// An account's profile or privacy was changed.
    UserUpdated(UserSummary),
    /// A conversation was begun.
    ConversationCreated(ConversationSummary),
    /// A conversation was renamed, moved, tagged, pinned or set otherwise.
    ConversationUpdated(ConversationSummary),
    /// A conversation was archived.
    ConversationArchived(ConversationSummary),
    /// A conversation was deleted.
    ConversationDeleted(ConversationSummary),
    /// A message was written.
    MessageCreated(MessageSummary),
    /// The text of a picture was read.
    ImageOcrCompleted(OcrResult),
    /// The text of a picture could not be read.
    ImageOcrFailed(OcrResult),
    /// The text of a document was read.
    DocumentOcrCompleted(OcrResult),
    /// The text of a document could not be read.
    DocumentOcrFailed(OcrResult),
    /// What is said in a sound was written down.
    AudioTranscriptionCompleted(TranscriptionResult),
    /// What is said in a sound could not be written down.
    AudioTranscriptionFailed(TranscriptionResult),
    /// A user deleted an attachment. One that goes with its conversation is not told by itself.
    AttachmentDeleted(DeletedAttachment),
    /// A file was made of a conversation.
    ExportCompleted(ExportResult),
    /// No file could be made of a conversation.
    ExportFailed(ExportResult),
}

/// The `data` of `attachment.deleted`.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DeletedAttachment {
    /// What is gone.
    pub attachment_id: AttachmentId,
    /// Where it was sent to.
    pub conversation_id: Option<ConversationId>,
    /// The message it belonged to.
    pub message_id: Option<MessageId>,
}

/// The `data` of the events of exports. Its URL is not there: it would have expired when the event is read.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ExportResult {
    /// What was made.
    pub export_id: ExportId,
    /// What it was made of.
    pub conversation_id: ConversationId,
    /// `pdf`, `docx`, `html`, `markdown`, `json` or `csv`.
    pub format: export::Format,
    /// Under which it is saved.
    pub file_name: String,
    /// Its length.
    pub size_bytes: Option<i64>,
    /// Messages in it.
    pub message_count: Option<i64>,
    /// When it goes.
    pub expires_at: Option<DateTime<Utc>>,
    /// Why it could not be made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl From<&export::Model> for ExportResult {
    fn from(row: &export::Model) -> Self {
        Self {
            export_id: row.id,
            conversation_id: row.conversation_id,
            format: row.format,
            file_name: row.file_name.clone(),
            size_bytes: row.size_bytes,
            message_count: row.message_count,
            expires_at: row.expires_at,
            error: row.error.clone(),
        }
    }
}

/// The `data` of the OCR events.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OcrResult {
    /// What was read.
    pub attachment_id: AttachmentId,
    /// Where it was sent to.
    pub conversation_id: Option<ConversationId>,
    /// The message it belongs to.
    pub message_id: Option<MessageId>,
    /// The first 16,000 characters of what was read.
    pub extracted_text: Option<String>,
    /// The text should not be trusted.
    pub low_confidence: bool,
    /// There is more than the text here: it is cut, or not all of a document was read.
    pub truncated: bool,
    /// Languages it was read in, by the names of [`language::Language`]; receivers see their ISO codes.
    pub language: Option<String>,
    /// 0 to 100.
    pub confidence: Option<f32>,
    /// Pages of a document, those that were not read too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pages: Option<u32>,
    /// Why it could not be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl OcrResult {
    /// What is known before an attachment was read.
    pub fn of(attachment: &attachment::Model) -> Self {
        Self {
            attachment_id: attachment.id,
            conversation_id: attachment.conversation_id,
            message_id: attachment.message_id,
            extracted_text: None,
            low_confidence: false,
            truncated: false,
            language: None,
            confidence: None,
            pages: None,
            error: None,
        }
    }

    fn data(&self) -> serde_json::Value {
        let mut result = self.clone();
        result.language = self.language.as_deref().and_then(language::codes_of);
        if let Some(text) = &mut result.extracted_text {
            result.truncated |= shorten(text);
        }
        plain(&result)
    }
}

/// The `data` of the events of transcriptions.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TranscriptionResult {
    /// What was heard.
    pub attachment_id: AttachmentId,
    /// Where it was sent to.
    pub conversation_id: Option<ConversationId>,
    /// The message it belongs to.
    pub message_id: Option<MessageId>,
    /// The first 16,000 characters of what is said.
    pub text: Option<String>,
    /// There is more than the text here.
    pub truncated: bool,
    /// What it is said in, as an ISO 639-1 code.
    pub language: Option<String>,
    /// 0 to 1.
    pub confidence: Option<f32>,
    /// Its length in seconds.
    pub duration_seconds: Option<f64>,
    /// Who heard it.
    pub engine: Option<String>,
    /// With what.
    pub model: Option<String>,
    /// Why it could not be written down.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl TranscriptionResult {
    /// What is known before an attachment was heard.
    pub fn of(attachment: &attachment::Model) -> Self {
        Self {
            attachment_id: attachment.id,
            conversation_id: attachment.conversation_id,
            message_id: attachment.message_id,
            text: None,
            truncated: false,
            language: None,
            confidence: None,
            duration_seconds: None,
            engine: None,
            model: None,
            error: None,
        }
    }

    fn data(&self) -> serde_json::Value {
        let mut result = self.clone();
        if let Some(text) = &mut result.text {
            result.truncated |= shorten(text);
        }
        plain(&result)
    }
}

/// The `data` of the events of accounts.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct UserSummary {
    /// Which one.
    pub user_id: UserId,
    /// What others see.
    pub display_name: Option<String>,
    /// Where their picture is.
    pub avatar_url: Option<String>,
    /// Who sees whether they are there.
    pub presence_sharing: PresenceSharing,
    /// Whether others see what they have read.
    pub read_receipts_enabled: bool,
    /// Its version.
    pub version: i32,
}

impl From<&user::Model> for UserSummary {
    fn from(row: &user::Model) -> Self {
        Self {
            user_id: row.id,
            display_name: row.display_name.clone(),
            avatar_url: row.avatar_url.clone(),
            presence_sharing: row.presence_sharing,
            read_receipts_enabled: row.read_receipts_enabled,
            version: row.version,
        }
    }
}

/// The `data` of the events of conversations.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ConversationSummary {
    /// Which one.
    pub conversation_id: ConversationId,
    /// Where it is filed.
    pub project_id: Option<ProjectId>,
    /// For people.
    pub title: Option<String>,
    /// For people.
    pub tags: Vec<String>,
    /// Whether it is pinned.
    pub pinned: bool,
    /// Whether it is archived.
    pub archived: bool,
    /// Its version.
    pub version: i32,
}

impl From<&conversation::Model> for ConversationSummary {
    fn from(row: &conversation::Model) -> Self {
        Self {
            conversation_id: row.id,
            project_id: row.project_id,
            title: row.title.clone(),
            tags: row.tags.clone(),
            pinned: row.pinned_at.is_some(),
            archived: row.archived_at.is_some(),
            version: row.version,
        }
    }
}

/// The `data` of the events of messages.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MessageSummary {
    /// Which one.
    pub message_id: MessageId,
    /// Where it was written.
    pub conversation_id: ConversationId,
    /// What it follows.
    pub parent_id: Option<MessageId>,
    /// `system`, `user`, `assistant` or `tool`.
    pub role: &'static str,
    /// The first 16,000 characters of what was said.
    pub text: String,
    /// What was shown.
    pub attachment_ids: Vec<AttachmentId>,
    /// Its tokens.
    pub token_count: i32,
}

impl From<&message::Model> for MessageSummary {
    fn from(row: &message::Model) -> Self {
        let mut text = row.content.text();
        shorten(&mut text);
        Self {
            message_id: row.id,
            conversation_id: row.conversation_id,
            parent_id: row.parent_id,
            role: row.role.as_str(),
            text,
            attachment_ids: row.content.attachments(),
            token_count: row.token_count,
        }
    }
}

impl Event {
    /// Its name, as endpoints subscribe to it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::UserUpdated(_) => "user.updated",
            Self::ConversationCreated(_) => "conversation.created",
            Self::ConversationUpdated(_) => "conversation.updated",
            Self::ConversationArchived(_) => "conversation.archived",
            Self::ConversationDeleted(_) => "conversation.deleted",
            Self::MessageCreated(_) => "message.created",
            Self::AttachmentDeleted(_) => "attachment.deleted",
            Self::ImageOcrCompleted(_) => "image.ocr_completed",
            Self::ImageOcrFailed(_) => "image.ocr_failed",
            Self::DocumentOcrCompleted(_) => "document.ocr_completed",
            Self::DocumentOcrFailed(_) => "document.ocr_failed",
            Self::AudioTranscriptionCompleted(_) => "audio.transcription_completed",
            Self::AudioTranscriptionFailed(_) => "audio.transcription_failed",
            Self::ExportCompleted(_) => "export.completed",
            Self::ExportFailed(_) => "export.failed",
        }
    }

    fn data(&self) -> serde_json::Value {
        match self {
            Self::ImageOcrCompleted(result)
            | Self::ImageOcrFailed(result)
            | Self::DocumentOcrCompleted(result)
            | Self::DocumentOcrFailed(result) => result.data(),
            Self::AudioTranscriptionCompleted(result) | Self::AudioTranscriptionFailed(result) => {
                result.data()
            }
            Self::UserUpdated(summary) => plain(summary),
            Self::ConversationCreated(summary)
            | Self::ConversationUpdated(summary)
            | Self::ConversationArchived(summary)
            | Self::ConversationDeleted(summary) => plain(summary),
            Self::MessageCreated(summary) => plain(summary),
            Self::AttachmentDeleted(deleted) => plain(deleted),
            Self::ExportCompleted(result) | Self::ExportFailed(result) => plain(result),
        }
    }
}

fn plain(data: &impl Serialize) -> serde_json::Value {
    serde_json::to_value(data).expect("events are plain data")
}

/// Cuts a text after [`EVENT_TEXT_CHARACTERS`], and tells whether there was more of it.
fn shorten(text: &mut String) -> bool {
    let cut = text.char_indices().nth(EVENT_TEXT_CHARACTERS);
    if let Some((cut, _)) = cut {
        text.truncate(cut);
    }
    cut.is_some()
}

/// Records an event of `user`, with one delivery and its job per endpoint that wants it.
///
/// An event that nobody subscribed to leaves no row.
///
/// # Errors
/// As the database fails.
pub async fn emit(tx: &mut Tx, user: UserId, event: &Event, now: DateTime<Utc>) -> Result<()> {
    let webhooks = webhook::find_subscribed(tx.orm(), user, event.name()).await?;
    if webhooks.is_empty() {
        return Ok(());
    }
    let id = event::create(tx, user, event.name(), event.data(), now).await?;
    for webhook in webhooks {
        deliver(tx, webhook, id, now).await?;
    }
    Ok(())
}

/// Sends an event to an endpoint: makes a delivery, and the job that tries.
///
/// # Errors
/// As the database fails, also when the event or the endpoint is gone.
pub async fn deliver(
    tx: &mut Tx,
    webhook: WebhookId,
    event: EventId,
    now: DateTime<Utc>,
) -> Result<(DeliveryId, JobId)> {
    let delivery = DeliveryId::new();
    let job = queue::enqueue(tx, DeliverWebhook { delivery }).await?.id;
    delivery::create(tx, delivery, webhook, event, job, now).await?;
    Ok((delivery, job))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_cut_between_characters() {
        let event = Event::ImageOcrCompleted(OcrResult {
            attachment_id: AttachmentId::new(),
            conversation_id: None,
            message_id: None,
            extracted_text: Some("ह".repeat(20_000)),
            low_confidence: false,
            truncated: false,
            language: Some("eng+hin".to_owned()),
            confidence: None,
            pages: None,
            error: None,
        });
        let data = event.data();
        assert_eq!(data["language"], "en+hi");
        assert_eq!(
            data["extractedText"].as_str().unwrap().chars().count(),
            EVENT_TEXT_CHARACTERS
        );
        assert_eq!(data["truncated"], true);
        assert!(data.get("error").is_none() && data.get("pages").is_none());
    }
}
