//! What a try that failed leaves.

use reqwest::StatusCode;
use serde_json::json;
use shared::{
    clients::{
        outbound::{SendError, Sent},
        retry_after,
    },
    events,
    jobs::DeliverWebhook,
    models::{
        delivery::attempt::{self, Try},
        webhook::{self, state},
    },
    queue::groups,
};

use super::{DELETED, Loaded, verdict};
use crate::{
    context::{FencedTx, JobContext},
    jobs::{Failure, Outcome},
};

/// Records a try, and what is learned of its endpoint; and has it tried again, or gives it up.
///
/// Locks are taken as whoever deletes the endpoint takes them: the endpoint, its state and group, the delivery.
pub(super) async fn store(
    ctx: &JobContext,
    loaded: &Loaded,
    sent: &Sent,
    of: Try,
) -> anyhow::Result<Outcome> {
    let now = ctx.clock.now();
    let endpoint = &loaded.endpoint;
    let asked = sent
        .result
        .as_ref()
        .ok()
        .and_then(|answer| retry_after(&answer.headers, of.started_at));
    let reason = of.error.clone().unwrap_or_default();

    let mut tx = ctx.fenced().await?; // this run still owns the job, or it stops here
    if webhook::hold_for_any_user(&mut tx, endpoint.id)
        .await?
        .is_none()
    {
        return tx.done(Some(json!({ "discarded": DELETED }))).await;
    }
    let is_throttled = verdict::is_throttled(&sent.result);
    let state = state::fail(&mut tx, endpoint.id, is_throttled, now).await?;
    if is_throttled {
        let hold = verdict::hold(state.throttles, asked);
        state::slow(&mut tx, endpoint.id, now + hold).await?;
        groups::hold(&mut tx, &DeliverWebhook::group(endpoint.id), hold).await?;
    }
    let is_gone = matches!(&sent.result, Ok(answer) if answer.status == StatusCode::GONE);
    let hopeless = if is_gone {
        Some(verdict::GONE)
    } else {
        verdict::is_hopeless(&state, now)
    };
    let is_off = match hopeless {
        Some(why) => switch_off(&mut tx, endpoint, why, ctx).await?,
        None => false,
    };
    if !attempt::record(&mut tx, loaded.delivery.id, of).await? {
        return tx.done(Some(json!({ "discarded": DELETED }))).await;
    }
    if let Some(why) = hopeless.filter(|_| is_off) {
        return tx.fail(&Failure::Permanent(off(why))).await;
    }
    if matches!(&sent.result, Err(SendError::Blocked(_))) {
        return tx.fail(&Failure::Permanent(reason)).await;
    }
    match verdict::wait(endpoint.schedule, ctx.attempt(), ctx.random(), asked) {
        Some(wait) => {
            let failure = Failure::Temporary {
                reason,
                retry_after: None,
            };
            tx.fail_for(&failure, wait).await
        }
        None => tx.fail(&Failure::Permanent(reason)).await,
    }
}

fn off(why: &str) -> String {
    format!("{why} and was switched off")
}

/// Switches an endpoint off and tells of it; false where that was done before, or it has another URL by now.
async fn switch_off(
    tx: &mut FencedTx,
    endpoint: &webhook::Model,
    why: &str,
    ctx: &JobContext,
) -> anyhow::Result<bool> {
    let now = ctx.clock.now();
    if !webhook::disable(tx, endpoint.id, &endpoint.url, why, now).await? {
        return Ok(false);
    }
    // What waits is not sent: it need not wait.
    groups::release(tx, &DeliverWebhook::group(endpoint.id)).await?;
    events::webhook_disabled(tx, endpoint, &off(why), now).await?;
    tracing::warn!(webhookId = %endpoint.id, "a webhook was switched off: {why}");
    Ok(true)
}
