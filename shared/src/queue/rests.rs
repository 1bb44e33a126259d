//! Jobs that came to nothing rest: what costs something is not asked for again with each occasion.
//!
//! Only [`super::Wanted`] jobs heed it. Whoever asks by [`super::enqueue()`] has a reason.

use std::time::Duration;

use sea_orm::{ConnectionTrait, DbBackend, Statement};

use crate::database::{Result, Tx};

/// Keeps jobs of a unique key from being asked for, for so long.
///
/// # Errors
/// As the database fails.
pub async fn begin(tx: &mut Tx, unique_key: String, time: Duration) -> Result<()> {
    const SQL: &str = "
        INSERT INTO job_rests (unique_key, until) VALUES ($1, job_now() + $2 * interval '1 microsecond')
        ON CONFLICT (unique_key) DO UPDATE SET until = excluded.until";
    let micros = i64::try_from(time.as_micros()).unwrap_or(i64::MAX);
    let values = [unique_key.into(), micros.into()];
    let statement = Statement::from_sql_and_values(DbBackend::Postgres, SQL, values);
    tx.orm().execute_raw(statement).await?;
    Ok(())
}

/// Deletes up to `limit` rests that are over, and tells how many.
///
/// # Errors
/// As the database fails.
pub async fn prune(db: &impl ConnectionTrait, limit: u32) -> Result<u64> {
    const SQL: &str = "
        DELETE FROM job_rests WHERE unique_key IN (
            SELECT unique_key FROM job_rests WHERE until <= job_now() LIMIT $1 FOR UPDATE SKIP LOCKED)";
    let statement = Statement::from_sql_and_values(DbBackend::Postgres, SQL, [limit.into()]);
    Ok(db.execute_raw(statement).await?.rows_affected())
}
