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

/// Cancels some jobs of a deleted account that were asked for after `after`, and tells the last of them; none when there are no
/// more. Those that have ended, or were told to, are passed by.
///
/// # Errors
/// As the database fails.
pub async fn cancel_jobs(
    tx: &mut Tx,
    user: UserId,
    after: Option<Walked>,
    limit: u64,
) -> Result<Option<Walked>> {
    const SQL: &str = "
        SELECT created_at, id FROM jobs
         WHERE user_id = $1 AND (created_at, id) > ($3, $4)
           AND state IN ('queued', 'parked', 'dispatched', 'running') AND cancel_requested_at IS NULL
         ORDER BY created_at, id LIMIT $2";
    let (time, job) = after.unwrap_or((DateTime::UNIX_EPOCH, JobId(Uuid::nil())));
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let values: [Value; 4] = [user.into(), limit.into(), time.into(), job.into()];
    let found = Statement::from_sql_and_values(DbBackend::Postgres, SQL, values);
    let mut last = None;
    let rows = tx.orm().query_all_raw(found).await?;
    for row in &rows {
        let job: JobId = row.try_get("", "id")?;
        match queue::cancel(tx, user, job).await {
            Ok(_) | Err(Error::Refused(Refusal::JobEnded)) => {}
            Err(error) => return Err(error),
        }
        last = Some((row.try_get("", "created_at")?, job));
    }
    Ok(last)
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

/// Removes some events of a deleted account, with what administrators are sent of them; the jobs of that are ended, as others
/// may wait for them. Events stay as long as an endpoint of the account does: its deliveries are removed with it.
async fn purge_events(tx: &mut Tx, user: UserId, limit: u64) -> Result<u64> {
    // Locked, so that nothing is sent again meanwhile.
    const SOME: &str = "
        SELECT id FROM events WHERE user_id = $1 AND kind <> 'user.deleted'
           AND NOT EXISTS (SELECT FROM webhooks WHERE user_id = $1) LIMIT $2 FOR UPDATE";
    const WAITING: &str = "
        SELECT job_id FROM deliveries WHERE event_id = ANY($1) AND status = 'pending' AND job_id IS NOT NULL";
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
    let waiting = tx.orm().query_all_raw(waiting).await?;
    for row in &waiting {
        queue::end_queued(tx, row.try_get("", "job_id")?, &End::Cancelled).await?;
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
    let end = Statement::from_sql_and_values(DbBackend::Postgres, END, [user.into()]);
    tx.orm().execute_raw(end).await?;
    Ok(None)
}

fn statement(sql: &str, user: UserId, limit: u64) -> Statement {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let values: [Value; 2] = [user.into(), limit.into()];
    Statement::from_sql_and_values(DbBackend::Postgres, sql, values)
}
