//! Removing an object that no row names any more.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{
    ids::AttachmentId,
    queue::{Backoff, Job, Priority, Queue},
};

/// Removes an object from the storage, and what Redis keeps of its attachment. It is tried until the store has done it.
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
}
