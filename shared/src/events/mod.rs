//! The catalogue of things that happen. An event, its deliveries and their jobs are rows of the transaction that
//! causes it.

mod data;
mod delivering;

use chrono::{DateTime, Utc};

use self::data::plain;
pub use self::data::{
    ConversationSummary, DeletedAttachment, ExportResult, MessageSummary, OcrResult,
    TranscriptionResult, UserSummary,
};
pub use self::delivering::{deliver, deliver_again};
use crate::{
    database::{Result, Tx},
    ids::UserId,
    models::{event, webhook},
};

/// The event of a test of an endpoint. Nobody subscribes to it.
pub const PING: &str = "webhook.ping";

/// Names of all events.
pub const NAMES: &[&str] = &[
    "user.updated",
    "conversation.created",
    "conversation.updated",
    "conversation.archived",
    "conversation.deleted",
    "message.created",
    "message.completed",
    "message.failed",
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
    /// An answer was made, to its end or until it was stopped.
    MessageCompleted(MessageSummary),
    /// An answer could not be made to its end.
    MessageFailed(MessageSummary),
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
            Self::MessageCompleted(_) => "message.completed",
            Self::MessageFailed(_) => "message.failed",
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
            Self::MessageCreated(summary)
            | Self::MessageCompleted(summary)
            | Self::MessageFailed(summary) => plain(summary),
            Self::AttachmentDeleted(deleted) => plain(deleted),
            Self::ExportCompleted(result) | Self::ExportFailed(result) => plain(result),
        }
    }
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
        deliver(tx, &webhook, id, None, now).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{data::EVENT_TEXT_CHARACTERS, *};
    use crate::ids::AttachmentId;

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
