//! Trying again at once at an endpoint whose user says that it is well.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{
    ids::WebhookId,
    queue::{Job, Queue},
};

/// Makes due what waits at an endpoint for a later try.
///
/// Safe to repeat: what is due already stays as it is. It is nobody's job, so that its user neither sees nor cancels it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct HastenDeliveries {
    /// The endpoint.
    pub webhook: WebhookId,
}

impl HastenDeliveries {
    /// At most one live job has it.
    pub fn unique_key(webhook: WebhookId) -> String {
        format!("hasten-deliveries:{webhook}")
    }
}

impl Job for HastenDeliveries {
    const NAME: &'static str = "hasten_deliveries";
    const QUEUE: Queue = Queue::Webhook;
    /// What was done stays done, so a try costs little.
    const MAX_ATTEMPTS: u32 = 10;
    /// A million deliveries; another run does what is left where there are more.
    const TIMEOUT: Duration = Duration::from_hours(1);
}
