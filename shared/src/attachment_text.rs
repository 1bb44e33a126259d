//! Texts of attachments, kept in Redis so that whoever needs one often does not load it from Postgres each time.
//!
//! An entry carries the number of its reading ([`recognition::Model::readings`]), and counts only for that one: an entry
//! that Redis kept through an outage is never taken for a later text. What is not there is in Postgres.

use std::time::Duration;

use sea_orm::ConnectionTrait;

use crate::{database::Result, ids::AttachmentId, models::recognition, redis::Redis};

/// Longer texts stay in Postgres, in bytes.
const MAX_BYTES: usize = 1 << 20;
/// A text that nobody wants for so long makes room.
const LIFETIME: Duration = Duration::from_hours(24 * 7);

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
    if read.readings == 0 {
        return Ok(None);
    }
    if let Some(text) = get(redis, read.attachment_id, read.readings).await {
        return Ok(Some(text));
    }
    let text = recognition::find_text(db, read.attachment_id).await?;
    if let Some(text) = &text {
        put(redis, read.attachment_id, read.readings, text).await;
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
pub async fn put(redis: &Redis, attachment: AttachmentId, reading: i32, text: &str) {
    if text.len() > MAX_BYTES {
        return remove(redis, attachment).await;
    }
    let mut entry = reading.to_be_bytes().to_vec();
    entry.extend_from_slice(text.as_bytes());
    let key = redis.keys().attachment_text(attachment);
    if let Err(error) = redis.set(&key, entry, LIFETIME).await {
        tracing::debug!(error = %error, "a text was not kept in redis");
    }
}

/// Forgets the text of an attachment that is deleted or read again.
pub async fn remove(redis: &Redis, attachment: AttachmentId) {
    let key = redis.keys().attachment_text(attachment);
    if let Err(error) = redis.remove(vec![key]).await {
        tracing::debug!(error = %error, "a text was not removed from redis");
    }
}
