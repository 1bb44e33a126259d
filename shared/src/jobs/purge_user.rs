//! Removing what is left of a deleted account.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{
    ids::UserId,
    queue::{Backoff, Job, Priority, Queue},
};

/// Removes all that a deleted account had: files, exports, conversations, projects, endpoints with what was sent to them, events,
/// notifications, logins and jobs.
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
    /// A hundred thousand conversations take minutes; another run goes on where there are more.
    const TIMEOUT: Duration = Duration::from_hours(1);
    const BACKOFF: Backoff = Backoff::exponential(Duration::from_secs(2), Duration::from_hours(1));
}
