//! Asking for a job, in the caller's transaction.

use std::time::Duration;

use sea_orm::{ConnectionTrait, DbBackend, Statement};

use super::{Job, Priority, Queue};
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
    max_attempts: u32,
    queue: Queue,
    group: Option<(String, u16)>,
    order: Option<String>,
}

impl<J: Job> From<J> for Enqueue<J> {
    fn from(job: J) -> Self {
        Self {
            job,
            delay: Duration::ZERO,
            priority: J::PRIORITY,
            unique_key: None,
            of_nobody: false,
            max_attempts: J::MAX_ATTEMPTS,
            queue: J::QUEUE,
            group: None,
            order: None,
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

    /// Other tries in all than others of its kind.
    #[must_use]
    pub fn max_attempts(mut self, tries: u32) -> Self {
        self.max_attempts = tries;
        self
    }

    /// Where jobs of its kind wait that were tried before, though it was not.
    #[must_use]
    pub fn late(mut self) -> Self {
        self.queue = J::LATE_QUEUE.unwrap_or(J::QUEUE);
        self
    }

    /// At most `limit` jobs of this group run at once; those that wait hide no others. See [`super::groups`].
    #[must_use]
    pub fn group(mut self, key: impl Into<String>, limit: u16) -> Self {
        self.group = Some((key.into(), limit.max(1)));
        self
    }

    /// Within its group, jobs of this order run one after the other, as they were asked for: each waits for the end of
    /// those before it, their retries included.
    #[must_use]
    pub fn ordered(mut self, key: impl Into<String>) -> Self {
        self.order = Some(key.into());
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
                          request_id, traceparent, created_at, group_key, group_limit, order_key, order_no)
        VALUES ($1, $2, $3, $4, $5, $6, $7, job_now() + $8 * interval '1 microsecond', $9, $10, $11, $12, job_now(),
                $13, $14, $15, CASE WHEN $15::text IS NOT NULL THEN nextval('jobs_order_no') END)
        ON CONFLICT (unique_key) WHERE unique_key IS NOT NULL AND state IN ('queued', 'parked', 'dispatched', 'running')
        DO UPDATE SET rerun = jobs.rerun OR jobs.state = 'running'
        RETURNING id, id = $1 AS new";

    let request = request.into();
    let payload = serde_json::to_value(&request.job).expect("a job's payload is plain data");
    let id = JobId::new();
    let origin = tx.origin.clone();
    let user = origin.user.filter(|_| !request.of_nobody);
    let (group, limit) = request.group.unzip();
    let limit = limit.map(|limit| i16::try_from(limit).unwrap_or(i16::MAX));
    let row = tx
        .orm()
        .query_one_raw(Statement::from_sql_and_values(
            DbBackend::Postgres,
            SQL,
            [
                id.into(),
                J::NAME.into(),
                request.queue.name().into(),
                request.priority.0.clamp(0, 899).into(),
                payload.into(),
                i32::try_from(request.max_attempts)
                    .unwrap_or(i32::MAX)
                    .into(),
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
                group.into(),
                limit.into(),
                request.order.into(),
            ],
        ))
        .await?
        .ok_or(Error::NotFound("job"))?;
    let enqueued = Enqueued {
        id: row.try_get("", "id")?,
        new: row.try_get("", "new")?,
    };
    if enqueued.new && request.delay.is_zero() {
        tx.nudge(request.queue);
    }
    Ok(enqueued)
}

/// Gives a job that was put back the group, the order, the tries and the queue that this request would have.
///
/// # Errors
/// As the database fails.
pub async fn renew<J: Job>(tx: &mut Tx, id: JobId, request: Enqueue<J>) -> Result<()> {
    const SQL: &str = "
        UPDATE jobs SET queue = $2, max_attempts = $3, group_key = $4, group_limit = $5, order_key = $6,
               order_no = CASE WHEN $6::text IS NOT NULL THEN coalesce(order_no, nextval('jobs_order_no')) END
         WHERE id = $1 AND state = 'queued'";
    let (group, limit) = request.group.unzip();
    let values = [
        id.into(),
        request.queue.name().into(),
        i32::try_from(request.max_attempts)
            .unwrap_or(i32::MAX)
            .into(),
        group.into(),
        limit
            .map(|limit| i16::try_from(limit).unwrap_or(i16::MAX))
            .into(),
        request.order.into(),
    ];
    let statement = Statement::from_sql_and_values(DbBackend::Postgres, SQL, values);
    tx.orm().execute_raw(statement).await?;
    tx.nudge(request.queue);
    Ok(())
}
