//! What a message consists of.

use sea_orm::FromJsonQueryResult;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::ids::AttachmentId;

/// A piece of a message, as it is stored and shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(
    tag = "type",
    rename_all = "camelCase",
    rename_all_fields = "camelCase"
)]
#[schema(as = MessagePart, example = json!({ "type": "text", "text": "It says so." }))]
pub enum Part {
    /// A piece of text.
    Text {
        /// Any text without U+0000.
        text: String,
    },
    /// An attachment.
    Attachment {
        /// An upload of the same user.
        attachment_id: AttachmentId,
    },
    /// A call of a tool that the model asked for, in a message of the model before its answer.
    ToolCall {
        /// By which its result is known.
        call_id: String,
        /// The tool.
        name: String,
        /// JSON, as the model wrote it.
        arguments: String,
    },
    /// What came of a call, in a message of the role `tool`. It is data, and not found by the search.
    ToolResult {
        /// Of the call.
        call_id: String,
        /// The tool.
        name: String,
        /// `completed`, `failed`, `invalid`, `unavailable`, or `unknown` where nobody knows what came of it.
        status: String,
        /// What the model was told.
        output: String,
    },
}

/// What a message consists of, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, FromJsonQueryResult)]
#[serde(transparent)]
pub struct Content(pub Vec<Part>);

impl Content {
    /// Nothing but a text, if it is not empty.
    pub fn of_text(text: String) -> Self {
        let text = (!text.is_empty()).then_some(Part::Text { text });
        Self(text.into_iter().collect())
    }

    /// Everything that was said.
    pub fn text(&self) -> String {
        let texts = self.0.iter().filter_map(|part| match part {
            Part::Text { text } => Some(text.as_str()),
            Part::Attachment { .. } | Part::ToolCall { .. } | Part::ToolResult { .. } => None,
        });
        texts.collect::<Vec<_>>().join("\n")
    }

    /// Everything that was shown.
    pub fn attachments(&self) -> Vec<AttachmentId> {
        let ids = self.0.iter().filter_map(|part| match part {
            Part::Text { .. } | Part::ToolCall { .. } | Part::ToolResult { .. } => None,
            Part::Attachment { attachment_id } => Some(*attachment_id),
        });
        ids.collect()
    }

    /// Whether it tells of tools: calls of them, or what came of one.
    pub fn is_of_tools(&self) -> bool {
        let is_of_tools =
            |part: &Part| matches!(part, Part::ToolCall { .. } | Part::ToolResult { .. });
        self.0.iter().any(is_of_tools)
    }

    /// Bytes of everything that was said.
    pub fn size_bytes(&self) -> usize {
        let sizes = self.0.iter().map(|part| match part {
            Part::Text { text } => text.len(),
            Part::Attachment { .. } => 0,
            Part::ToolCall { arguments, .. } => arguments.len(),
            Part::ToolResult { output, .. } => output.len(),
        });
        sizes.sum()
    }
}
