//! Lines of an answer, made of its bytes as they come.

use std::{io, pin::Pin, time::Duration};

use futures::{Stream, StreamExt as _};
use tokio_util::codec::LinesCodecError;

use super::MAX_ANSWER_BYTES;

pub(super) type Lines = Pin<Box<dyn Stream<Item = Result<String, LinesCodecError>> + Send>>;
/// What has not a word for "nothing came" yet.
pub(super) const SILENT: io::ErrorKind = io::ErrorKind::TimedOut;

/// The same bytes, but an error where none come for too long.
pub(super) fn impatient<B: Send + 'static>(
    bytes: impl Stream<Item = io::Result<B>> + Send + 'static,
    silence: Duration,
) -> impl Stream<Item = io::Result<B>> + Send + 'static {
    futures::stream::unfold(Some(Box::pin(bytes)), move |bytes| async move {
        let mut bytes = bytes?;
        match tokio::time::timeout(silence, bytes.next()).await {
            Ok(next) => next.map(|piece| (piece, Some(bytes))),
            Err(_) => Some((Err(SILENT.into()), None)),
        }
    })
}

/// A whole answer, as the one line of a stream.
pub(super) async fn whole<B: AsRef<[u8]>>(
    bytes: impl Stream<Item = io::Result<B>>,
) -> Result<String, LinesCodecError> {
    let mut bytes = std::pin::pin!(bytes);
    let mut body = b"data:".to_vec();
    while let Some(piece) = bytes.next().await {
        body.extend_from_slice(piece?.as_ref());
        if body.len() > MAX_ANSWER_BYTES {
            return Err(LinesCodecError::MaxLineLengthExceeded);
        }
    }
    String::from_utf8(body)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error).into())
}
