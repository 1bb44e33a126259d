//! Endpoints hear of events: each that wants one gets a delivery, and a job that tries.

use futures::future::BoxFuture;

use super::{Audience, Happened, deliver};
use crate::{
    database::{Result, Tx},
    models::webhook,
};

/// Endpoints that may want to hear of turns. Those of administrators do not: turns are told to their owners only.
pub(super) const OF_TURNS: &str = "SELECT FROM webhooks w WHERE w.user_id = $user AND w.is_active";

/// Sends an event to all endpoints that want it: those of its user, and those of administrators that hear of all users,
/// where it is for them.
pub(super) fn hear<'a>(tx: &'a mut Tx, happened: &'a Happened<'a>) -> BoxFuture<'a, Result<()>> {
    Box::pin(async move {
        let (user, kind) = (happened.user, happened.event.kind());
        let mut subscribed = webhook::find_subscribed(tx.orm(), user, kind.name).await?;
        if kind.audience == Audience::OwnerAndAdmins {
            let admins = webhook::find_subscribed_admins(tx.orm(), user, kind.name).await?;
            subscribed.extend(admins);
        }
        for to in &subscribed {
            let subject = Some(happened.subject);
            deliver(tx, to, happened.id, subject, happened.at).await?;
        }
        Ok(())
    })
}
