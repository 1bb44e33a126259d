//! Ending a job other than by success, cancelling it, and putting it back.
//!
//! Whoever ends a job (runner, sweeper, API), the job's `ended` hook runs in the same transaction: the rows that
//! wait for the job can never wait for ever.

use std::time::Duration;

use sea_orm::{ConnectionTrait, DbBackend, FromQueryResult, Statement};
use serde_json::{Value, json};

use super::Queue;
use crate::{
    database::{Refusal, Result, Tx},
    events,
    ids::{JobId, UserId},
    jobs,
};

/// How many of a job's errors are kept.
const ERRORS_KEPT: usize = 10;

/// An end that is not success.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// Attempts used up, or an error that cannot heal. The reason is for the user to read.
    Failed(String),
    /// By the user.
    Cancelled,
    /// Workers died on it. The reason is for the user to read.
    Quarantined(String),
}

impl End {
    /// The state of a job that ended so.
    pub fn state(&self) -> &'static str {
        match self {
            Self::Failed(_) => "failed",
            Self::Cancelled => "cancelled",
            Self::Quarantined(_) => "quarantined",
        }
    }

    /// Why, for the user to read.
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Failed(reason) | Self::Quarantined(reason) => Some(reason),
            Self::Cancelled => None,
        }
    }
}

/// A job whose row this transaction has locked.
#[derive(Debug, Clone, FromQueryResult)]
pub struct LiveJob {
    /// Its id.
    pub id: JobId,
    /// Name of its kind.
    pub kind: String,
    /// Its queue's name.
    pub queue: String,
    /// What was asked for.
    pub payload: Value,
    /// The state it is in.
    pub state: String,
    /// The run that has begun last.
    pub attempt: i32,
    /// The fence.
    pub epoch: i32,
    /// Its user.
    pub user_id: Option<UserId>,
    /// The latest errors.
    pub errors: Option<Value>,
    /// Somebody asked for it again while it ran.
    pub rerun: bool,
    /// Somebody asked to stop it.
    pub cancel_requested: bool,
}

const COLUMNS: &str = "id, kind, queue, payload, state, attempt, epoch, user_id, errors, rerun,
    cancel_requested_at IS NOT NULL AS cancel_requested";

impl LiveJob {
    async fn lock(tx: &Tx, condition: &str, values: Vec<sea_orm::Value>) -> Result<Option<Self>> {
        let sql = format!("SELECT {COLUMNS} FROM jobs WHERE {condition}");
        let statement = Statement::from_sql_and_values(DbBackend::Postgres, sql, values);
        Ok(Self::find_by_statement(statement).one(tx.orm()).await?)
    }

    /// Locks the row of a run, if that run still owns the job.
    ///
    /// # Errors
    /// As the database fails.
    pub async fn lock_run(tx: &Tx, id: JobId, epoch: i32) -> Result<Option<Self>> {
        Self::lock(
            tx,
            "id = $1 AND epoch = $2 AND state = 'running' FOR UPDATE",
            vec![id.into(), epoch.into()],
        )
        .await
    }

    /// Locks the row of a run whose lease has run out, unless somebody is writing its end.
    ///
    /// # Errors
    /// As the database fails.
    pub async fn lock_expired(tx: &Tx, id: JobId, epoch: i32) -> Result<Option<Self>> {
        Self::lock(
            tx,
            "id = $1 AND epoch = $2 AND state = 'running' AND lease_until < job_now() FOR UPDATE SKIP LOCKED",
            vec![id.into(), epoch.into()],
        )
        .await
    }

    async fn update(
        &self,
        tx: &Tx,
        assignments: &str,
        mut values: Vec<sea_orm::Value>,
    ) -> Result<()> {
        values.insert(0, self.id.into());
        let sql = format!("UPDATE jobs SET {assignments} WHERE id = $1");
        tx.orm()
            .execute_raw(Statement::from_sql_and_values(
                DbBackend::Postgres,
                sql,
                values,
            ))
            .await?;
        Ok(())
    }

    /// Puts the job back for another try after `wait`, into its queue or another one.
    ///
    /// # Errors
    /// As the database fails.
    pub async fn requeue(
        &self,
        tx: &mut Tx,
        wait: Duration,
        into: Option<Queue>,
        reason: &str,
        errors: Value,
    ) -> Result<()> {
        self.update(
            tx,
            "state = 'queued', run_at = job_now() + $2 * interval '1 microsecond', lease_until = NULL,
             worker_id = NULL, last_error = $3, errors = $4, rerun = false, queue = coalesce($5, queue)",
            vec![
                i64::try_from(wait.as_micros()).unwrap_or(i64::MAX).into(),
                reason.into(),
                errors.into(),
                into.map(Queue::name).into(),
            ],
        )
        .await?;
        tx.announce_change(self.id);
        Ok(())
    }

    /// Puts the job back as if its run had not begun: the attempt is not counted.
    ///
    /// # Errors
    /// As the database fails.
    pub async fn release(&self, tx: &mut Tx) -> Result<()> {
        self.update(
            tx,
            "state = 'queued', attempt = attempt - 1, run_at = job_now(), lease_until = NULL, worker_id = NULL,
             rerun = false",
            Vec::new(),
        )
        .await?;
        if let Ok(queue) = self.queue.parse() {
            tx.nudge(queue);
        }
        tx.announce_change(self.id);
        Ok(())
    }

    /// Puts the job back for `wait` as if its run had not begun: the attempt is not counted.
    ///
    /// # Errors
    /// As the database fails.
    pub async fn postpone(&self, tx: &mut Tx, wait: Duration) -> Result<()> {
        self.update(
            tx,
            "state = 'queued', attempt = attempt - 1, run_at = job_now() + $2 * interval '1 microsecond',
             lease_until = NULL, worker_id = NULL, rerun = false",
            vec![i64::try_from(wait.as_micros()).unwrap_or(i64::MAX).into()],
        )
        .await?;
        tx.announce_change(self.id);
        Ok(())
    }

    /// Counts a worker that died on it.
    ///
    /// # Errors
    /// As the database fails.
    pub async fn count_crash(&self, tx: &mut Tx) -> Result<()> {
        self.update(tx, "crash_count = crash_count + 1", Vec::new())
            .await
    }

    /// Ends the job with success, or queues it again if it was asked for while it ran.
    ///
    /// # Errors
    /// As the database fails.
    pub async fn succeed(&self, tx: &mut Tx, result: Option<Value>) -> Result<()> {
        let assignments = if self.rerun {
            "state = 'queued', attempt = 0, run_at = job_now(), progress = 0, result = $2, last_error = NULL,
             lease_until = NULL, worker_id = NULL, rerun = false, cancel_requested_at = NULL, crash_count = 0"
        } else {
            "state = 'succeeded', finished_at = job_now(), progress = 100, result = $2, last_error = NULL,
             lease_until = NULL, worker_id = NULL"
        };
        self.update(tx, assignments, vec![result.into()]).await?;
        if self.rerun
            && let Ok(queue) = self.queue.parse()
        {
            tx.nudge(queue);
        }
        tx.announce_change(self.id);
        Ok(())
    }

    /// Adds one to the job's errors, of which the last ten are kept. `message` is for operators.
    pub fn errors_with(&self, message: &str, at: chrono::DateTime<chrono::Utc>) -> Value {
        let mut errors = self
            .errors
            .as_ref()
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default();
        errors.push(json!({ "at": at, "attempt": self.attempt, "message": message }));
        errors.drain(..errors.len().saturating_sub(ERRORS_KEPT));
        Value::Array(errors)
    }
}

/// Ends a locked job, and tells its rows and its user.
///
/// A job that was asked for again while it ran does not stay failed or cancelled: it waits for another run, with fresh
/// attempts.
///
/// # Errors
/// As the database fails; the caller's transaction then changes nothing.
pub async fn end(tx: &mut Tx, job: &LiveJob, end: &End, errors: Option<Value>) -> Result<()> {
    // Events of the hook belong to the job's user, whoever ends it.
    tx.origin.user = tx.origin.user.or(job.user_id);
    let again = job.rerun && matches!(end, End::Failed(_) | End::Cancelled);
    let sql = "
        UPDATE jobs SET state = $2, last_error = $3, errors = coalesce($4, errors), lease_until = NULL,
               worker_id = NULL, rerun = false,
               finished_at = CASE WHEN $2 = 'queued' THEN NULL ELSE job_now() END,
               run_at = CASE WHEN $2 = 'queued' THEN job_now() ELSE run_at END,
               attempt = CASE WHEN $2 = 'queued' THEN 0 ELSE attempt END,
               crash_count = CASE WHEN $2 = 'queued' THEN 0 ELSE crash_count END,
               cancel_requested_at = CASE WHEN $2 = 'queued' THEN NULL ELSE cancel_requested_at END
         WHERE id = $1";
    let state = if again { "queued" } else { end.state() };
    tx.orm()
        .execute_raw(Statement::from_sql_and_values(
            DbBackend::Postgres,
            sql,
            [
                job.id.into(),
                state.into(),
                end.reason().map(str::to_owned).into(),
                errors.into(),
            ],
        ))
        .await?;
    tx.announce_change(job.id);
    if again {
        if let Ok(queue) = job.queue.parse() {
            tx.nudge(queue);
        }
        return Ok(());
    }
    jobs::ended(&job.kind, &job.payload, tx, end).await?;
    events::job_failed(tx, job, end).await
}

/// Ends a job that waits, if it still does: its work has become pointless.
///
/// # Errors
/// As the database fails.
pub async fn end_queued(tx: &mut Tx, id: JobId, how: &End) -> Result<bool> {
    let job = LiveJob::lock(
        tx,
        "id = $1 AND state IN ('queued', 'parked', 'dispatched') FOR UPDATE",
        vec![id.into()],
    )
    .await?;
    match job {
        Some(job) => end(tx, &job, how, None).await.map(|()| true),
        None => Ok(false),
    }
}

/// Cancels a job of `user`: one that waits ends at once, one that runs is told to stop.
///
/// Cancelling twice changes nothing. `None` when there is no such job of this user.
///
/// # Errors
/// [`Refusal::JobEnded`] when it ended otherwise before.
pub async fn cancel(tx: &mut Tx, user: UserId, id: JobId) -> Result<Option<()>> {
    let Some(job) = LiveJob::lock(
        tx,
        "id = $1 AND user_id = $2 FOR UPDATE",
        vec![id.into(), user.into()],
    )
    .await?
    else {
        return Ok(None);
    };
    match job.state.as_str() {
        "queued" | "parked" | "dispatched" => end(tx, &job, &End::Cancelled, None).await?,
        "running" => {
            tx.orm()
                .execute_raw(Statement::from_sql_and_values(
                    DbBackend::Postgres,
                    "UPDATE jobs SET cancel_requested_at = coalesce(cancel_requested_at, job_now()), rerun = false
                      WHERE id = $1",
                    [id.into()],
                ))
                .await?;
            tx.announce_cancel(id);
            tx.announce_change(id);
        }
        "cancelled" => {}
        _ => return Err(Refusal::JobEnded.into()),
    }
    Ok(Some(()))
}

/// Puts a dead job of `user` back into its queue, with fresh attempts.
///
/// `None` when there is no such job of this user.
///
/// # Errors
/// [`Refusal::JobNotFailed`] when it is alive or succeeded, [`Refusal::JobDuplicate`] when its twin is alive.
pub async fn retry(tx: &mut Tx, user: UserId, id: JobId) -> Result<Option<()>> {
    let Some(job) = LiveJob::lock(
        tx,
        "id = $1 AND user_id = $2 FOR UPDATE",
        vec![id.into(), user.into()],
    )
    .await?
    else {
        return Ok(None);
    };
    if !matches!(job.state.as_str(), "failed" | "cancelled" | "quarantined") {
        return Err(Refusal::JobNotFailed.into());
    }
    tx.orm()
        .execute_raw(Statement::from_sql_and_values(
            DbBackend::Postgres,
            "UPDATE jobs SET state = 'queued', attempt = 0, crash_count = 0, run_at = job_now(), progress = 0,
                    progress_note = NULL, result = NULL, last_error = NULL, cancel_requested_at = NULL, started_at = NULL,
                    finished_at = NULL, dispatched_at = NULL, rerun = false
              WHERE id = $1",
            [id.into()],
        ))
        .await?;
    jobs::reopened(&job.kind, &job.payload, tx).await?;
    if let Ok(queue) = job.queue.parse() {
        tx.nudge(queue);
    }
    tx.announce_change(id);
    Ok(Some(()))
}
