//! Answers as server-sent events.
//!
//! A failure before the first word is an answer of its own status, which clients know how to try again; afterwards it is an
//! event with an `error`, and the stream ends without `[DONE]`.

use std::{convert::Infallible, time::Duration};

use axum::{body::Body, response::Response};
use bytes::Bytes;
use shared::clients::chat::Piece;

use super::{
    chunks::{Chunks, KEEP_ALIVE, broken, finish},
    fault::{Error, Fault, Result},
    whole::{finish_of, kept, lost},
};
use crate::chat::{
    as_stream,
    direct::Hearing,
    spoken::{Following, Next, failure_of},
};

/// Where the pieces come from.
enum Source {
    /// An answer that nobody keeps.
    Direct(Hearing, Duration),
    /// One that is kept.
    Kept(Following),
}

/// What comes next.
enum Came {
    Events(String),
    Silence,
    /// The last events.
    Last(String),
    Failed(Fault),
}

/// Streams an answer that nobody keeps; `silence` is the longest time without a byte.
///
/// # Errors
/// As it fails before its first word.
pub(super) async fn direct(
    hearing: Hearing,
    chunks: Chunks,
    silence: Duration,
) -> Result<Response> {
    stream(Source::Direct(hearing, silence), chunks).await
}

/// Streams an answer that is kept.
///
/// # Errors
/// As it fails before its first word.
pub(super) async fn followed(following: Following, chunks: Chunks) -> Result<Response> {
    stream(Source::Kept(following), chunks).await
}

async fn stream(mut source: Source, mut chunks: Chunks) -> Result<Response> {
    // Nothing is sent before it is known whether somebody answers, or that it takes long.
    let first = source.next(&mut chunks).await;
    let begin = match first {
        Came::Failed(fault) => return Err(Error::from(fault)),
        Came::Silence => (KEEP_ALIVE.to_owned(), false),
        Came::Events(events) => (chunks.role() + &events, true),
        Came::Last(events) => {
            let all = chunks.role() + &events;
            return Ok(as_stream(Body::from(all)));
        }
    };
    let (events, has_role) = begin;
    let telling = Telling {
        source,
        chunks,
        has_role,
        ready: Some(events),
    };
    let events = futures::stream::unfold(Some(telling), async |telling| {
        let mut telling = telling?;
        let (events, is_over) = telling.next().await;
        Some((
            Ok::<_, Infallible>(Bytes::from(events)),
            (!is_over).then_some(telling),
        ))
    });
    Ok(as_stream(Body::from_stream(events)))
}

/// A stream that is being told.
struct Telling {
    source: Source,
    chunks: Chunks,
    /// Whether it was said who speaks.
    has_role: bool,
    /// What is sent first.
    ready: Option<String>,
}

impl Telling {
    /// The next events, and whether they are the last.
    async fn next(&mut self) -> (String, bool) {
        if let Some(ready) = self.ready.take() {
            return (ready, false);
        }
        let (events, is_over) = match self.source.next(&mut self.chunks).await {
            Came::Silence => return (KEEP_ALIVE.to_owned(), false),
            Came::Failed(fault) => return (broken(&fault), true),
            Came::Events(events) => (events, false),
            Came::Last(events) => (events, true),
        };
        if std::mem::replace(&mut self.has_role, true) {
            return (events, is_over);
        }
        (self.chunks.role() + &events, is_over)
    }
}

impl Source {
    async fn next(&mut self, chunks: &mut Chunks) -> Came {
        match self {
            Self::Direct(hearing, silence) => next_direct(hearing, *silence, chunks).await,
            Self::Kept(following) => next_kept(following, chunks).await,
        }
    }
}

async fn next_direct(hearing: &mut Hearing, silence: Duration, chunks: &mut Chunks) -> Came {
    loop {
        match tokio::time::timeout(silence, hearing.next()).await {
            Err(_) => return Came::Silence,
            Ok(Some(piece)) => {
                if let Some(events) = chunks.piece(piece) {
                    return Came::Events(events);
                }
            }
            Ok(None) => {
                let end = hearing.end().await;
                return match end.came {
                    Ok(ending) => Came::Last(chunks.end(finish(&ending), &end.usage)),
                    Err(failure) => Came::Failed(Fault::from(&failure)),
                };
            }
        }
    }
}

async fn next_kept(following: &mut Following, chunks: &mut Chunks) -> Came {
    loop {
        match following.next().await {
            Next::Silence => return Came::Silence,
            Next::Words(words) => {
                if let Some(events) = chunks.piece(Piece::Text(words)) {
                    return Came::Events(events);
                }
            }
            Next::End(row) => {
                if let Some(failure) = failure_of(&row) {
                    return Came::Failed(kept(&failure));
                }
                let usage = row.figures.as_ref().map(|figures| figures.usage.clone());
                let finish = finish_of(row.finish_reason.as_deref());
                return Came::Last(chunks.end(finish, &usage.unwrap_or_default()));
            }
            Next::Lost(error) => return Came::Failed(lost(&error)),
        }
    }
}
