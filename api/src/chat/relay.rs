//! Answers for readers at other instances: told through a stream of Redis, and repeated there from it, or from Postgres
//! where Redis is away.
//!
//! Postgres has the words only. What tools did is in Redis, in its place between them: so what is stored waits for Redis,
//! for a second at most.

use std::time::Duration;

use futures::FutureExt as _;
use shared::{
    database,
    ids::{MessageId, UserId},
    models::{generation, message},
    redis::{Number, READ_MAX},
};
use tokio::time::Instant;
use uuid::Uuid;

use super::{
    live::Speaker,
    told::{At, Heard, Listener, Noted},
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

/// Field of an entry: what was said; the number of the entry tells where it ends.
const TEXT: &str = "t";
/// Field of an entry: what tools did meanwhile, as JSON.
const NOTES: &str = "n";
/// Field of an entry: it is over.
const END: &str = "e";

/// The number of the entry that leads to a place.
fn number(at: At) -> Number {
    (at.bytes as u64, u64::from(at.notes) + 1)
}

/// The number of the last entry, after so many bytes.
fn last_number(bytes: usize) -> Number {
    number(At::from(bytes.saturating_add(1)))
}

fn over() -> Vec<(&'static str, String)> {
    vec![(END, "1".to_owned())]
}

/// What was heard, and is not told in Redis yet.
#[derive(Default)]
struct Untold {
    text: String,
    notes: Vec<Noted>,
}

impl Untold {
    fn add(&mut self, heard: Heard) {
        match heard {
            Heard::More(pieces) => {
                self.text
                    .extend(pieces.iter().map(|(text, _)| text.as_str()));
            }
            Heard::Tool(noted) => self.notes.push(noted),
            Heard::End(_) | Heard::Gone => {}
        }
    }

    fn fields(&self) -> Vec<(&'static str, String)> {
        let mut fields = Vec::new();
        if !self.text.is_empty() {
            fields.push((TEXT, self.text.clone()));
        }
        if !self.notes.is_empty() {
            let notes = serde_json::to_string(&self.notes);
            fields.push((NOTES, notes.expect("notes are plain data")));
        }
        fields
    }
}

/// Tells what is said here, until it is over: the first word at once, and then what came within some milliseconds.
pub(super) async fn tell(app: App, id: MessageId, making: Uuid, mut listener: Listener) {
    let key = app.redis.keys().answer(id, making);
    let mut untold = Untold::default();
    let mut lifetime_told: Option<Instant> = None;
    loop {
        let is_over = match listener.next().await {
            Heard::End(_) => true,
            Heard::Gone => return,
            heard => {
                untold.add(heard);
                false
            }
        };
        if !is_over {
            // What has come by now goes along; the end is heard again.
            while let Some(heard @ (Heard::More(_) | Heard::Tool(_))) =
                listener.next().now_or_never()
            {
                untold.add(heard);
            }
        }
        let (number, fields) = if is_over {
            (last_number(listener.at().bytes), over())
        } else {
            (number(listener.at()), untold.fields())
        };
        // At the end in any case: meanwhile the stream may have been lost, and this would begin it anew.
        let is_known = !is_over && lifetime_told.is_some_and(|told| told.elapsed() < LIFETIME_TOLD);
        let lifetime = (!is_known).then_some(LIFETIME);
        let told = app.redis.append(&key, number, fields, lifetime).await;
        if is_over {
            return;
        }
        match told {
            Ok(()) => {
                untold = Untold::default();
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
    let told = app
        .redis
        .append(&key, last_number(length), over(), Some(LIFETIME));
    if let Err(error) = told.await {
        // Whoever listens looks into Postgres, too.
        tracing::debug!(error = %error, "an end is not told");
    }
}

/// Repeats what is said elsewhere, as long as somebody listens, until it is over.
pub(super) async fn repeat(app: App, user: UserId, id: MessageId, speaker: Speaker) {
    let mut look_stored = Instant::now();
    let mut making = None;
    // What was stored when it was looked last, as long as Redis may tell it with what tools did.
    let mut waiting: Option<String> = None;
    while speaker.is_heard() {
        let mut came = Came::default();
        if let Some(making) = making {
            came = hear(&app, id, making, &speaker).await;
            if !came.is_whole
                && let Some(text) = waiting.take()
            {
                say_rest(&speaker, &text, text.len());
            }
        }
        let mut is_new = false;
        if came.is_over || look_stored <= Instant::now() {
            match stored(&app, user, id).await {
                Ok(Stored::Making(None)) => {}
                Ok(Stored::Making(Some(found))) => {
                    if let Some(text) = waiting.take() {
                        say_rest(&speaker, &text, text.len());
                    }
                    is_new = making.replace(found.id) != Some(found.id);
                    let begun = usize::try_from(found.begun_bytes).unwrap_or_default();
                    say_rest(&speaker, found.text.get(..begun).unwrap_or_default(), begun);
                    if is_new || came.is_whole {
                        waiting = Some(found.text);
                    } else {
                        say_rest(&speaker, &found.text, found.text.len());
                    }
                }
                Ok(Stored::Ended(row)) => {
                    let text = row.content.text();
                    say_rest(&speaker, &text, text.len());
                    return speaker.end(*row);
                }
                Ok(Stored::Gone) => return,
                Err(error) => {
                    tracing::debug!(error = %error, "what is stored of an answer is not known");
                }
            }
            look_stored = Instant::now() + LOOK_STORED;
        }
        if !is_new && !came.has_more {
            tokio::time::sleep(LOOK).await;
        }
    }
}

/// What came from Redis.
#[derive(Debug, Clone, Copy, Default)]
struct Came {
    /// Whether nothing before it is missing.
    is_whole: bool,
    /// Whether there may be more at once.
    has_more: bool,
    is_over: bool,
}

/// Says what Redis tells of a making.
async fn hear(app: &App, id: MessageId, making: Uuid, speaker: &Speaker) -> Came {
    let key = app.redis.keys().answer(id, making);
    let read = app.redis.read_after(&key, number(speaker.at())).await;
    let Ok(entries) = read else {
        return Came::default();
    };
    let mut came = Came {
        is_whole: true,
        has_more: entries.len() >= READ_MAX,
        is_over: false,
    };
    for ((bytes, _), mut fields) in entries {
        came.is_over |= fields.contains_key(END);
        let text = fields.remove(TEXT).unwrap_or_default();
        // Of a newer program, they may be of a kind that is not known here.
        let notes: Vec<Noted> = fields
            .get(NOTES)
            .and_then(|notes| serde_json::from_str(notes).ok())
            .unwrap_or_default();
        let end = usize::try_from(bytes).unwrap_or(usize::MAX);
        came.is_whole &= say_entry(speaker, &text, end, notes);
    }
    // Else the same would come again.
    came.has_more &= came.is_whole;
    came
}

/// Says a text that ends at a position, and in its places what tools did; whether nothing before it is missing.
fn say_entry(speaker: &Speaker, text: &str, end: usize, notes: Vec<Noted>) -> bool {
    let begin = end.saturating_sub(text.len());
    let is_nothing = text.is_empty() && notes.is_empty();
    for noted in notes {
        let before = noted.at.bytes.saturating_sub(begin);
        if let Some(before) = text.get(..before) {
            say_rest(speaker, before, begin + before.len());
        }
        speaker.repeat(noted);
    }
    say_rest(speaker, text, end);
    is_nothing || begin <= speaker.len()
}

/// What is stored of an answer.
enum Stored {
    /// It is being made: what is known of that.
    Making(Option<Box<generation::Model>>),
    /// It has ended.
    Ended(Box<message::Model>),
    /// It is deleted.
    Gone,
}

/// Looks what is stored.
async fn stored(app: &App, user: UserId, id: MessageId) -> database::Result<Stored> {
    // In this order: what is in no generation any more is in its message.
    let found = generation::find(&app.db, user, id).await?;
    let row = match message::get(&app.db, user, id).await {
        Err(database::Error::NotFound(_)) => return Ok(Stored::Gone),
        row => row?,
    };
    Ok(if row.status == message::Status::Streaming {
        Stored::Making(found.map(Box::new))
    } else {
        Stored::Ended(Box::new(row))
    })
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
