//! What becomes of a job whose run failed: another try, or its end.

use std::time::Duration;

use shared::{
    database::{Result, Tx},
    queue::{Backoff, End, LiveJob, Queue},
};

use crate::{
    jobs::Failure,
    metrics::{Fate, Outcome},
};

/// What a user reads of an error that is not meant for users.
const INTERNAL: &str = "internal error";

/// The rules of a job, and which run of it this is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tries {
    pub(crate) attempt: i32,
    pub(crate) max_attempts: i32,
    pub(crate) backoff: Backoff,
    /// Where it waits for its next try, if not where it was.
    pub(crate) late: Option<Queue>,
}

/// Why a run failed.
#[derive(Debug)]
pub(crate) struct FailedRun {
    /// For the user.
    reason: String,
    /// For operators.
    detail: String,
    permanent: bool,
    retry_after: Option<Duration>,
    /// How long it waits, where a schedule of its own says so.
    wait: Option<Duration>,
}

impl FailedRun {
    /// An error of ours: users are told nothing about the inside.
    pub(crate) fn internal(detail: impl Into<String>) -> Self {
        Self {
            reason: INTERNAL.to_owned(),
            detail: detail.into(),
            permanent: false,
            retry_after: None,
            wait: None,
        }
    }

    /// The next try waits so long, whatever the job's kind says.
    pub(crate) fn after(self, wait: Duration) -> Self {
        Self {
            wait: Some(wait),
            ..self
        }
    }

    pub(crate) fn timeout(limit: Duration) -> Self {
        let reason = format!("took longer than {} s", limit.as_secs_f64());
        Self {
            detail: reason.clone(),
            reason,
            permanent: false,
            retry_after: None,
            wait: None,
        }
    }

    pub(crate) fn of(error: &anyhow::Error) -> Self {
        // Postgres refuses U+0000, and a helper program may print it.
        let detail = format!("{error:#}").replace('\0', "\u{fffd}");
        match error.downcast_ref::<Failure>() {
            Some(failure) => Self {
                detail,
                ..Self::from(failure)
            },
            None => Self::internal(detail),
        }
    }

    /// Writes what follows into the transaction that holds the job's row, and tells what that is.
    ///
    /// # Errors
    /// As the database fails.
    pub(crate) async fn write(
        &self,
        tx: &mut Tx,
        job: &LiveJob,
        tries: Tries,
        random: f64,
    ) -> Result<Fate> {
        let Self {
            reason,
            detail,
            permanent,
            retry_after,
            wait,
        } = self;
        let (id, kind) = (job.id, &job.kind);
        if job.cancel_requested {
            shared::queue::end(tx, job, &End::Cancelled, None).await?;
            return Ok(Fate::Ended(Outcome::Cancelled));
        }
        let errors = job.errors_with(detail, tx.now().await?);
        if *permanent || tries.attempt >= tries.max_attempts {
            tracing::error!(jobId = %id, error = %detail, permanent, "job {kind} failed: {reason}");
            shared::queue::end(tx, job, &End::Failed(reason.clone()), Some(errors)).await?;
            return Ok(Fate::Ended(Outcome::Failed));
        }
        let attempt = u32::try_from(tries.attempt).unwrap_or(1);
        let wait = wait.unwrap_or_else(|| tries.backoff.wait(attempt, random, *retry_after));
        let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        tracing::warn!(jobId = %id, error = %detail, waitMs = wait_ms, "job {kind} failed and is tried again: {reason}");
        job.requeue(tx, wait, tries.late, reason, errors).await?;
        Ok(Fate::Retried)
    }
}

impl From<&Failure> for FailedRun {
    fn from(failure: &Failure) -> Self {
        let (permanent, retry_after) = match failure {
            Failure::Permanent(_) => (true, None),
            Failure::Temporary { retry_after, .. } => (false, *retry_after),
        };
        let reason = failure.to_string().replace('\0', "\u{fffd}");
        Self {
            detail: reason.clone(),
            reason,
            permanent,
            retry_after,
            wait: None,
        }
    }
}
