//! Ending many jobs that wait, as their work has become pointless.

use sea_orm::{ConnectionTrait as _, DbBackend, Statement};
use uuid::Uuid;

use crate::{
    database::{Result, Tx},
    ids::JobId,
};

/// Cancels those of the jobs that wait and that nobody has locked, and waits for none. Others stay: those that are `dispatched`
/// or run, as whoever claims jobs would wait for their rows. Their runs have to see for themselves that there is nothing to do.
///
/// Unlike by [`super::end_queued`], the rows that wait for these jobs are told nothing: the caller removes them.
///
/// # Errors
/// As the database fails.
pub async fn cancel_pointless(tx: &mut Tx, jobs: &[JobId]) -> Result<()> {
    const SQL: &str = "
        UPDATE jobs SET state = 'cancelled', last_error = NULL, lease_until = NULL, worker_id = NULL, rerun = false,
               finished_at = job_now()
         WHERE id IN (SELECT id FROM jobs WHERE id = ANY($1) AND (state IN ('queued', 'parked')) IS TRUE
                         FOR UPDATE SKIP LOCKED)
        RETURNING id";
    let ids: Vec<Uuid> = jobs.iter().map(|job| job.0).collect();
    let statement = Statement::from_sql_and_values(DbBackend::Postgres, SQL, [ids.into()]);
    let cancelled = tx.orm().query_all_raw(statement).await?;
    for row in cancelled {
        tx.announce_change(row.try_get("", "id")?);
    }
    Ok(())
}
