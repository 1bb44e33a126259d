//! Uploads: streamed to the storage, typed by content, measured before anything decodes them.

mod arrival;
mod content;
mod file_name;
mod form;
mod pace;
mod rest;
mod sound;
#[cfg(test)]
mod tests;
mod unread;

use axum::{
    extract::{DefaultBodyLimit, FromRequest as _, Multipart, Request},
    http::header,
};
use futures::future::BoxFuture;
use shared::{
    clients::storage::{Storage, Unclaimed},
    ids::UserId,
    keyring::Sha256,
    models::attachment::{self, Kind},
};

use self::form::Reading;
pub(crate) use self::{
    arrival::Arrival,
    pace::{Pace, SPEED, Speed},
    rest::Rest,
    sound::is_audible,
    unread::Unread,
};
use crate::{
    error::{Error, Result},
    text::Languages,
};

/// What a form may have besides its file.
const FORM_OVERHEAD_BYTES: u64 = 64 * 1024;
/// What is still read of an upload that is refused, in sizes of the largest one: not far above the limit the client
/// hears of it for sure.
const DRAINED_UPLOADS: u64 = 2;

/// What uploads may be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Largest picture, in bytes.
    pub(super) image_bytes: u64,
    /// Largest document, in bytes.
    pub(super) document_bytes: u64,
    /// Largest sound, in bytes.
    pub(super) audio_bytes: u64,
    /// Least speed.
    pub(super) speed: Speed,
}

impl Limits {
    fn largest(&self) -> u64 {
        self.image_bytes
            .max(self.document_bytes)
            .max(self.audio_bytes)
    }

    fn of(&self, kind: Kind) -> u64 {
        match kind {
            Kind::Image => self.image_bytes,
            Kind::Document => self.document_bytes,
            Kind::Audio => self.audio_bytes,
        }
    }
}

/// Is told the key of an object before its first byte is stored.
pub(super) type Note = dyn Fn(String) -> BoxFuture<'static, Result<()>> + Send + Sync;

/// What a form held.
pub(super) struct Uploaded {
    /// The file.
    pub(super) file: attachment::New,
    /// Its content, which goes unless it is kept.
    pub(super) content: Unclaimed,
    /// Languages as the user named them.
    pub(super) languages: Option<Languages>,
}

impl Uploaded {
    /// What tells this form from another one.
    pub(super) fn fingerprint(&self) -> [u8; 32] {
        let languages = self.languages.as_ref().map(Languages::join);
        let conversation = self.file.conversation.map(|id| id.to_string());
        let mut hash = Sha256::default();
        for part in [
            &self.file.sha256,
            self.file.file_name.as_bytes(),
            languages.unwrap_or_default().as_bytes(),
            conversation.unwrap_or_default().as_bytes(),
        ] {
            hash.update(&part.len().to_be_bytes());
            hash.update(part);
        }
        hash.finish()
    }
}

/// Reads the form. Whatever was stored of a refused one is removed; `note` is told the key of an object before its
/// first byte is stored, so that it is found also after a crash.
///
/// # Errors
/// As the request is wrong, or as the storage fails.
pub(super) async fn receive(
    mut request: Request,
    storage: &Storage,
    note: &Note,
    user: UserId,
    limits: &Limits,
) -> Result<Uploaded> {
    let body_limit = limits.largest() + FORM_OVERHEAD_BYTES;
    // Counts what multipart itself reads: preambles, headers of parts, and fields that are passed over.
    DefaultBodyLimit::max(usize::try_from(body_limit).unwrap_or(usize::MAX)).apply(&mut request);
    let length = request
        .headers()
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.parse::<u64>().ok());
    let (head, body) = request.into_parts();
    let rest = Rest::of(body);
    if let Err(error) = fits(length, limits.largest()) {
        // One that asks before it sends has sent nothing yet.
        if !head.headers.contains_key(header::EXPECT) {
            rest.drain(DRAINED_UPLOADS * body_limit).await;
        }
        return Err(error);
    }
    let received = async {
        let unread = Unread::default();
        let request = Request::from_parts(head, unread.watch(rest.body()));
        let mut form = Multipart::from_request(request, &()).await.map_err(|_| {
            Error::UnsupportedMediaType(
                "the body must be multipart/form-data with a boundary".to_owned(),
            )
        })?;
        Reading::new(storage, note, user, limits, length, unread)
            .form(&mut form)
            .await
    }
    .await;
    // A client that is too slow would only hold us up further.
    if !matches!(received, Ok(_) | Err(Error::SlowUpload)) {
        rest.drain(DRAINED_UPLOADS * body_limit).await;
    }
    received
}

/// Whether a form of this length can hold a file that is no larger than `limit_bytes`.
fn fits(length: Option<u64>, limit_bytes: u64) -> Result<()> {
    if length.is_some_and(|length| length > limit_bytes + FORM_OVERHEAD_BYTES) {
        return Err(Error::TooLarge { limit_bytes });
    }
    Ok(())
}
