//! What events tell: their `data`, as receivers get it.

mod accounts;
mod attachments;
mod conversations;
mod operations;

use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

pub use self::{
    accounts::{DeletedUser, UsageLimit, UserSummary},
    attachments::{AttachmentSummary, DeletedAttachment, OcrResult, TranscriptionResult},
    conversations::{ConversationSummary, DeletedConversation, ExportResult, MessageSummary},
    operations::{DisabledWebhook, FailedJob, PingedWebhook},
};

/// Longest `extractedText` in an event, in characters; the whole is at the attachment. Receivers expect payloads
/// of some 20 kB (Standard Webhooks 1.0.0, "Payload size").
pub(super) const EVENT_TEXT_CHARACTERS: usize = 16_000;

/// What an event tells.
pub(super) trait Data {
    /// What it is about: the conversation where there is one, else the thing itself.
    fn subject(&self) -> Uuid;

    /// The `data` of the payload.
    fn data(&self) -> Value;
}

macro_rules! plain_data {
    ($($data:ident about $subject:ident),+ $(,)?) => {$(
        impl Data for $data {
            fn subject(&self) -> Uuid {
                self.$subject.0
            }

            fn data(&self) -> Value {
                plain(self)
            }
        }
    )+};
}

plain_data! {
    ConversationSummary about conversation_id,
    DeletedConversation about conversation_id,
    DeletedUser about user_id,
    DisabledWebhook about webhook_id,
    ExportResult about conversation_id,
    FailedJob about job_id,
    MessageSummary about conversation_id,
    PingedWebhook about webhook_id,
    UsageLimit about user_id,
    UserSummary about user_id,
}

/// Any of these as JSON.
fn plain(data: &impl Serialize) -> Value {
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
