//! Jobs that share something which bears only so much, an endpoint of a client's server for one: how many of them run at
//! once and in which order is said with each ([`super::Enqueue::group`], [`super::Enqueue::ordered`]), unless it is said here
//! of all; how fast they begin, and that none begins for a while, is said here.
//!
//! Workers keep to it when they take due jobs for Redis, one worker at a time. A job that its group has no room for is
//! `parked` until there is.

use std::time::Duration;

use sea_orm::{ConnectionTrait, DbBackend, Statement, Value};

use crate::database::{Result, Tx};

/// Sets the least time between the beginnings of two jobs of a group; without one they begin as there is room.
///
/// # Errors
/// As the database fails.
pub async fn pace(tx: &mut Tx, key: &str, interval: Option<Duration>) -> Result<()> {
    let Some(interval) = interval else {
        let sql = "UPDATE job_groups SET interval_us = NULL, next_at = NULL WHERE key = $1";
        return run(tx, sql, [key.into()]).await;
    };
    let sql = "
        INSERT INTO job_groups (key, interval_us) VALUES ($1, $2)
        ON CONFLICT (key) DO UPDATE SET interval_us = excluded.interval_us, next_at = NULL";
    run(
        tx,
        sql,
        [
            key.into(),
            micros(interval.max(Duration::from_micros(1))).into(),
        ],
    )
    .await
}

/// Keeps all jobs of a group from beginning for so long. A longer hold stays.
///
/// # Errors
/// As the database fails.
pub async fn hold(tx: &mut Tx, key: &str, wait: Duration) -> Result<()> {
    let sql = "
        INSERT INTO job_groups (key, not_before) VALUES ($1, job_now() + $2 * interval '1 microsecond')
        ON CONFLICT (key) DO UPDATE SET not_before = greatest(job_groups.not_before, excluded.not_before)";
    run(tx, sql, [key.into(), micros(wait).into()]).await
}

/// Ends a hold.
///
/// # Errors
/// As the database fails.
pub async fn release(tx: &mut Tx, key: &str) -> Result<()> {
    let sql = "UPDATE job_groups SET not_before = NULL WHERE key = $1";
    run(tx, sql, [key.into()]).await
}

/// Sets how many jobs of a group run at once, and whether they keep the order that was asked for with each: this counts for
/// all that wait, and before what jobs say themselves.
///
/// # Errors
/// As the database fails.
pub async fn rebound(tx: &mut Tx, key: &str, limit: u16, ordered: bool) -> Result<()> {
    let sql = "
        INSERT INTO job_groups (key, bound, is_unordered) VALUES ($1, $2, $3)
        ON CONFLICT (key) DO UPDATE SET bound = excluded.bound, is_unordered = excluded.is_unordered";
    run(tx, sql, [key.into(), bound(limit), (!ordered).into()]).await
}

/// Lets the jobs of a group run one at a time, until [`widen`].
///
/// # Errors
/// As the database fails.
pub async fn narrow(tx: &mut Tx, key: &str) -> Result<()> {
    let sql = "
        INSERT INTO job_groups (key, bound) VALUES ($1, 1)
        ON CONFLICT (key) DO UPDATE SET bound = 1 WHERE job_groups.bound IS DISTINCT FROM 1";
    run(tx, sql, [key.into()]).await
}

/// Lets up to `limit` jobs of a narrowed group run at once.
///
/// # Errors
/// As the database fails.
pub async fn widen(tx: &mut Tx, key: &str, limit: u16) -> Result<()> {
    let sql = "UPDATE job_groups SET bound = $2 WHERE key = $1 AND bound < $2";
    run(tx, sql, [key.into(), bound(limit)]).await
}

/// Forgets what was said of a group: nobody asks for jobs of it any more.
///
/// # Errors
/// As the database fails.
pub async fn forget(tx: &mut Tx, key: &str) -> Result<()> {
    run(tx, "DELETE FROM job_groups WHERE key = $1", [key.into()]).await
}

async fn run<const N: usize>(tx: &mut Tx, sql: &str, values: [Value; N]) -> Result<()> {
    let statement = Statement::from_sql_and_values(DbBackend::Postgres, sql, values);
    tx.orm().execute_raw(statement).await?;
    Ok(())
}

fn bound(limit: u16) -> Value {
    i16::try_from(limit.max(1)).unwrap_or(i16::MAX).into()
}

fn micros(time: Duration) -> i64 {
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX)
}
