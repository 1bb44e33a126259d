//! Sending events to endpoints.

use chrono::{DateTime, Utc};

use crate::{
    database::{Error, Refusal, Result, Tx},
    ids::{DeliveryId, EventId, JobId},
    jobs::DeliverWebhook,
    models::{delivery, webhook::Subscribed},
    queue,
};

/// Sends an event about `subject` to an endpoint: makes a delivery, and the job that tries.
///
/// # Errors
/// As the database fails, also when the event or the endpoint is gone.
pub async fn deliver(
    tx: &mut Tx,
    to: &Subscribed,
    event: EventId,
    subject: Option<&str>,
    now: DateTime<Utc>,
) -> Result<(DeliveryId, JobId)> {
    let delivery = DeliveryId::new();
    let job = enqueue(tx, to, delivery, subject).await?;
    delivery::create(tx, delivery, to.id, event, job, now).await?;
    Ok((delivery, job))
}

/// Sends a delivery of an event about `subject` again that was given up, and tells by which job. `None` where it waits
/// already or has succeeded. The event must be kept from being pruned.
///
/// Its own job is put back, so that it stays the only one. Where there is none to put back, because it was pruned or because
/// it only found the endpoint switched off, another one is made.
///
/// # Errors
/// As the database fails.
pub async fn deliver_again(
    tx: &mut Tx,
    to: &Subscribed,
    delivery: DeliveryId,
    job: Option<JobId>,
    subject: Option<&str>,
) -> Result<Option<JobId>> {
    if let Some(job) = job {
        match queue::retry(tx, to.user_id, job).await {
            Ok(Some(())) => {
                let request = DeliverWebhook { delivery }.requested(to, subject);
                queue::renew(tx, job, request).await?;
                return Ok(Some(job));
            }
            Ok(None) | Err(Error::Refused(Refusal::JobNotFailed)) => {}
            Err(error) => return Err(error),
        }
    }
    if !delivery::reopen(tx, delivery).await? {
        return Ok(None);
    }
    let job = enqueue(tx, to, delivery, subject).await?;
    delivery::hand_over(tx, delivery, job).await?;
    Ok(Some(job))
}

/// The job is the endpoint's user's, whoever caused the event: nobody else sees or stops it.
async fn enqueue(
    tx: &mut Tx,
    to: &Subscribed,
    delivery: DeliveryId,
    subject: Option<&str>,
) -> Result<JobId> {
    let origin = tx.origin.user.replace(to.user_id);
    let request = DeliverWebhook { delivery }.requested(to, subject);
    let enqueued = queue::enqueue(tx, request).await;
    tx.origin.user = origin;
    Ok(enqueued?.id)
}
