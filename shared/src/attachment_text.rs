//! Texts of attachments, kept in Redis so that whoever needs one often does not load it from Postgres each time.
//!
//! An attachment is either read or heard. An entry carries the number of its text ([`recognition::Model::readings`],
//! [`transcription::Model::versions`]), and counts only for that one: an entry that Redis kept through an outage is never taken for a later text. What is not there is in Postgres.

use std::time::Duration;

use sea_orm::ConnectionTrait;

use crate::{
    database::Result,
    ids::AttachmentId,
    models::{attachment, recognition, transcription},
    redis::{self, Redis},
};

/// Longer texts stay in Postgres, in bytes.
const MAX_BYTES: usize = 1 << 20;
/// A text that nobody wants for so long makes room.
pub const LIFETIME: Duration = Duration::from_hours(24 * 7);

/// Gets the text of the latest reading that succeeded: from Redis, else from Postgres, and then Redis has it again.
///
/// Whose the attachment is was checked before.
///
/// # Errors
/// As the database fails; Redis may be away.
pub async fn load(
    db: &impl ConnectionTrait,
    redis: &Redis,
    read: &recognition::Model,
) -> Result<Option<String>> {
    let find = recognition::find_text(db, read.attachment_id);
    load_or(db, redis, read.attachment_id, read.readings, find).await
}

/// As [`load`], of what is said.
///
/// # Errors
/// As the database fails; Redis may be away.
pub async fn load_said(
    db: &impl ConnectionTrait,
    redis: &Redis,
    heard: &transcription::Model,
) -> Result<Option<String>> {
    let find = transcription::find_text(db, heard.attachment_id);
    load_or(db, redis, heard.attachment_id, heard.versions, find).await
}

async fn load_or(
    db: &impl ConnectionTrait,
    redis: &Redis,
    attachment: AttachmentId,
    number: i32,
    find: impl Future<Output = Result<Option<String>>>,
) -> Result<Option<String>> {
    if number == 0 {
        return Ok(None);
    }
    if let Some(text) = get(redis, attachment, number).await {
        return Ok(Some(text));
    }
    let text = find.await?;
    if let Some(text) = &text {
        put(db, redis, attachment, number, text).await;
    }
    Ok(text)
}

/// Gets the text of one reading, if Redis has it.
pub async fn get(redis: &Redis, attachment: AttachmentId, reading: i32) -> Option<String> {
    let key = redis.keys().attachment_text(attachment);
    let mut entry = redis.get(&key).await.ok()??;
    let text = entry.split_off(entry.len().min(size_of::<i32>()));
    (entry == reading.to_be_bytes())
        .then(|| String::from_utf8(text).ok())
        .flatten()
}

/// Keeps the text of a reading, unless it is long. A failure costs others the time to load it from Postgres.
///
/// The attachment may be deleted at the same time: whoever deletes it removes the text after its row is gone, so
/// looking for the row after the text is there leaves none behind.
pub async fn put(
    db: &impl ConnectionTrait,
    redis: &Redis,
    attachment: AttachmentId,
    reading: i32,
    text: &str,
) {
    let kept = async {
        if text.len() > MAX_BYTES {
            return remove(redis, attachment).await;
        }
        let mut entry = reading.to_be_bytes().to_vec();
        entry.extend_from_slice(text.as_bytes());
        let key = redis.keys().attachment_text(attachment);
        redis.set(&key, entry, LIFETIME).await?;
        match attachment::exists(db, attachment).await {
            Ok(true) => Ok(()),
            Ok(false) | Err(_) => remove(redis, attachment).await,
        }
    };
    if let Err(error) = kept.await {
        tracing::debug!(error = %error, "a text was not kept in redis");
    }
}

/// Forgets the text of an attachment that is deleted.
///
/// # Errors
/// When Redis does not answer within 100 ms: it may have the text still, for [`LIFETIME`] at most.
pub async fn remove(redis: &Redis, attachment: AttachmentId) -> Result<(), redis::Error> {
    let key = redis.keys().attachment_text(attachment);
    redis.remove(vec![key]).await
}
