//! The catalogue of things that happen. An event, its deliveries and their jobs are rows of the transaction that
//! causes it.

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::{
    database::{Result, Tx},
    ids::{AttachmentId, ConversationId, MessageId, UserId},
    jobs::DeliverWebhook,
    models::{delivery, event, webhook},
    queue,
};

/// Longest `extractedText` in an event, in characters; the whole is at the attachment. Receivers expect payloads
/// of some 20 kB (Standard Webhooks 1.0.0, "Payload size").
const EVENT_TEXT_CHARACTERS: usize = 16_000;

/// Names of all events.
pub const NAMES: [&str; 2] = ["image.ocr_completed", "image.ocr_failed"];

/// Something that happened.
#[derive(Debug, Clone)]
pub enum Event {
    /// The text of a picture was read.
    ImageOcrCompleted(OcrResult),
    /// The text of a picture could not be read.
    ImageOcrFailed(OcrResult),
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
    /// Languages it was read in.
    pub language: Option<String>,
    /// 0 to 100.
    pub confidence: Option<f32>,
    /// Why it could not be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl Event {
    /// Its name, as endpoints subscribe to it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::ImageOcrCompleted(_) => NAMES[0],
            Self::ImageOcrFailed(_) => NAMES[1],
        }
    }

    fn data(&self) -> serde_json::Value {
        match self {
            Self::ImageOcrCompleted(result) | Self::ImageOcrFailed(result) => {
                let mut result = result.clone();
                if let Some(text) = &mut result.extracted_text
                    && let Some((cut, _)) = text.char_indices().nth(EVENT_TEXT_CHARACTERS)
                {
                    text.truncate(cut);
                }
                serde_json::to_value(result).expect("events are plain data")
            }
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
        let delivery = delivery::create(tx, webhook, id, now).await?;
        queue::enqueue(tx, DeliverWebhook { delivery }).await?;
    }
    Ok(())
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
            language: None,
            confidence: None,
            error: None,
        });
        let data = event.data();
        assert_eq!(
            data["extractedText"].as_str().unwrap().chars().count(),
            EVENT_TEXT_CHARACTERS
        );
        assert!(data.get("error").is_none());
    }
}
