//! Answers for readers at other instances: told through a stream of Redis, and repeated there from it, or from Postgres
//! where Redis is away.

use std::time::Duration;

use shared::{
    database,
    ids::{MessageId, UserId},
    models::{generation, message},
};
use tokio::time::Instant;
use uuid::Uuid;

use super::{
    live::Speaker,
    told::{Heard, Listener},
};
use crate::app::App;

/// What is said within this time is told at once.
const COALESCE: Duration = Duration::from_millis(30);
/// How often it is looked for more of what others say.
const LOOK: Duration = Duration::from_millis(40);
/// How often Postgres is looked at meanwhile.
const LOOK_STORED: Duration = Duration::from_secs(1);
/// How long a stream stays after its last entry, and how much sooner it may go.
const LIFETIME: Duration = Duration::from_mins(15);
const LIFETIME_TOLD: Duration = Duration::from_secs(10);

/// Field of an entry: what was said.
const TEXT: &str = "t";
/// Field of an entry: it is over.
const END: &str = "e";

/// Tells what is said here, until it is over: the first word at once, and then what came within some milliseconds.
pub(super) async fn tell(app: App, id: MessageId, making: Uuid, mut listener: Listener) {
    let key = app.redis.keys().answer(id, making);
    let mut untold = String::new();
    let mut lifetime_told: Option<Instant> = None;
    loop {
        let (is_over, at) = match listener.next().await {
            Heard::More(pieces) => {
                untold.extend(pieces.iter().map(|(text, _)| text.as_str()));
                (false, pieces.last().map_or(0, |(_, at)| *at))
            }
            // Readers elsewhere find it in the messages.
            Heard::Tool(_) => continue,
            Heard::End(_) => (true, listener.at() + 1),
            Heard::Gone => return,
        };
        let (field, value) = if is_over {
            (END, "1")
        } else {
            (TEXT, &*untold)
        };
        // At the end in any case: meanwhile the stream may have been lost, and this would begin it anew.
        let is_known = !is_over && lifetime_told.is_some_and(|told| told.elapsed() < LIFETIME_TOLD);
        let lifetime = (!is_known).then_some(LIFETIME);
        let told = app
            .redis
            .append(&key, at as u64, field, value, lifetime)
            .await;
        if is_over {
            return;
        }
        match told {
            Ok(()) => {
                untold.clear();
                if !is_known {
                    lifetime_told = Some(Instant::now());
                }
            }
            // It is told with what comes next.
            Err(error) => {
                lifetime_told = None;
                tracing::debug!(error = %error, "an answer is not told");
            }
        }
        tokio::time::sleep(COALESCE).await;
    }
}

/// Tells that an answer is over whose instance has died.
pub(super) async fn tell_end(app: &App, id: MessageId, making: Uuid, length: usize) {
    let key = app.redis.keys().answer(id, making);
    let number = length as u64 + 1;
    if let Err(error) = app
        .redis
        .append(&key, number, END, "1", Some(LIFETIME))
        .await
    {
        // Whoever listens looks into Postgres, too.
        tracing::debug!(error = %error, "an end is not told");
    }
}

/// Repeats what is said elsewhere, as long as somebody listens, until it is over.
pub(super) async fn repeat(app: App, user: UserId, id: MessageId, speaker: Speaker) {
    let mut look_stored = Instant::now();
    let mut making = None;
    while speaker.is_heard() {
        let mut is_over = false;
        if let Some(making) = making {
            let key = app.redis.keys().answer(id, making);
            let entries = app.redis.read_after(&key, speaker.len() as u64).await;
            for (number, fields) in entries.unwrap_or_default() {
                if let Some(text) = fields.get(TEXT) {
                    let end = usize::try_from(number).unwrap_or(usize::MAX);
                    say_rest(&speaker, text, end);
                }
                is_over |= fields.contains_key(END);
            }
        }
        if is_over || look_stored <= Instant::now() {
            match stored(&app, user, id, &speaker).await {
                Ok(Stored::Making(now)) => making = now,
                Ok(Stored::Ended(row)) => return speaker.end(*row),
                Ok(Stored::Gone) => return,
                Err(error) => {
                    tracing::debug!(error = %error, "what is stored of an answer is not known");
                }
            }
            look_stored = Instant::now() + LOOK_STORED;
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// What is stored of an answer.
enum Stored {
    /// It is being made: which making, if that is known.
    Making(Option<Uuid>),
    /// It has ended.
    Ended(Box<message::Model>),
    /// It is deleted.
    Gone,
}

/// Looks what is stored, and says it.
async fn stored(
    app: &App,
    user: UserId,
    id: MessageId,
    speaker: &Speaker,
) -> database::Result<Stored> {
    // In this order: what is in no generation any more is in its message.
    let found = generation::find(&app.db, user, id).await?;
    let row = match message::get(&app.db, user, id).await {
        Err(database::Error::NotFound(_)) => return Ok(Stored::Gone),
        row => row?,
    };
    let is_making = row.status == message::Status::Streaming;
    if is_making {
        if let Some(found) = &found {
            say_rest(speaker, &found.text, found.text.len());
        }
        return Ok(Stored::Making(found.map(|found| found.id)));
    }
    let text = row.content.text();
    say_rest(speaker, &text, text.len());
    Ok(Stored::Ended(Box::new(row)))
}

/// Says what of a text that ends at a position was not said yet; nothing where something before it is missing.
fn say_rest(speaker: &Speaker, text: &str, end: usize) {
    let (said, begin) = (speaker.len(), end.saturating_sub(text.len()));
    if begin <= said
        && let Some(rest) = text.get(said - begin..)
    {
        speaker.say(rest);
    }
}
