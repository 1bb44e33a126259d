//! Sending a test to an endpoint.

use chrono::{DateTime, Utc};
use shared::{
    database::{Refusal, Tx},
    events::{self, Event, PingedWebhook},
    ids::{UserId, WebhookId},
    models::{
        delivery::{self, Overview},
        job, webhook,
    },
};

use crate::error::Result;

/// Lets `webhook.ping` happen, and sends it to this endpoint only, whatever it subscribes to.
///
/// # Errors
/// [`Refusal::WebhookInactive`] where the endpoint is off.
pub(super) async fn ping(
    tx: &mut Tx,
    user: UserId,
    id: WebhookId,
    now: DateTime<Utc>,
) -> Result<(Overview, job::Model)> {
    let endpoint = webhook::get_for_update(tx, user, id).await?;
    if !endpoint.is_active {
        return Err(Refusal::WebhookInactive.into());
    }
    let ping = Event::WebhookPing(PingedWebhook { webhook_id: id });
    let event = events::record(tx, user, &ping, now).await?;
    // What waits for another try, in its order, does not keep a test waiting.
    let to = endpoint.subscribed().unordered();
    let (delivery, job) = events::deliver(tx, &to, event, Some(&id.to_string()), now).await?;
    delivery::mark_test(tx, delivery).await?;
    Ok((
        delivery::get(tx.orm(), user, id, delivery).await?,
        job::get(tx.orm(), user, job).await?,
    ))
}
