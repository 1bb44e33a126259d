//! Removing what is left of a deleted account.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{
    ids::UserId,
    queue::{Backoff, Job, Priority, Queue},
};

/// Removes all that a deleted account had: files, exports, conversations, projects, events, notifications, logins and jobs. It waits
/// for the removal of its endpoints, which have jobs of their own.
///
/// Safe to repeat: it removes what is still there. It is nobody's job, as there is nobody any more.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PurgeUser {
    /// Whose account was deleted.
    pub user: UserId,
}

impl Job for PurgeUser {
    const NAME: &'static str = "purge_user";
    const QUEUE: Queue = Queue::Maintenance;
    const PRIORITY: Priority = Priority::LOW;
    /// For ever: what was deleted has to go.
    const MAX_ATTEMPTS: u32 = i32::MAX.cast_unsigned();
    /// A run goes behind others after a minute; a conversation of 100,000 messages takes it seconds longer.
    const TIMEOUT: Duration = Duration::from_mins(10);
    const BACKOFF: Backoff = Backoff::exponential(Duration::from_secs(2), Duration::from_hours(1));
}
