//! What the readings of pictures and of documents have in common.

use bytes::Bytes;
use serde_json::Value;
use shared::{
    attachment_text,
    clients::storage,
    language::Language,
    models::{
        attachment, conversation,
        recognition::{self, Reading},
    },
};

use super::{Failure, Outcome};
use crate::{context::JobContext, engines::tesseract::Hints};

/// Loads what was uploaded.
pub(super) async fn load(
    ctx: &JobContext,
    attachment: &attachment::Model,
) -> anyhow::Result<Bytes> {
    match ctx.storage.read(&attachment.storage_key).await {
        Err(storage::Error::NotFound) => Err(Failure::Temporary {
            reason: "the file is not in the storage that this worker sees".to_owned(),
            retry_after: None,
        }
        .into()),
        read => Ok(read?),
    }
}

/// The languages that the user named for the latest reading, and those of the conversation it was sent to.
pub(super) async fn hints(
    ctx: &JobContext,
    attachment: &attachment::Model,
    read: &recognition::Model,
) -> anyhow::Result<Hints> {
    let parse = |names: Option<&str>| match names {
        Some(names) => {
            Language::parse_all(names).map_err(|error| Failure::Permanent(error.to_string()))
        }
        None => Ok(Vec::new()),
    };
    let conversations = match attachment.conversation_id {
        Some(id) => conversation::language_for_any_user(&ctx.db, id).await?,
        None => None,
    };
    Ok(Hints {
        asked: parse(read.requested_language.as_deref())?,
        likely: parse(conversations.as_deref())?,
    })
}

/// Stores what was read and ends the job, if this run still owns it; then those who want the text find it in Redis.
pub(super) async fn store(
    ctx: &JobContext,
    attachment: &attachment::Model,
    reading: Reading,
    result: Option<Value>,
) -> anyhow::Result<Outcome> {
    let text = reading.text.clone();
    let mut tx = ctx.fenced().await?; // this run still owns the job, or it stops here
    let again = tx.runs_again();
    let number =
        recognition::complete(&mut tx, attachment, reading, again, ctx.clock.now()).await?;
    let outcome = tx.done(result).await?;
    attachment_text::put(&ctx.db, &ctx.redis, attachment.id, number, &text).await;
    Ok(outcome)
}

/// As it is stored.
#[expect(clippy::cast_possible_truncation, reason = "0 to 100 with one decimal")]
pub(super) fn rounded(confidence: Option<f64>) -> Option<f32> {
    confidence.map(|confidence| confidence as f32)
}
