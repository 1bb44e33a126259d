//! What events tell of attachments, and of what was found in them.

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{Data, plain, shorten};
use crate::{
    ids::{AttachmentId, ConversationId, MessageId},
    language,
    models::attachment,
};

/// The `data` of `attachment.created`.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AttachmentSummary {
    /// Which one.
    pub attachment_id: AttachmentId,
    /// Where it was sent to.
    pub conversation_id: Option<ConversationId>,
    /// The message it belongs to.
    pub message_id: Option<MessageId>,
    /// What it is, by content.
    pub kind: attachment::Kind,
    /// As the client named it.
    pub file_name: String,
    /// By content.
    pub media_type: String,
    /// Its length.
    pub size_bytes: i64,
    /// SHA-256 of the content, in hexadecimal.
    pub sha256: String,
    /// Pixels of a picture.
    pub width: Option<i32>,
    /// Pixels of a picture.
    pub height: Option<i32>,
}

impl From<&attachment::Model> for AttachmentSummary {
    fn from(row: &attachment::Model) -> Self {
        Self {
            attachment_id: row.id,
            conversation_id: row.conversation_id,
            message_id: row.message_id,
            kind: row.kind,
            file_name: row.file_name.clone(),
            media_type: row.media_type.clone(),
            size_bytes: row.size_bytes,
            sha256: hex::encode(&row.sha256),
            width: row.width,
            height: row.height,
        }
    }
}

impl Data for AttachmentSummary {
    fn subject(&self) -> Uuid {
        about(self.conversation_id, self.attachment_id)
    }

    fn data(&self) -> Value {
        plain(self)
    }
}

/// The `data` of `attachment.deleted`.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeletedAttachment {
    /// What is gone.
    pub attachment_id: AttachmentId,
    /// Where it was sent to.
    pub conversation_id: Option<ConversationId>,
    /// The message it belonged to.
    pub message_id: Option<MessageId>,
}

impl Data for DeletedAttachment {
    fn subject(&self) -> Uuid {
        about(self.conversation_id, self.attachment_id)
    }

    fn data(&self) -> Value {
        plain(self)
    }
}

/// The `data` of the OCR events.
#[derive(Debug, Clone, Serialize, ToSchema)]
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
    /// Languages it was read in, as ISO codes joined by `+`.
    // Here by the names of `language::Language`.
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
}

impl Data for OcrResult {
    fn subject(&self) -> Uuid {
        about(self.conversation_id, self.attachment_id)
    }

    fn data(&self) -> Value {
        let mut result = self.clone();
        result.language = self.language.as_deref().and_then(language::codes_of);
        if let Some(text) = &mut result.extracted_text {
            result.truncated |= shorten(text);
        }
        plain(&result)
    }
}

/// The `data` of the events of transcriptions.
#[derive(Debug, Clone, Serialize, ToSchema)]
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
}

impl Data for TranscriptionResult {
    fn subject(&self) -> Uuid {
        about(self.conversation_id, self.attachment_id)
    }

    fn data(&self) -> Value {
        let mut result = self.clone();
        if let Some(text) = &mut result.text {
            result.truncated |= shorten(text);
        }
        plain(&result)
    }
}

/// An attachment is about the conversation to which it was sent.
fn about(conversation: Option<ConversationId>, attachment: AttachmentId) -> Uuid {
    conversation.map_or(attachment.0, |conversation| conversation.0)
}
