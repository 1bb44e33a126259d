//! Removing what is left of a deleted endpoint.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{
    ids::WebhookId,
    queue::{Backoff, Job, Priority, Queue},
};

/// Removes a deleted endpoint with its deliveries and their tries.
///
/// Safe to repeat: it removes what is still there. It is nobody's job, so that its user cannot cancel it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PurgeWebhook {
    /// What was deleted.
    pub webhook: WebhookId,
}

impl Job for PurgeWebhook {
    const NAME: &'static str = "purge_webhook";
    const QUEUE: Queue = Queue::Maintenance;
    const PRIORITY: Priority = Priority::LOW;
    /// For ever: what was deleted has to go.
    const MAX_ATTEMPTS: u32 = i32::MAX.cast_unsigned();
    /// A run goes behind others after a minute.
    const TIMEOUT: Duration = Duration::from_mins(10);
    const BACKOFF: Backoff = Backoff::exponential(Duration::from_secs(2), Duration::from_hours(1));
}
