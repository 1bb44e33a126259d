//! Asking for a job, in the caller's transaction.

use std::time::Duration;

use sea_orm::{ConnectionTrait, DbBackend, Statement};

use super::{Job, Priority};
use crate::{
    database::{Error, Result, Tx},
    ids::JobId,
};

/// A job with options; a plain job converts into one without.
#[derive(Debug)]
pub struct Enqueue<J> {
    pub(super) job: J,
    delay: Duration,
    pub(super) priority: Priority,
    pub(super) unique_key: Option<String>,
    of_nobody: bool,
}

impl<J: Job> From<J> for Enqueue<J> {
    fn from(job: J) -> Self {
        Self {
            job,
            delay: Duration::ZERO,
            priority: J::PRIORITY,
            unique_key: None,
            of_nobody: false,
        }
    }
}

impl<J: Job> Enqueue<J> {
    /// Makes a request without options.
    pub fn new(job: J) -> Self {
        job.into()
    }

    /// Not before this time has passed.
    #[must_use]
    pub fn delay(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// Before or after others of its queue.
    #[must_use]
    pub fn priority(mut self, priority: Priority) -> Self {
        self.priority = priority;
        self
    }

    /// At most one live job has this key. Asking again while it waits is the same job; asking while it runs makes
    /// it run once more after this run, as it may have read what has changed since.
    #[must_use]
    pub fn unique(mut self, key: impl Into<String>) -> Self {
        self.unique_key = Some(key.into());
        self
    }

    /// Not the user's, who then neither sees nor cancels it.
    #[must_use]
    pub fn of_nobody(mut self) -> Self {
        self.of_nobody = true;
        self
    }
}

/// What became of a request for a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Enqueued {
    /// The job: the new one, or the live one with the same key.
    pub id: JobId,
    /// Whether a row was made.
    pub new: bool,
}

/// Puts a job into the caller's transaction: it exists when that commits, and not otherwise.
///
/// The payload carries ids, not rows. User, request id and trace come from the transaction's origin.
///
/// # Errors
/// As the database fails.
pub async fn enqueue<J: Job>(tx: &mut Tx, request: impl Into<Enqueue<J>>) -> Result<Enqueued> {
    const SQL: &str = "
        INSERT INTO jobs (id, kind, queue, priority, payload, max_attempts, timeout_ms, run_at, unique_key, user_id,
                          request_id, traceparent, created_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, job_now() + $8 * interval '1 microsecond', $9, $10, $11, $12, job_now())
        ON CONFLICT (unique_key) WHERE unique_key IS NOT NULL AND state IN ('queued', 'dispatched', 'running')
        DO UPDATE SET rerun = jobs.rerun OR jobs.state = 'running'
        RETURNING id, id = $1 AS new";

    let request = request.into();
    let payload = serde_json::to_value(&request.job).expect("a job's payload is plain data");
    let id = JobId::new();
    let origin = tx.origin.clone();
    let user = origin.user.filter(|_| !request.of_nobody);
    let row = tx
        .orm()
        .query_one_raw(Statement::from_sql_and_values(
            DbBackend::Postgres,
            SQL,
            [
                id.into(),
                J::NAME.into(),
                J::QUEUE.name().into(),
                request.priority.0.clamp(0, 899).into(),
                payload.into(),
                i32::try_from(J::MAX_ATTEMPTS).unwrap_or(i32::MAX).into(),
                i64::try_from(J::TIMEOUT.as_millis())
                    .unwrap_or(i64::MAX)
                    .into(),
                i64::try_from(request.delay.as_micros())
                    .unwrap_or(i64::MAX)
                    .into(),
                request.unique_key.into(),
                user.into(),
                origin.request_id.into(),
                origin.traceparent.into(),
            ],
        ))
        .await?
        .ok_or(Error::NotFound("job"))?;
    let enqueued = Enqueued {
        id: row.try_get("", "id")?,
        new: row.try_get("", "new")?,
    };
    if enqueued.new && request.delay.is_zero() {
        tx.nudge(J::QUEUE);
    }
    Ok(enqueued)
}
