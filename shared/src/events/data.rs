//! What events tell: their `data`, as receivers get it.

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::{
    ids::{AttachmentId, ConversationId, ExportId, MessageId, ProjectId, UserId},
    language,
    models::{
        attachment, conversation, export, message,
        user::{self, PresenceSharing},
    },
};

/// Longest `extractedText` in an event, in characters; the whole is at the attachment. Receivers expect payloads
/// of some 20 kB (Standard Webhooks 1.0.0, "Payload size").
pub(super) const EVENT_TEXT_CHARACTERS: usize = 16_000;

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

    pub(super) fn data(&self) -> serde_json::Value {
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

    pub(super) fn data(&self) -> serde_json::Value {
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
    /// How far it has come.
    pub status: message::Status,
    /// The model that said it.
    pub model: Option<String>,
    /// Why the model stopped.
    pub finish_reason: Option<String>,
    /// Why it could not be made to its end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<message::Failure>,
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
            status: row.status,
            model: row.model.clone(),
            finish_reason: row.finish_reason.clone(),
            error: row.error.clone(),
        }
    }
}

/// Any of these as JSON.
pub(super) fn plain(data: &impl Serialize) -> serde_json::Value {
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
