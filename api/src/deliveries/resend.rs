//! Sending a delivery's event to its endpoint again.

use chrono::{DateTime, Utc};
use shared::{
    database::{self, Refusal, Tx},
    events,
    ids::{DeliveryId, JobId, UserId, WebhookId},
    jobs::DeliverWebhook,
    models::{
        delivery::{self, Overview, Status},
        event, job, webhook,
    },
    queue,
};

use crate::error::{Error, Result};

/// Sends the event of a delivery again: as the same delivery where it never arrived, as another one where it did.
///
/// # Errors
/// [`Refusal::DeliveryPending`] while the delivery waits for a try of its own, [`Refusal::WebhookInactive`] where the
/// endpoint is off.
pub(super) async fn resend(
    tx: &mut Tx,
    user: UserId,
    webhook: WebhookId,
    id: DeliveryId,
    now: DateTime<Utc>,
) -> Result<(Overview, job::Model)> {
    let endpoint = webhook::get_for_update(tx, user, webhook).await?;
    let delivery = delivery::get(tx.orm(), user, webhook, id).await?;
    if !event::hold(tx, delivery.event_id).await? {
        return Err(Error::NotFound("delivery"));
    }
    if delivery.status == Status::Pending {
        return Err(Refusal::DeliveryPending.into());
    }
    if !endpoint.is_active {
        return Err(Refusal::WebhookInactive.into());
    }
    let (id, job) = match delivery.status {
        Status::Succeeded => events::deliver(tx, webhook, delivery.event_id, now).await?,
        _ => (id, try_again(tx, user, &delivery).await?),
    };
    Ok((
        delivery::get(tx.orm(), user, webhook, id).await?,
        job::get(tx.orm(), user, job).await?,
    ))
}

/// Puts the delivery's job back, so that it stays the only one. Where there is none to put back, because it was pruned or
/// because it only found the endpoint switched off, another one is made.
async fn try_again(tx: &mut Tx, user: UserId, delivery: &Overview) -> Result<JobId> {
    if let Some(job) = delivery.job_id {
        match queue::retry(tx, user, job).await {
            Ok(Some(())) => return Ok(job),
            Ok(None) | Err(database::Error::Refused(Refusal::JobNotFailed)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    if !delivery::reopen(tx, delivery.id).await? {
        // Somebody was faster.
        return Err(Refusal::DeliveryPending.into());
    }
    let again = DeliverWebhook {
        delivery: delivery.id,
    };
    let job = queue::enqueue(tx, again).await?.id;
    delivery::hand_over(tx, delivery.id, job).await?;
    Ok(job)
}
