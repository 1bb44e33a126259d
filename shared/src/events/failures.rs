//! Events of what goes wrong by itself: endpoints that are switched off, and jobs that are given up.

use chrono::{DateTime, Utc};
use url::Url;

use super::{DisabledWebhook, Event, FailedJob, emit};
use crate::{
    database::{Result, Tx},
    jobs::DeliverWebhook,
    models::{job::Status, user, webhook},
    queue::{End, Job as _, LiveJob},
};

/// Tells that an endpoint was switched off in this transaction, and why: its owner inside the product, and the endpoints
/// that are still on. `reason` is for people, as in "Nothing is sent to example.com any more: {reason}."
///
/// Each endpoint that is switched off is told of to fewer, so that this comes to an end though some of them fail too.
///
/// # Errors
/// As the database fails.
pub async fn webhook_disabled(
    tx: &mut Tx,
    webhook: &webhook::Model,
    reason: &str,
    now: DateTime<Utc>,
) -> Result<()> {
    let event = Event::WebhookDisabled(DisabledWebhook {
        webhook_id: webhook.id,
        user_id: webhook.user_id,
        host: host(&webhook.url),
        reason: reason.to_owned(),
    });
    emit(tx, webhook.user_id, &event, now).await
}

/// The server of an endpoint: the rest of its URL may hold a secret, and what is told is shown in passing.
pub(crate) fn host(url: &str) -> String {
    let url = Url::parse(url).ok();
    let host = url.as_ref().and_then(Url::host_str);
    host.unwrap_or("its server").to_owned()
}

/// Tells the user of a job that it was given up. Nobody is told of one that they cancelled.
///
/// Of deliveries no event tells: it would be delivered, by a job that may fail too, and so on for ever. Their owners hear of
/// them inside the product.
///
/// # Errors
/// As the database fails.
pub(crate) async fn job_failed(tx: &mut Tx, job: &LiveJob, end: &End) -> Result<()> {
    let status = match end {
        End::Failed(_) => Status::Failed,
        End::Quarantined(_) => Status::Quarantined,
        End::Cancelled => return Ok(()),
    };
    let Some(user) = job.user_id.filter(|_| job.kind != DeliverWebhook::NAME) else {
        return Ok(());
    };
    // A job may outlive its user.
    if !user::hold(tx, user).await? {
        return Ok(());
    }
    let event = Event::JobFailed(FailedJob {
        job_id: job.id,
        user_id: user,
        kind: job.kind.clone(),
        status,
        attempt: job.attempt,
        error: end.reason().unwrap_or("internal error").to_owned(),
    });
    let now = tx.now().await?;
    emit(tx, user, &event, now).await
}

#[cfg(test)]
mod tests {
    use super::host;

    #[test]
    fn only_the_server_of_an_endpoint_is_told() {
        assert_eq!(
            host("https://example.com:8443/hook?key=hidden"),
            "example.com"
        );
        assert_eq!(host("nowhere"), "its server");
    }
}
