//! Things that happen. An event is a row of the transaction that causes it, and so is all that its subscribers make of it:
//! deliveries to endpoints with their jobs, and what users are told inside the product.

mod bounds;
mod catalogue;
mod data;
mod delivering;
mod examples;
mod failures;
mod notifications;
mod schema;
mod webhooks;

use chrono::{DateTime, Utc};
use futures::future::BoxFuture;

pub(crate) use self::failures::{host, job_failed};
pub use self::{
    bounds::PAYLOAD_MAX_BYTES,
    catalogue::{Audience, Event, KINDS, Kind, NAMES, PING, find, for_admins, matching, near},
    data::{
        AttachmentSummary, ConversationSummary, DeletedAttachment, DeletedConversation,
        DeletedUser, DisabledWebhook, ExportResult, FailedJob, MessageSummary, OcrResult,
        PingedWebhook, TranscriptionResult, UsageLimit, UserSummary,
    },
    delivering::{deliver, deliver_again},
    failures::webhook_disabled,
};
use crate::{
    database::{Result, Tx},
    ids::{EventId, UserId},
    models::event,
};

/// Who hears of each event, in the transaction that causes it.
const SUBSCRIBERS: &[Subscriber] = &[
    Subscriber::of_turns(webhooks::hear, webhooks::OF_TURNS),
    Subscriber::new(notifications::hear),
];

struct Subscriber {
    hear: Hear,
    of_turns: Option<&'static str>,
}

/// Hears of an event.
type Hear = for<'a> fn(&'a mut Tx, &'a Happened<'a>) -> BoxFuture<'a, Result<()>>;

impl Subscriber {
    /// One that wants to hear of no turns.
    const fn new(hear: Hear) -> Self {
        Self {
            hear,
            of_turns: None,
        }
    }

    /// One that may want to hear of turns (`conversation.created` and events of messages), of the users for whom `rows` finds any:
    /// a query in which `$user` is the user. Turns of users for whom nobody finds any are written together, past all subscribers
    /// (see [`crate::models::turn`]).
    const fn of_turns(hear: Hear, rows: &'static str) -> Self {
        Self {
            hear,
            of_turns: Some(rows),
        }
    }
}

/// In SQL, that no subscriber wants to hear of the turns of the user that `user` names there.
pub(crate) fn nobody_hears_of_turns(user: &str) -> String {
    let of_turns = SUBSCRIBERS.iter().filter_map(|one| one.of_turns);
    of_turns.fold("true".to_owned(), |condition, rows| {
        let rows = rows.replace("$user", user);
        format!("{condition} AND NOT EXISTS ({rows})")
    })
}

/// An event whose row is there.
struct Happened<'a> {
    id: EventId,
    /// To whom it happened.
    user: UserId,
    event: &'a Event,
    /// What it is about.
    subject: &'a str,
    at: DateTime<Utc>,
}

/// Records an event of `user`, and tells those who hear of it.
///
/// # Errors
/// As the database fails.
pub async fn emit(tx: &mut Tx, user: UserId, event: &Event, now: DateTime<Utc>) -> Result<()> {
    let row = prepare(event, now);
    event::create(tx, user, &row, now).await?;
    let happened = Happened {
        id: row.id,
        user,
        event,
        subject: &row.subject,
        at: now,
    };
    for subscriber in SUBSCRIBERS {
        (subscriber.hear)(tx, &happened).await?;
    }
    Ok(())
}

/// Records an event of `user` that is for whoever asked for it: subscribers do not hear of it.
///
/// # Errors
/// As the database fails.
pub async fn record(
    tx: &mut Tx,
    user: UserId,
    event: &Event,
    now: DateTime<Utc>,
) -> Result<EventId> {
    let row = prepare(event, now);
    event::create(tx, user, &row, now).await?;
    Ok(row.id)
}

/// The row of an event, but for whose it is and when it happens.
pub(crate) fn prepare(event: &Event, at: DateTime<Utc>) -> event::New {
    let (kind, told) = (event.name(), event.told());
    event::New {
        id: EventId::new(),
        kind,
        subject: told.subject().to_string(),
        data: bounds::bounded(kind, at, told.data()),
    }
}

#[cfg(test)]
mod tests {
    use super::{data::EVENT_TEXT_CHARACTERS, *};

    #[test]
    fn a_long_text_is_cut_between_characters() {
        let event = Event::ImageOcrCompleted(OcrResult {
            extracted_text: Some("ह".repeat(20_000)),
            language: Some("eng+hin".to_owned()),
            pages: None,
            error: None,
            ..examples::read_image()
        });
        let data = prepare(&event, examples::at()).data;
        assert_eq!(data["language"], "en+hi");
        assert_eq!(
            data["extractedText"].as_str().unwrap().chars().count(),
            EVENT_TEXT_CHARACTERS
        );
        assert_eq!(data["truncated"], true);
        assert!(data.get("error").is_none() && data.get("pages").is_none());
    }

    #[test]
    fn what_belongs_to_a_conversation_is_about_it() {
        let subject = |event: &Event| prepare(event, examples::at()).subject;
        let conversation = examples::conversation().conversation_id.to_string();
        for event in [
            Event::ConversationCreated(examples::conversation()),
            Event::MessageCompleted(examples::answer()),
            Event::AttachmentCreated(examples::attachment()),
            Event::ExportFailed(examples::failed_export()),
            Event::AudioTranscriptionCompleted(examples::heard()),
        ] {
            assert_eq!(subject(&event), conversation, "{}", event.name());
        }
        let mut alone = examples::read_image();
        alone.conversation_id = None;
        let id = alone.attachment_id.to_string();
        assert_eq!(subject(&Event::ImageOcrCompleted(alone)), id);
    }
}
