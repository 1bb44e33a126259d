//! Removing an object that no row names any more.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{
    database::{Result, Tx},
    ids::AttachmentId,
    models::pending_object,
    queue::{Backoff, End, Job, Priority, Queue},
};

/// Removes an object from the storage, and then what Redis keeps of its attachment. It is tried until both have done it;
/// a Redis that is away for a week has forgotten the text by itself.
///
/// Safe to repeat: keys are never used again, and what is gone already is fine. It is nobody's job, so that its user
/// cannot cancel it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DeleteObject {
    /// Key in the storage.
    pub storage_key: String,
    /// Its upload came to nothing, so parts of it may be left, too.
    #[serde(default)]
    pub unfinished: bool,
    /// The attachment it was.
    #[serde(default)]
    pub attachment: Option<AttachmentId>,
}

impl Job for DeleteObject {
    const NAME: &'static str = "delete_object";
    const QUEUE: Queue = Queue::Maintenance;
    const PRIORITY: Priority = Priority::LOW;
    /// For ever: a store that is away, or whose keys were changed, comes back some day.
    const MAX_ATTEMPTS: u32 = i32::MAX.cast_unsigned();
    /// Some requests of 30 s, each tried three times.
    const TIMEOUT: Duration = Duration::from_mins(5);
    const BACKOFF: Backoff = Backoff::exponential(Duration::from_secs(2), Duration::from_hours(1));

    /// The object is still there: the next sweep of what is pending makes another job of it.
    async fn ended(&self, tx: &mut Tx, _: &End) -> Result<()> {
        if let Some(attachment) = self.attachment {
            tx.invalidate(tx.keys().attachment_text(attachment));
        }
        pending_object::put_back(tx, &self.storage_key).await
    }
}
