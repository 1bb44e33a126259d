//! Removing what is left of deleted accounts.
//!
//! What stays is the row without anything personal, the ledger without what providers said, and the event that tells of the
//! deletion.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use sea_orm::{ConnectionTrait, DbBackend, QuerySelect as _, Statement, Value, entity::prelude::*};

use super::{Column, Entity};
use crate::{
    database::{Error, Refusal, Result, Tx},
    ids::{JobId, UserId},
    jobs::PurgeUser,
    queue::{self, End, Enqueue},
};

/// After this time nothing is under way any more that began before the deletion: a request has seconds, an answer is stopped,
/// and what a login opened is believed for a minute.
const GRACE: TimeDelta = TimeDelta::minutes(15);
/// Until it is looked again whether the account's last jobs and answers have ended, and its endpoints have gone.
const PAUSE: Duration = Duration::from_mins(1);

/// Most rows of what came while the rest went.
const LAST: u64 = 100;

/// Each removes up to `$2` rows of the account `$1`, in this order: what would go along with a row in any number goes before it.
/// Rows are locked before they are counted, so that two runs do not find the same ones and take that for the end.
const ROWS: [&str; 9] = [
    // It may quote what was asked.
    "UPDATE usage SET error = NULL WHERE id IN (
         SELECT id FROM usage WHERE user_id = $1 AND error IS NOT NULL LIMIT $2 FOR NO KEY UPDATE)",
    "DELETE FROM usage_months WHERE user_id = $1 AND month IN (
         SELECT month FROM usage_months WHERE user_id = $1 LIMIT $2 FOR UPDATE)",
    "DELETE FROM spent_refresh_tokens WHERE token_hash IN (
         SELECT t.token_hash FROM spent_refresh_tokens t JOIN sessions s ON s.id = t.session_id
          WHERE s.user_id = $1 LIMIT $2 FOR UPDATE OF t)",
    "DELETE FROM sessions WHERE id IN (
         SELECT s.id FROM sessions s WHERE s.user_id = $1
            AND NOT EXISTS (SELECT FROM spent_refresh_tokens t WHERE t.session_id = s.id) LIMIT $2 FOR UPDATE OF s)",
    "DELETE FROM api_keys WHERE id IN (SELECT id FROM api_keys WHERE user_id = $1 LIMIT $2 FOR UPDATE)",
    "DELETE FROM idempotency_keys WHERE user_id = $1 AND key_hash IN (
         SELECT key_hash FROM idempotency_keys WHERE user_id = $1 LIMIT $2 FOR UPDATE)",
    "DELETE FROM notifications WHERE id IN (
         SELECT id FROM notifications WHERE user_id = $1 LIMIT $2 FOR UPDATE)",
    "DELETE FROM projects WHERE id IN (SELECT id FROM projects WHERE user_id = $1 LIMIT $2 FOR UPDATE)",
    "DELETE FROM jobs WHERE id IN (
         SELECT id FROM jobs WHERE user_id = $1
            AND state NOT IN ('queued', 'parked', 'dispatched', 'running') LIMIT $2 FOR UPDATE)",
];

/// Asks for the removal of what is left of an account. While a job for it waits or runs, there is no second one.
pub(super) async fn enqueue(tx: &mut Tx, user: UserId) -> Result<()> {
    let job = Enqueue::new(PurgeUser { user })
        .of_nobody()
        .unique(format!("purge-user:{user}"));
    queue::enqueue(tx, job).await?;
    Ok(())
}

/// Asks again for the removal of what is left of accounts that were deleted before `before`, as a job can be lost with the
/// workers that died on it. Tells how many.
///
/// # Errors
/// As the database fails.
pub async fn purge_again(tx: &mut Tx, before: DateTime<Utc>, limit: u64) -> Result<u64> {
    let left: Vec<UserId> = Entity::find()
        .select_only()
        .column(Column::Id)
        .filter(Column::DeletedAt.lt(before))
        .filter(Expr::cust("deleted_at IS NOT NULL AND purged_at IS NULL"))
        .filter(Expr::cust_with_values(
            "NOT EXISTS (SELECT FROM jobs WHERE unique_key = $1 || users.id
                                            AND state IN ('queued', 'parked', 'dispatched', 'running'))",
            ["purge-user:"],
        ))
        .limit(limit)
        .into_tuple()
        .all(tx.orm())
        .await?;
    let asked = left.len() as u64;
    for user in left {
        enqueue(tx, user).await?;
    }
    Ok(asked)
}

/// Whether there is something to be removed: no account that is there must go.
///
/// # Errors
/// As the database fails.
pub async fn is_deleted(db: &impl ConnectionTrait, user: UserId) -> Result<bool> {
    Ok(find_deleted_at(db, user).await?.is_some())
}

async fn find_deleted_at(db: &impl ConnectionTrait, user: UserId) -> Result<Option<DateTime<Utc>>> {
    let row = Entity::find_by_id(user).one(db).await?;
    Ok(row.and_then(|row| row.deleted_at))
}

/// Where a walk over the jobs of a deleted account is.
pub type Walked = (DateTime<Utc>, JobId);

/// Cancels the next job of a deleted account that was asked for after `after`, and tells it; none when there are no more. Those
/// that have ended, or were told to, are passed by, and so are those of deliveries that are there: they go with their endpoint.
/// One in a transaction, as what is locked keeps workers from claiming.
///
/// # Errors
/// As the database fails.
pub async fn cancel_next_job(
    tx: &mut Tx,
    user: UserId,
    after: Option<Walked>,
) -> Result<Option<Walked>> {
    const SQL: &str = "
        SELECT created_at, id FROM jobs
         WHERE user_id = $1 AND (created_at, id) > ($2, $3)
           AND state IN ('queued', 'parked', 'dispatched', 'running') AND cancel_requested_at IS NULL
           AND (kind <> 'deliver_webhook'
                OR NOT EXISTS (SELECT FROM deliveries d WHERE d.id = (payload ->> 'delivery')::uuid))
         ORDER BY created_at, id LIMIT 1";
    let (time, job) = after.unwrap_or((DateTime::UNIX_EPOCH, JobId(Uuid::nil())));
    let values: [Value; 3] = [user.into(), time.into(), job.into()];
    let found = Statement::from_sql_and_values(DbBackend::Postgres, SQL, values);
    let Some(row) = tx.orm().query_one_raw(found).await? else {
        return Ok(None);
    };
    let job: JobId = row.try_get("", "id")?;
    match queue::cancel(tx, user, job).await {
        Ok(_) | Err(Error::Refused(Refusal::JobEnded)) => {}
        Err(error) => return Err(error),
    }
    Ok(Some((row.try_get("", "created_at")?, job)))
}

/// Removes some rows of one table that are a deleted account's, and tells how many; zero when no table has any more. Its
/// conversations, attachments and exports go before.
///
/// # Errors
/// As the database fails.
pub async fn purge_rows(tx: &mut Tx, user: UserId, limit: u64) -> Result<u64> {
    for sql in ROWS {
        let removed = tx.orm().execute_raw(statement(sql, user, limit)).await?;
        if removed.rows_affected() > 0 {
            return Ok(removed.rows_affected());
        }
    }
    purge_events(tx, user, limit).await
}

/// Removes some events of a deleted account, with what administrators are sent of them; the jobs of that are ended before, one in
/// a transaction, as others may wait for them. Events stay as long as an endpoint of the account does: its deliveries are removed
/// with it.
async fn purge_events(tx: &mut Tx, user: UserId, limit: u64) -> Result<u64> {
    // Locked, so that nothing is sent again meanwhile.
    const SOME: &str = "
        SELECT id FROM events WHERE user_id = $1 AND kind <> 'user.deleted'
           AND NOT EXISTS (SELECT FROM webhooks WHERE user_id = $1) LIMIT $2 FOR UPDATE";
    const WAITING: &str = "
        SELECT d.job_id FROM deliveries d JOIN jobs j ON j.id = d.job_id
         WHERE d.event_id = ANY($1) AND d.status = 'pending' AND j.state IN ('queued', 'parked', 'dispatched') LIMIT 1";
    const REMOVE: &str = "DELETE FROM events WHERE id = ANY($1)";
    let mut events: Vec<Uuid> = Vec::new();
    for row in tx.orm().query_all_raw(statement(SOME, user, limit)).await? {
        events.push(row.try_get("", "id")?);
    }
    if events.is_empty() {
        return Ok(0);
    }
    let waiting =
        Statement::from_sql_and_values(DbBackend::Postgres, WAITING, [events.clone().into()]);
    if let Some(row) = tx.orm().query_one_raw(waiting).await? {
        queue::end_queued(tx, row.try_get("", "job_id")?, &End::Cancelled).await?;
        return Ok(1);
    }
    let remove = Statement::from_sql_and_values(DbBackend::Postgres, REMOVE, [events.into()]);
    Ok(tx.orm().execute_raw(remove).await?.rows_affected())
}

/// Records that nothing is left of a deleted account. As long as something is left, or may be under way that writes for it, tells
/// when to look again instead.
///
/// # Errors
/// As the database fails.
pub async fn end_purge(tx: &mut Tx, user: UserId) -> Result<Option<Duration>> {
    const LEFT: &str = "
        SELECT EXISTS (SELECT FROM jobs WHERE user_id = $1) OR EXISTS (SELECT FROM generations WHERE user_id = $1)
            OR EXISTS (SELECT FROM webhooks WHERE user_id = $1) AS is_left";
    const END: &str = "UPDATE users SET purged_at = job_now() WHERE id = $1";
    let Some(deleted_at) = find_deleted_at(tx.orm(), user).await? else {
        return Ok(None);
    };
    let left = Statement::from_sql_and_values(DbBackend::Postgres, LEFT, [user.into()]);
    let is_left = match tx.orm().query_one_raw(left).await? {
        Some(row) => row.try_get("", "is_left")?,
        None => false,
    };
    if is_left {
        return Ok(Some(PAUSE));
    }
    let wait = (deleted_at + GRACE - tx.now().await?)
        .to_std()
        .unwrap_or_default();
    if !wait.is_zero() {
        return Ok(Some(wait));
    }
    // Nobody writes any more: what came since it was looked at last goes, too.
    if purge_rows(tx, user, LAST).await? > 0 {
        return Ok(Some(Duration::ZERO));
    }
    let end = Statement::from_sql_and_values(DbBackend::Postgres, END, [user.into()]);
    tx.orm().execute_raw(end).await?;
    Ok(None)
}

fn statement(sql: &str, user: UserId, limit: u64) -> Statement {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let values: [Value; 2] = [user.into(), limit.into()];
    Statement::from_sql_and_values(DbBackend::Postgres, sql, values)
}
