//! What a try that failed leaves.

use std::time::Duration;

use chrono::{DateTime, Utc};
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
        webhook::{self, Schedule, state},
    },
    queue::groups,
};

use super::{DELETED, Loaded, verdict};
use crate::{
    context::{FencedTx, JobContext},
    jobs::{Failure, Outcome},
};

/// Why nothing was sent that could not be signed, in words for its user and for programs.
const UNREADABLE: &str = "what requests to the endpoint are signed with cannot be read with the server's keys; replace its \
                          secret with an overlap of 0, and set its headers again";
const UNREADABLE_CODE: &str = "secret_unreadable";
/// Least time until the next try then: a worker that has no new key yet is replaced meanwhile.
const UNREADABLE_PAUSE: Duration = Duration::from_mins(1);

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
    let reason = of.error.clone().unwrap_or_default();

    let mut tx = ctx.fenced_late().await?; // this run still owns the job, or it stops here
    let Some(held) = webhook::hold_for_any_user(&mut tx, endpoint.id).await? else {
        return tx.done(Some(json!({ "discarded": DELETED }))).await;
    };
    // What a former server answered is not held against the one that is there now.
    let is_there = held.url == endpoint.url;
    let asked = asked(sent, of.started_at).filter(|_| is_there);
    let hopeless = if is_there {
        learn(&mut tx, endpoint, sent, of.started_at, now).await?
    } else {
        None
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
    again(ctx, tx, reason, asked).await
}

/// Records a try for which no configured key opens what it needs. The endpoint is not to blame.
pub(super) async fn store_unreadable(
    ctx: &JobContext,
    loaded: &Loaded,
    started_at: DateTime<Utc>,
) -> anyhow::Result<Outcome> {
    let of = Try {
        status_code: 0,
        error: Some(UNREADABLE.to_owned()),
        error_code: Some(UNREADABLE_CODE.to_owned()),
        response_body: None,
        details: None,
        duration_ms: 0,
        started_at,
    };
    let mut tx = ctx.fenced().await?;
    let held = webhook::hold_for_any_user(&mut tx, loaded.endpoint.id).await?;
    if held.is_none() || !attempt::record(&mut tx, loaded.delivery.id, of).await? {
        return tx.done(Some(json!({ "discarded": DELETED }))).await;
    }
    again(ctx, tx, UNREADABLE.to_owned(), Some(UNREADABLE_PAUSE)).await
}

/// Has it tried again, or gives it up.
async fn again(
    ctx: &JobContext,
    tx: FencedTx,
    reason: String,
    asked: Option<Duration>,
) -> anyhow::Result<Outcome> {
    // The one that it was made for.
    let schedule = Schedule::of(ctx.max_attempts());
    match verdict::wait(schedule, ctx.attempt(), ctx.random(), asked) {
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

/// Records a try that was broken off, as nobody wants the delivery any more: it may have arrived. Where the cancel came late and
/// was meant for an earlier run, it is made again, as if it had not been.
pub(super) async fn store_broken_off(
    ctx: &JobContext,
    loaded: &Loaded,
    of: Try,
) -> anyhow::Result<Outcome> {
    let mut tx = ctx.fenced_late().await?; // this run still owns the job, or it stops here
    if tx.is_cancelled() {
        let held = webhook::hold_for_any_user(&mut tx, loaded.endpoint.id).await?;
        if held.is_some() {
            attempt::record(&mut tx, loaded.delivery.id, of).await?;
        }
    }
    tx.cancel().await
}

/// Records what a try tells of its endpoint, which gets one at a time from now on, and has it left alone where it asks for that or
/// nobody answers; why it is given up, if it is.
async fn learn(
    tx: &mut FencedTx,
    endpoint: &webhook::Model,
    sent: &Sent,
    begun: DateTime<Utc>,
    now: DateTime<Utc>,
) -> anyhow::Result<Option<&'static str>> {
    let (is_throttled, is_silent) = (
        verdict::is_throttled(sent.answer()),
        verdict::is_silent(&sent.result),
    );
    let failed = state::Failed {
        is_throttled,
        silent_after: is_silent.then_some(verdict::SILENT_FAILURES),
        begun,
    };
    let state = state::fail(tx, endpoint.id, failed, now).await?;
    let group = DeliverWebhook::group(endpoint.id);
    groups::narrow(tx, &group).await?;
    if state.throttles > 0 {
        let asked = asked(sent, begun).filter(|_| is_throttled);
        let hold = verdict::hold(state.throttles, !is_throttled, asked);
        state::slow(tx, endpoint.id, now + hold).await?;
        groups::hold(tx, &group, hold).await?;
    }
    let is_gone = sent
        .answer()
        .is_some_and(|answer| answer.status == StatusCode::GONE);
    Ok(if is_gone {
        Some(verdict::GONE)
    } else {
        verdict::is_hopeless(&state, now)
    })
}

/// When the endpoint wants to be asked again.
fn asked(sent: &Sent, begun: DateTime<Utc>) -> Option<Duration> {
    retry_after(&sent.answer()?.headers, begun)
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
