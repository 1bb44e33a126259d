//! A bound on what is kept of a form in memory: the parser looks for the end of a preamble or of a part's headers in
//! everything that has come, and would look for ever.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use axum::body::Body;
use futures::StreamExt as _;

/// What may have come without having been taken, in bytes: some windows of HTTP/2 that are full, and headers of parts.
const UNREAD_MAX: u64 = 4 << 20;

/// Counts what has come of a body, and what was taken of it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Unread(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    came: AtomicU64,
    taken: AtomicU64,
}

/// More came than is kept.
#[derive(Debug, thiserror::Error)]
#[error("too much of the form is neither a file nor a field")]
struct TooMuch;

impl Unread {
    /// Counts a body as it comes, and ends it with an error when too much of it is not taken.
    pub(crate) fn watch(&self, body: Body) -> Body {
        let unread = self.clone();
        Body::from_stream(body.into_data_stream().map(move |piece| {
            let piece = piece?;
            let length = piece.len() as u64;
            unread.0.came.fetch_add(length, Ordering::Relaxed);
            if unread.is_too_much() {
                return Err(axum::Error::new(TooMuch));
            }
            Ok(piece)
        }))
    }

    /// Counts what was taken as part of a file or of a field.
    pub(crate) fn take(&self, bytes: usize) {
        self.0.taken.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Whether the body was ended for that.
    pub(crate) fn is_too_much(&self) -> bool {
        let came = self.0.came.load(Ordering::Relaxed);
        came.saturating_sub(self.0.taken.load(Ordering::Relaxed)) > UNREAD_MAX
    }
}
