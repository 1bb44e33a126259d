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
    queue::{self, Enqueue},
};

/// After this time nothing is under way any more that began before the deletion: a request has seconds, an answer is stopped,
/// and what a login opened is believed for a minute.
const GRACE: TimeDelta = TimeDelta::minutes(15);
/// Until it is looked again whether the account's last jobs have ended.
const PAUSE: Duration = Duration::from_mins(1);

/// Each removes up to `$2` rows of the account `$1`, in this order: what would go along with a row in any number goes before it.
/// Deliveries take their tries along, and events what administrators were sent of them.
const ROWS: [&str; 13] = [
    "DELETE FROM spent_refresh_tokens WHERE token_hash IN (
         SELECT t.token_hash FROM spent_refresh_tokens t JOIN sessions s ON s.id = t.session_id
          WHERE s.user_id = $1 LIMIT $2)",
    "DELETE FROM sessions WHERE id IN (
         SELECT s.id FROM sessions s WHERE s.user_id = $1
            AND NOT EXISTS (SELECT FROM spent_refresh_tokens t WHERE t.session_id = s.id) LIMIT $2)",
    "DELETE FROM api_keys WHERE id IN (SELECT id FROM api_keys WHERE user_id = $1 LIMIT $2)",
    "DELETE FROM idempotency_keys WHERE user_id = $1 AND key_hash IN (
         SELECT key_hash FROM idempotency_keys WHERE user_id = $1 LIMIT $2)",
    "DELETE FROM notifications WHERE id IN (SELECT id FROM notifications WHERE user_id = $1 LIMIT $2)",
    "DELETE FROM projects WHERE id IN (SELECT id FROM projects WHERE user_id = $1 LIMIT $2)",
    "DELETE FROM deliveries WHERE id IN (
         SELECT d.id FROM deliveries d JOIN webhooks w ON w.id = d.webhook_id WHERE w.user_id = $1 LIMIT $2)",
    "DELETE FROM job_groups WHERE key IN (SELECT 'webhook:' || id FROM webhooks WHERE user_id = $1 LIMIT $2)",
    "DELETE FROM webhooks WHERE id IN (
         SELECT w.id FROM webhooks w WHERE w.user_id = $1
            AND NOT EXISTS (SELECT FROM deliveries d WHERE d.webhook_id = w.id) LIMIT $2)",
    "DELETE FROM events WHERE id IN (
         SELECT id FROM events WHERE user_id = $1 AND kind <> 'user.deleted' LIMIT $2)",
    "DELETE FROM jobs WHERE id IN (
         SELECT id FROM jobs WHERE user_id = $1
            AND state NOT IN ('queued', 'parked', 'dispatched', 'running') LIMIT $2)",
    "DELETE FROM usage_months WHERE user_id = $1 AND month IN (
         SELECT month FROM usage_months WHERE user_id = $1 LIMIT $2)",
    // It may quote what was asked.
    "UPDATE usage SET error = NULL WHERE id IN (
         SELECT id FROM usage WHERE user_id = $1 AND error IS NOT NULL LIMIT $2)",
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

/// Cancels some jobs of a deleted account, and tells how many; zero when all have ended or were told to.
///
/// # Errors
/// As the database fails.
pub async fn cancel_jobs(tx: &mut Tx, user: UserId, limit: u64) -> Result<u64> {
    const SQL: &str = "
        SELECT id FROM jobs WHERE user_id = $1 AND state IN ('queued', 'parked', 'dispatched', 'running')
           AND cancel_requested_at IS NULL LIMIT $2";
    let rows = tx.orm().query_all_raw(statement(SQL, user, limit)).await?;
    for row in &rows {
        let job: JobId = row.try_get("", "id")?;
        match queue::cancel(tx, user, job).await {
            Ok(_) | Err(Error::Refused(Refusal::JobEnded)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(rows.len() as u64)
}

/// Removes some rows of each table that are a deleted account's, and tells how many; zero when there are no more. Its
/// conversations, attachments and exports go before.
///
/// # Errors
/// As the database fails.
pub async fn purge_rows(tx: &mut Tx, user: UserId, limit: u64) -> Result<u64> {
    let mut gone = 0;
    for sql in ROWS {
        let removed = tx.orm().execute_raw(statement(sql, user, limit)).await?;
        gone += removed.rows_affected();
    }
    Ok(gone)
}

/// Records that nothing is left of a deleted account. As long as something may be under way that writes for it, tells when to
/// look again instead.
///
/// # Errors
/// As the database fails.
pub async fn end_purge(tx: &mut Tx, user: UserId) -> Result<Option<Duration>> {
    const SQL: &str = "
        UPDATE users SET purged_at = job_now()
         WHERE id = $1 AND deleted_at <= job_now() - $2 * interval '1 second'
           AND NOT EXISTS (SELECT FROM jobs WHERE user_id = $1)
           AND NOT EXISTS (SELECT FROM generations WHERE user_id = $1)";
    let values = [user.into(), GRACE.num_seconds().into()];
    let ended = Statement::from_sql_and_values(DbBackend::Postgres, SQL, values);
    if tx.orm().execute_raw(ended).await?.rows_affected() > 0 {
        return Ok(None);
    }
    let Some(deleted_at) = find_deleted_at(tx.orm(), user).await? else {
        return Ok(None);
    };
    let left = (deleted_at + GRACE - tx.now().await?).to_std();
    Ok(Some(left.unwrap_or_default().max(PAUSE)))
}

fn statement(sql: &str, user: UserId, limit: u64) -> Statement {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let values: [Value; 2] = [user.into(), limit.into()];
    Statement::from_sql_and_values(DbBackend::Postgres, sql, values)
}
