//! Telling a client's server.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{
    database::{Result, Tx},
    events,
    ids::{DeliveryId, WebhookId},
    models::{
        delivery, event,
        notification::{self, Failure},
        webhook::{self, Subscribed},
    },
    queue::{Backoff, End, Enqueue, Job, Queue},
};

/// Delivers one event to one endpoint.
///
/// Safe to repeat: receivers drop a `webhook-id` they have seen, and ours is the event's id.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DeliverWebhook {
    /// What is delivered, and to whom.
    pub delivery: DeliveryId,
}

impl DeliverWebhook {
    /// The group of all deliveries to an endpoint.
    pub fn group(webhook: WebhookId) -> String {
        format!("webhook:{webhook}")
    }

    /// Asks for it as its endpoint wants it: so many at once, and in order with others about the same `subject`.
    pub fn requested(self, to: &Subscribed, subject: Option<&str>) -> Enqueue<Self> {
        let mut request = Enqueue::new(self)
            .group(Self::group(to.id), to.ordering.at_once())
            .max_attempts(to.schedule.tries());
        if to.is_failing {
            request = request.late();
        }
        match to.ordering.order_key(subject) {
            Some(order) => request.ordered(order),
            None => request,
        }
    }
}

impl Job for DeliverWebhook {
    const NAME: &'static str = "deliver_webhook";
    const QUEUE: Queue = Queue::Webhook;
    const LATE_QUEUE: Option<Queue> = Some(Queue::WebhookRetry);
    /// The endpoint's schedule says how many there are, and when.
    const MAX_ATTEMPTS: u32 = 10;
    /// The request's own limit is 30 s at most; the rest is for the database.
    const TIMEOUT: Duration = Duration::from_secs(45);
    /// After what was no answer of the endpoint's.
    const BACKOFF: Backoff = Backoff::exponential(Duration::from_secs(5), Duration::from_hours(24));

    async fn ended(&self, tx: &mut Tx, end: &End) -> Result<()> {
        let closed = delivery::close(tx, self.delivery, end).await?;
        match end.reason() {
            Some(reason) if closed => tell_owner(tx, self.delivery, reason).await,
            _ => Ok(()),
        }
    }

    async fn reopened(&self, tx: &mut Tx) -> Result<()> {
        delivery::reopen(tx, self.delivery).await?;
        Ok(())
    }
}

/// Tells the endpoint's owner that a delivery was given up. Where the endpoint was switched off with it, they have been told
/// of that ([`events::webhook_disabled`]), which is more.
async fn tell_owner(tx: &mut Tx, delivery: DeliveryId, reason: &str) -> Result<()> {
    let Some(delivery) = delivery::find_for_any_user(tx.orm(), delivery).await? else {
        return Ok(());
    };
    let webhook = webhook::find_for_any_user(tx.orm(), delivery.webhook_id).await?;
    let event = event::find_for_any_user(tx.orm(), delivery.event_id).await?;
    let (Some(webhook), Some(event)) = (webhook, event) else {
        return Ok(());
    };
    if !webhook.is_active && webhook.disabled_reason.is_some() {
        return Ok(());
    }
    let failure = Failure {
        user: webhook.user_id,
        kind: "webhook.delivery_failed",
        topic: format!("webhook:{}", webhook.id),
        title: "A webhook could not be delivered",
        body: format!(
            "{} did not reach {}, and was given up: {reason}.",
            event.kind,
            events::host(&webhook.url)
        ),
        data: json!({
            "webhookId": webhook.id,
            "deliveryId": delivery.id,
            "event": event.kind,
            "reason": reason,
        }),
    };
    let now = tx.now().await?;
    notification::tell_failure(tx, failure, now).await
}
