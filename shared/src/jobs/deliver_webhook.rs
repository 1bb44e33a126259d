//! Telling a client's server.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{
    database::{Result, Tx},
    ids::DeliveryId,
    models::delivery,
    queue::{Backoff, End, Job, Queue},
};

/// Delivers one event to one endpoint.
///
/// Safe to repeat: receivers drop a `webhook-id` they have seen, and ours is the event's id.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DeliverWebhook {
    /// What is delivered, and to whom.
    pub delivery: DeliveryId,
}

impl Job for DeliverWebhook {
    const NAME: &'static str = "deliver_webhook";
    const QUEUE: Queue = Queue::Webhook;
    const MAX_ATTEMPTS: u32 = 4;
    /// The request's own limit is 10 s; the rest is for the database.
    const TIMEOUT: Duration = Duration::from_secs(20);
    const BACKOFF: Backoff = Backoff::exponential(Duration::from_secs(5), Duration::from_hours(24));

    async fn ended(&self, tx: &mut Tx, end: &End) -> Result<()> {
        delivery::close(tx, self.delivery, end).await
    }

    async fn reopened(&self, tx: &mut Tx) -> Result<()> {
        delivery::reopen(tx, self.delivery).await
    }
}
