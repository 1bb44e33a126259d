//! What comes of a form, as long as it comes fast enough, and no more than it may have.

use axum::{
    extract::{
        Multipart,
        multipart::{Field, MultipartError},
    },
    http::StatusCode,
};
use bytes::Bytes;
use tokio::time::Instant;

use super::{pace::Pace, pace::Speed, unread::Unread};
use crate::error::{Error, Result};

/// A form that is coming.
pub(crate) struct Arrival {
    limit_bytes: u64,
    pace: Pace,
    unread: Unread,
}

impl Arrival {
    /// `unread` watches its body; `limit_bytes` is what its client is told of one that is too large.
    pub(crate) fn new(limit_bytes: u64, speed: Speed, unread: Unread) -> Self {
        Self {
            limit_bytes,
            pace: Pace::new(speed),
            unread,
        }
    }

    /// The next field.
    ///
    /// # Errors
    /// As the form is wrong, too large or too slow.
    pub(crate) async fn field<'a>(&mut self, form: &'a mut Multipart) -> Result<Option<Field<'a>>> {
        self.in_time(form.next_field(), |_| 0).await
    }

    /// The next piece of a field.
    ///
    /// # Errors
    /// As the form is wrong, too large or too slow.
    pub(crate) async fn piece(&mut self, field: &mut Field<'_>) -> Result<Option<Bytes>> {
        let length = |piece: &Option<Bytes>| piece.as_ref().map_or(0, Bytes::len);
        self.in_time(field.chunk(), length).await
    }

    /// There is more of it than there may be.
    pub(crate) fn too_large(&self) -> Error {
        Error::TooLarge {
            limit_bytes: self.limit_bytes,
        }
    }

    async fn in_time<T>(
        &mut self,
        next: impl Future<Output = std::result::Result<T, MultipartError>>,
        length: impl FnOnce(&T) -> usize,
    ) -> Result<T> {
        let asked = Instant::now();
        let next = tokio::time::timeout(self.pace.patience(), next)
            .await
            .map_err(|_| Error::SlowUpload)?;
        let next = next.map_err(|error| match error.status() {
            StatusCode::PAYLOAD_TOO_LARGE => self.too_large(),
            _ if self.unread.is_too_much() => self.too_large(),
            _ => Error::Malformed(format!("the form cannot be read: {}", error.body_text())),
        })?;
        let length = length(&next);
        self.pace.count(asked.elapsed(), length);
        self.unread.take(length);
        Ok(next)
    }
}
