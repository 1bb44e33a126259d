//! What a message consists of, as clients send it: a text, or a list of parts.

use deserr::{Deserr, IntoValue, Value, ValuePointerRef};
use serde::Serialize;
use shared::{
    ids::AttachmentId,
    models::message::{self, Part},
};
use utoipa::ToSchema;

use crate::{
    extract::{Fields, Rule},
    text::{Id, refuse},
};

/// Longest text of a message, in bytes of UTF-8.
pub(super) const TEXT_MAX_BYTES: usize = 5 * 1024 * 1024;
/// Most parts of a message.
const PARTS_MAX: usize = 50;

/// A piece of a message.
#[derive(Debug, Clone, Deserr, Serialize, ToSchema)]
#[deserr(error = Fields, deny_unknown_fields, tag = "type", rename_all = lowercase)]
#[serde(
    tag = "type",
    rename_all = "lowercase",
    rename_all_fields = "camelCase"
)]
#[schema(example = json!({ "type": "text", "text": "What does it say?" }))]
pub(super) enum ContentPart {
    /// A piece of text.
    Text {
        /// Any text without U+0000.
        text: String,
    },
    /// An attachment.
    #[deserr(rename_all = camelCase)]
    Attachment {
        /// An upload of the caller that does not belong to another conversation.
        #[schema(value_type = AttachmentId)]
        attachment_id: AttachmentRef,
    },
}

/// The id of an upload.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(transparent)]
pub(super) struct AttachmentRef(AttachmentId);

impl Deserr<Fields> for AttachmentRef {
    fn deserialize_from_value<V: IntoValue>(
        value: Value<V>,
        location: ValuePointerRef<'_>,
    ) -> Result<Self, Fields> {
        Id::deserialize_from_value(value, location).map(|id| Self(id.0))
    }
}

impl From<ContentPart> for Part {
    fn from(part: ContentPart) -> Self {
        match part {
            ContentPart::Text { text } => Self::Text { text },
            ContentPart::Attachment { attachment_id } => Self::Attachment {
                attachment_id: attachment_id.0,
            },
        }
    }
}

/// The parts of a message; a text stands for one part.
#[derive(Debug, Clone)]
pub(super) struct Content(pub(super) message::Content);

impl Deserr<Fields> for Content {
    fn deserialize_from_value<V: IntoValue>(
        value: Value<V>,
        location: ValuePointerRef<'_>,
    ) -> Result<Self, Fields> {
        let parts = match value {
            Value::String(text) => vec![Part::Text { text }],
            Value::Sequence(_) => {
                let parts = Vec::<ContentPart>::deserialize_from_value(value, location)?;
                parts.into_iter().map(Part::from).collect()
            }
            _ => {
                return Err(refuse(
                    Rule::new("must be a text or a list of parts"),
                    location,
                ));
            }
        };
        let content = message::Content(parts);
        match check(&content) {
            Some(rule) => Err(refuse(rule, location)),
            None => Ok(Self(content)),
        }
    }
}

/// The rule that a content breaks.
fn check(content: &message::Content) -> Option<Rule> {
    let attachments = content.attachments();
    if content.0.len() > PARTS_MAX {
        return Some(Rule::new(format!("must have at most {PARTS_MAX} parts")));
    }
    if content.size_bytes() > TEXT_MAX_BYTES {
        return Some(Rule::new(format!(
            "must have at most {TEXT_MAX_BYTES} bytes of text"
        )));
    }
    if attachments.is_empty() && content.text().trim().is_empty() {
        return Some(Rule::new("must not be empty"));
    }
    None
}
