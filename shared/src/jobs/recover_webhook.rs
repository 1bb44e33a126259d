//! Sending an endpoint again what it has missed.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{
    database::{Result, Tx},
    ids::{RecoveryId, WebhookId},
    models::webhook::recovery,
    queue::{End, Job, Queue},
};

/// Sends again what had failed at an endpoint when it was asked for.
///
/// Safe to repeat: a page of deliveries is sent again in the transaction that notes how far it has come, so each of them is
/// once, and another run goes on behind it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RecoverWebhook {
    /// What is sent again, and how far that has come.
    pub recovery: RecoveryId,
}

impl RecoverWebhook {
    /// At most one live job has it: an endpoint has one recovery at a time.
    pub fn unique_key(webhook: WebhookId) -> String {
        format!("recover-webhook:{webhook}")
    }
}

impl Job for RecoverWebhook {
    const NAME: &'static str = "recover_webhook";
    const QUEUE: Queue = Queue::Webhook;
    /// First tries go first.
    /// What was done stays done, so a try costs little.
    const MAX_ATTEMPTS: u32 = 10;
    /// A million deliveries; another run goes on where there are more.
    const TIMEOUT: Duration = Duration::from_hours(1);

    async fn ended(&self, tx: &mut Tx, end: &End) -> Result<()> {
        recovery::close(tx, self.recovery, end).await
    }

    async fn reopened(&self, tx: &mut Tx) -> Result<()> {
        recovery::reopen(tx, self.recovery).await
    }
}
