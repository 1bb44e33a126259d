//! What is left of an upload that is refused: it is read on for a while, so that a client that sends before it listens
//! hears why. A connection that is closed with bytes unread is reset, and our answer may be lost with it.

use std::{
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::Duration,
};

use axum::body::{Body, BodyDataStream, Bytes};
use futures::{Stream, StreamExt as _};

/// Longest time for it.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// A body that can be read on when its first reader has given up.
#[derive(Clone)]
pub(crate) struct Rest(Arc<Mutex<BodyDataStream>>);

impl Rest {
    /// Takes a body.
    pub(crate) fn of(body: Body) -> Self {
        Self(Arc::new(Mutex::new(body.into_data_stream())))
    }

    /// The body, for its first reader.
    pub(crate) fn body(&self) -> Body {
        Body::from_stream(self.clone())
    }

    /// Reads on to the end, but no longer than 5 s, and no more than `limit_bytes`.
    pub(crate) async fn drain(mut self, limit_bytes: u64) {
        let mut left = limit_bytes;
        let read = async {
            while let Some(Ok(piece)) = self.next().await {
                left = left.saturating_sub(piece.len() as u64);
                if left == 0 {
                    return;
                }
            }
        };
        let _ = tokio::time::timeout(DRAIN_TIMEOUT, read).await;
    }
}

impl Stream for Rest {
    type Item = Result<Bytes, axum::Error>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut body = self
            .0
            .lock()
            .expect("nothing panics while it holds this lock");
        body.poll_next_unpin(context)
    }
}
