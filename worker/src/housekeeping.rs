//! Rows that nobody needs any more go, a few at a time: logins and refresh tokens that have expired, answers kept for
//! repetitions, exports after their week, rests of jobs, secrets of endpoints that were replaced, and after 30 days events with
//! their deliveries, recoveries and notifications. And what was deleted but is still there is asked for again.
//!
//! One worker at a time does it, whoever comes first; for the others it costs one statement.

use std::time::{Duration, Instant};

use chrono::TimeDelta;
use sea_orm::{ConnectionTrait as _, DbBackend, Statement};
use shared::{
    database::{Error, Result},
    models::{conversation, event, export, idempotency_key, notification, session, user, webhook},
    queue::rests,
};
use tokio::time::MissedTickBehavior;

use crate::context::Context;

/// Between two rounds.
const EVERY: Duration = Duration::from_mins(10);
/// How long events, deliveries and notifications are kept.
const HISTORY: TimeDelta = TimeDelta::days(30);
/// How long a deleted conversation, account or endpoint may take to go before its removal is asked for again.
const REMOVAL: TimeDelta = TimeDelta::hours(1);
/// Rows of a table that one transaction deletes: few, so that it is short.
const BATCH: u32 = 500;
/// Longest time of one round: rows go as fast as the busiest product writes them.
const LONGEST: Duration = Duration::from_mins(9);

/// Taken until the end of the transaction. Locks of two numbers share no names with those of one.
const LOCK: &str = "SELECT pg_try_advisory_xact_lock(25187, 1) AS locked";

/// Tidies up now and then, for ever.
pub(crate) async fn run(context: Context) {
    let mut tick = tokio::time::interval(EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        match tidy(&context).await {
            Ok(0) => {}
            Ok(rows) => tracing::info!(rows, "rows that have expired were deleted"),
            Err(error) => tracing::warn!(error = %error, "could not tidy up"),
        }
    }
}

/// Tidies up once, unless another worker does, and tells how many rows went.
///
/// # Errors
/// As the database fails; what went before that is gone.
pub async fn tidy(context: &Context) -> Result<u64> {
    let (mut rows, begun) = (0, Instant::now());
    while begun.elapsed() < LONGEST {
        let (deleted, is_all) = tidy_batch(context).await?;
        rows += deleted;
        if is_all {
            break;
        }
    }
    Ok(rows)
}

async fn tidy_batch(context: &Context) -> Result<(u64, bool)> {
    let (mut tx, now) = (context.begin().await?, context.clock.now());
    let lock = Statement::from_string(DbBackend::Postgres, LOCK);
    let row = tx.orm().query_one_raw(lock).await?;
    let is_ours: bool = row.ok_or(Error::NotFound("lock"))?.try_get("", "locked")?;
    if !is_ours {
        return Ok((0, true));
    }
    // Tokens before logins: a login takes those with it that are left.
    let deleted = [
        session::spent::prune(tx.orm(), BATCH, now).await?,
        session::prune(tx.orm(), BATCH, now).await?,
        idempotency_key::prune(tx.orm(), BATCH, now).await?,
        event::prune(&mut tx, now - HISTORY, BATCH.into()).await?,
        notification::prune(&mut tx, now - HISTORY, BATCH.into()).await?,
        export::prune(&mut tx, BATCH.into(), now).await?,
        rests::prune(tx.orm(), BATCH).await?,
        webhook::secrets::prune(tx.orm(), BATCH, now).await?,
        webhook::recovery::prune(tx.orm(), now - HISTORY, BATCH).await?,
    ];
    conversation::purge_again(&mut tx, now - REMOVAL, BATCH.into()).await?;
    user::purge_again(&mut tx, now - REMOVAL, BATCH.into()).await?;
    webhook::purge_again(&mut tx, now - REMOVAL, BATCH.into()).await?;
    tx.commit().await?;
    let is_all = deleted.iter().all(|&rows| rows < u64::from(BATCH));
    Ok((deleted.iter().sum(), is_all))
}
