//! Bytes of an object, piece by piece.

use std::{io, ops::Range};

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream, stream::BoxStream};
use reqwest::{
    StatusCode,
    header::{HeaderValue, RANGE},
};

use super::{
    super::{
        Error,
        bucket::{REQUEST_TIMEOUT, RETRIES},
    },
    account::Account,
    api,
};

/// What is left to be read.
struct Reader {
    account: Account,
    key: String,
    left: Range<u64>,
    body: BoxStream<'static, io::Result<Bytes>>,
    tries_left: usize,
}

/// Loads a part of an object, or all of it. A body that breaks off is asked for again from there.
pub(super) async fn read(
    account: Account,
    key: &str,
    range: Range<u64>,
) -> Result<BoxStream<'static, io::Result<Bytes>>, Error> {
    let body = open(&account, key, range.clone()).await?;
    let reader = Reader {
        account,
        key: key.to_owned(),
        left: range,
        body,
        tries_left: RETRIES,
    };
    let pieces = stream::try_unfold(reader, |mut reader| async move {
        let piece = reader.next().await?;
        Ok::<_, io::Error>(piece.map(|piece| (piece, reader)))
    });
    Ok(pieces.boxed())
}

async fn open(
    account: &Account,
    key: &str,
    range: Range<u64>,
) -> Result<BoxStream<'static, io::Result<Bytes>>, Error> {
    let url = account.delivery_url(key);
    let wanted = format!("bytes={}-{}", range.start, range.end.saturating_sub(1));
    let wanted = HeaderValue::from_str(&wanted).expect("digits make a header");
    let response = api::ask(|| account.http.get(&url).header(RANGE, wanted.clone())).await?;
    // Whoever does not know of ranges sends all.
    let mut to_skip = match response.status() {
        StatusCode::PARTIAL_CONTENT => 0,
        _ => range.start,
    };
    let pieces = response.bytes_stream().map_ok(move |mut piece| {
        let skipped = to_skip.min(piece.len() as u64);
        to_skip -= skipped;
        piece.split_off(usize::try_from(skipped).unwrap_or(usize::MAX))
    });
    let pieces = pieces.map_err(|error| io::Error::other(error.without_url()));
    Ok(pieces.boxed())
}

impl Reader {
    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        while !self.left.is_empty() {
            let error = match tokio::time::timeout(REQUEST_TIMEOUT, self.body.try_next()).await {
                Ok(Ok(Some(mut piece))) => {
                    let left = self.left.end - self.left.start;
                    piece.truncate(usize::try_from(left).unwrap_or(usize::MAX));
                    if piece.is_empty() {
                        continue;
                    }
                    self.left.start += piece.len() as u64;
                    return Ok(Some(piece));
                }
                Ok(Ok(None)) => io::ErrorKind::UnexpectedEof.into(),
                Ok(Err(error)) => error,
                Err(_) => io::ErrorKind::TimedOut.into(),
            };
            if self.tries_left == 0 {
                return Err(error);
            }
            self.tries_left -= 1;
            tracing::warn!(error = %error, "the rest of an object is asked for again");
            let body = open(&self.account, &self.key, self.left.clone()).await;
            self.body = body.map_err(io::Error::other)?;
        }
        Ok(None)
    }
}
