//! Sending a delivery's event to its endpoint again.

use chrono::{DateTime, Utc};
use shared::{
    database::{Refusal, Tx},
    events,
    ids::{DeliveryId, UserId, WebhookId},
    models::{
        delivery::{self, Overview, Status},
        event, job, user, webhook,
    },
};

use crate::error::{Error, Result};

/// Sends the event of a delivery again: as the same delivery where it never arrived, as another one where it did.
///
/// # Errors
/// [`Refusal::DeliveryPending`] while the delivery waits for a try of its own, [`Refusal::WebhookInactive`] where the
/// endpoint is off, [`Refusal::EventOfAnother`] where it may not have the event any more.
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
    let owner = user::find_standings(tx.orm(), &[user]).await?;
    let owner = owner.get(&user).copied();
    if endpoint.barred(owner, delivery.event_user_id).is_some() {
        return Err(Refusal::EventOfAnother.into());
    }
    let mut to = endpoint.subscribed();
    if delivery.is_test {
        to = to.unordered();
    }
    let subject = delivery.subject.as_deref();
    let (id, job) = if delivery.status == Status::Succeeded {
        events::deliver(tx, &to, delivery.event_id, subject, now).await?
    } else {
        let job = events::deliver_again(tx, &to, id, delivery.job_id, subject).await?;
        // Else somebody was faster.
        (id, job.ok_or(Refusal::DeliveryPending)?)
    };
    if delivery.is_test {
        delivery::mark_test(tx, id).await?;
    }
    Ok((
        delivery::get(tx.orm(), user, webhook, id).await?,
        job::get(tx.orm(), user, job).await?,
    ))
}
