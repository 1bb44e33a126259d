//! Bodies of jobs.

use chrono::{DateTime, Utc};
use deserr::Deserr;
use serde::Serialize;
use serde_json::Value;
use shared::{
    ids::JobId,
    models::job::{self, Status},
    queue::Queue,
};
use utoipa::{IntoParams, ToSchema};

use crate::{extract::Fields, page::Limit, text::Param};

/// Work in the background.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Job {
    id: JobId,
    /// The kind of work.
    #[schema(example = "recognize_text")]
    kind: String,
    /// The queue in which it waits.
    #[schema(value_type = Queue)]
    queue: String,
    pub(super) status: Status,
    /// Percent, 0 to 100.
    #[schema(minimum = 0, maximum = 100)]
    progress: i16,
    /// What it is doing, for people.
    progress_note: Option<String>,
    /// How many runs have begun.
    attempt: i32,
    /// How many runs are allowed.
    #[schema(example = 3)]
    max_attempts: i32,
    /// The earliest time at which it runs or ran.
    run_at: DateTime<Utc>,
    created_at: DateTime<Utc>,
    /// When the latest run began.
    started_at: Option<DateTime<Utc>>,
    finished_at: Option<DateTime<Utc>>,
    /// The outcome; its shape depends on `kind`.
    #[schema(value_type = Option<Object>)]
    result: Option<Value>,
    /// Why the latest run failed, for people.
    error: Option<String>,
}

impl From<job::Model> for Job {
    fn from(row: job::Model) -> Self {
        let status = row.status();
        let job::Model {
            id,
            kind,
            queue,
            priority: _,
            state: _,
            payload: _,
            result,
            progress,
            progress_note,
            attempt,
            max_attempts,
            epoch: _,
            crash_count: _,
            run_at,
            dispatched_at: _,
            lease_until: _,
            worker_id: _,
            timeout_ms: _,
            unique_key: _,
            rerun: _,
            cancel_requested_at: _,
            user_id: _,
            request_id: _,
            traceparent: _,
            last_error: error,
            errors: _,
            created_at,
            started_at,
            finished_at,
        } = row;
        Self {
            id,
            kind,
            queue,
            status,
            progress,
            progress_note,
            attempt,
            max_attempts,
            run_at,
            created_at,
            started_at,
            finished_at,
            result,
            error,
        }
    }
}

/// Which jobs are listed.
#[derive(Debug, Deserr, IntoParams)]
#[deserr(error = Fields, deny_unknown_fields, rename_all = camelCase)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
pub(super) struct ListJobs {
    /// 1 to 100.
    #[deserr(default)]
    #[param(value_type = Option<u64>, minimum = 1, maximum = 100, default = 50)]
    pub(super) limit: Limit,
    /// `nextCursor` of the previous page.
    #[deserr(default)]
    pub(super) cursor: Option<String>,
    /// Only jobs with this status.
    #[deserr(default)]
    #[param(value_type = Option<Status>)]
    pub(super) status: Option<Param<Status>>,
    /// Only jobs in this queue.
    #[deserr(default)]
    #[param(value_type = Option<Queue>)]
    pub(super) queue: Option<Param<Queue>>,
    /// Only jobs of this kind.
    #[deserr(default)]
    pub(super) kind: Option<String>,
}
