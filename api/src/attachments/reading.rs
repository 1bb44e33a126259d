//! Asking for an attachment's text to be read, for the first time or again.

use chrono::{DateTime, Utc};
use shared::{
    database::{Refusal, Tx},
    ids::JobId,
    jobs::{ReadDocument, RecognizeText},
    models::{
        attachment::{self, Kind},
        recognition,
    },
    queue::{self, Enqueue},
};

use crate::{error::Result, text::Languages};

/// Asks for a reading, in the caller's transaction. While one waits, asking again is the same job; while one runs, it runs
/// once more. The languages of the latest call count.
///
/// # Errors
/// [`Refusal::NotReadable`] for what has no text in it.
pub(super) async fn begin(
    tx: &mut Tx,
    row: &attachment::Model,
    languages: Option<&Languages>,
    now: DateTime<Utc>,
) -> Result<JobId> {
    let key = format!("read-attachment:{}", row.id);
    let attachment = row.id;
    let job = match row.kind {
        Kind::Image => {
            queue::enqueue(tx, Enqueue::new(RecognizeText { attachment }).unique(key)).await?
        }
        Kind::Document => {
            queue::enqueue(tx, Enqueue::new(ReadDocument { attachment }).unique(key)).await?
        }
        Kind::Audio => return Err(Refusal::NotReadable.into()),
    };
    let requested = languages.map(Languages::join);
    recognition::begin(tx, row.id, job.id, requested, now).await?;
    Ok(job.id)
}
