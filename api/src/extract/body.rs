//! Bodies, read whole: within a size, a time, and the room that there is for large ones.

use std::time::Duration;

use axum::{
    body::Bytes,
    extract::Request,
    http::{Extensions, HeaderMap, header},
};
use futures::StreamExt as _;
use tokio::time::Instant;

use super::{JSON_LIMIT_BYTES, Room};
use crate::{
    attachments::upload::{Pace, Rest, SPEED},
    error::Error,
};

/// Longest time for a body to come: less than a request may take, so that a slow client is told what is slow.
const BODY_TIME: Duration = Duration::from_secs(20);

/// The largest body of a route, where it is another one than [`JSON_LIMIT_BYTES`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct BodyLimit(pub usize);

/// The bodies of a route may take as long as uploads, whose pace they must keep. Only for routes whose requests may last.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Paced;

/// What a body may be.
#[derive(Debug)]
pub(super) struct Bounds {
    pub(super) limit_bytes: usize,
    pub(super) time: Time,
    /// What is to be taken of the room for large bodies; none where they are not that large.
    pub(super) room: Option<Room>,
}

/// How long it may take.
#[derive(Debug, Clone, Copy)]
pub(super) enum Time {
    Within(Duration),
    /// As long as it keeps the pace of uploads.
    Paced,
}

impl Bounds {
    /// As its route says.
    pub(super) fn of(extensions: &Extensions) -> Self {
        Self {
            limit_bytes: extensions
                .get::<BodyLimit>()
                .map_or(JSON_LIMIT_BYTES, |limit| limit.0),
            time: match extensions.get::<Paced>() {
                Some(Paced) => Time::Paced,
                None => Time::Within(BODY_TIME),
            },
            room: extensions.get::<Room>().cloned(),
        }
    }

    /// Takes room for a body of this length.
    fn take(&self, length: usize) -> Result<(), Error> {
        match &self.room {
            Some(room) => room.take(length.min(self.limit_bytes)),
            None => Ok(()),
        }
    }
}

/// Reads a body. That it does not come in time is the client's trouble, so nothing is logged.
pub(super) async fn read_body(request: Request, bounds: &Bounds) -> Result<Bytes, Error> {
    let length = length(request.headers());
    let is_waiting = request.headers().contains_key(header::EXPECT);
    let rest = Rest::of(request.into_body());
    let read = async {
        if let Some(length) = length {
            bounds.take(length)?;
        }
        match bounds.time {
            Time::Paced => collect(rest.clone(), bounds, length.is_some()).await,
            Time::Within(limit) => {
                let collected = collect(rest.clone(), bounds, length.is_some());
                let collected = tokio::time::timeout(limit, collected).await;
                collected.map_err(|_| Error::SlowBody { limit })?
            }
        }
    };
    let read = read.await;
    // One that asks before it sends has sent nothing yet.
    if let (Err(Error::Overloaded), false) = (&read, is_waiting) {
        rest.drain(bounds.limit_bytes as u64).await;
    }
    read
}

/// Its length, if its client says so.
fn length(headers: &HeaderMap) -> Option<usize> {
    let length = headers.get(header::CONTENT_LENGTH)?;
    length.to_str().ok()?.parse().ok()
}

/// Puts its pieces together.
async fn collect(mut body: Rest, bounds: &Bounds, is_known: bool) -> Result<Bytes, Error> {
    let mut pace = Pace::new(SPEED);
    let mut read: Vec<u8> = Vec::new();
    loop {
        let asked = Instant::now();
        let piece = match bounds.time {
            Time::Paced => tokio::time::timeout(pace.patience(), body.next())
                .await
                .map_err(|_| Error::SlowUpload)?,
            Time::Within(_) => body.next().await,
        };
        let Some(piece) = piece else {
            return Ok(read.into());
        };
        let piece = piece.map_err(|_| Error::Malformed("the body could not be read".to_owned()))?;
        pace.count(asked.elapsed(), piece.len());
        if read.len() + piece.len() > bounds.limit_bytes {
            return Err(Error::TooLarge {
                limit_bytes: bounds.limit_bytes as u64,
            });
        }
        read.extend_from_slice(&piece);
        // How much more will come is not known, so it counts as the largest one.
        if !is_known && Room::is_needed(read.len()) {
            bounds.take(bounds.limit_bytes)?;
        }
    }
}
