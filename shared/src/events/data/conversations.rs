//! What events tell of conversations, of their messages, and of files made of them.

use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use super::shorten;
use crate::{
    ids::{AttachmentId, ConversationId, ExportId, MessageId, ProjectId},
    models::{conversation, export, message},
};

/// The `data` of the events of conversations.
#[derive(Debug, Clone, Serialize, ToSchema)]
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

/// The `data` of `conversation.deleted`.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeletedConversation {
    /// What is gone.
    pub conversation_id: ConversationId,
    /// Where it was filed.
    pub project_id: Option<ProjectId>,
}

/// The `data` of the events of messages.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct MessageSummary {
    /// Which one.
    pub message_id: MessageId,
    /// Where it was written.
    pub conversation_id: ConversationId,
    /// What it follows.
    pub parent_id: Option<MessageId>,
    /// `system`, `user`, `assistant` or `tool`.
    #[schema(value_type = String, pattern = "^(system|user|assistant|tool)$")]
    pub role: &'static str,
    /// The first 16,000 characters of what was said.
    pub text: String,
    /// There is more of what was said.
    pub truncated: bool,
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
        let truncated = shorten(&mut text);
        Self {
            message_id: row.id,
            conversation_id: row.conversation_id,
            parent_id: row.parent_id,
            role: row.role.as_str(),
            text,
            truncated,
            attachment_ids: row.content.attachments(),
            token_count: row.token_count,
            status: row.status,
            model: row.model.clone(),
            finish_reason: row.finish_reason.clone(),
            error: row.error.clone(),
        }
    }
}

/// The `data` of the events of exports. Its URL is not there: it would have expired when the event is read.
#[derive(Debug, Clone, Serialize, ToSchema)]
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
