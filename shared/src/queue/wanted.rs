//! Jobs that are asked for together, by a statement that does something else, too.
//!
//! They are nobody's, and there is at most one live job of a unique key: unlike [`super::enqueue()`], asking again changes nothing
//! of a job that waits or runs. Keys that rest ([`super::rests`]) are left out.
//!
//! It does not wait for whoever has locked the live job, but it does for whoever has changed it and not committed yet, or has
//! just asked for it. Whoever asks may hold a conversation, and still they do not wait in a circle: runs lock their job, then
//! the conversation, and change the job last; leases are renewed past what is locked; whoever else changes such a job wants no
//! conversation after that; and as keys are those of the conversation that is held, two do not ask for the same at once.

use std::collections::BTreeSet;

use sea_orm::{ConnectionTrait, DbBackend, Statement};
use serde::Serialize;
use serde_json::Value;

use super::{Enqueue, Job, Queue};
use crate::{
    database::{Origin, Result, Tx},
    ids::JobId,
};

/// A job that is asked for.
#[derive(Debug, Clone, Serialize)]
pub struct Wanted {
    id: JobId,
    kind: &'static str,
    queue: &'static str,
    #[serde(skip)]
    waits_in: Queue,
    priority: i16,
    payload: Value,
    max_attempts: i32,
    timeout_ms: i64,
    unique_key: Option<String>,
    request_id: Option<String>,
    traceparent: Option<String>,
}

impl Wanted {
    /// Words a request; its delay is not kept.
    pub fn new<J: Job>(request: impl Into<Enqueue<J>>, origin: &Origin) -> Self {
        let request = request.into();
        Self {
            id: JobId::new(),
            kind: J::NAME,
            queue: J::QUEUE.name(),
            waits_in: J::QUEUE,
            priority: request.priority.0.clamp(0, 899),
            payload: serde_json::to_value(&request.job).expect("a job's payload is plain data"),
            max_attempts: i32::try_from(J::MAX_ATTEMPTS).unwrap_or(i32::MAX),
            timeout_ms: i64::try_from(J::TIMEOUT.as_millis()).unwrap_or(i64::MAX),
            unique_key: request.unique_key,
            request_id: origin.request_id.clone(),
            traceparent: origin.traceparent.clone(),
        }
    }

    /// Where it waits.
    pub fn queue(&self) -> Queue {
        self.waits_in
    }
}

/// The statement that writes wanted jobs, which `parameter` holds as JSON: an array of their fields, and of `more` ones by
/// their names and types. `condition` follows its `FROM`, in which they are `j`, and ends with a `WHERE`.
pub(crate) fn insertion(parameter: &str, more: &str, condition: &str) -> String {
    format!(
        "INSERT INTO jobs (id, kind, queue, priority, payload, max_attempts, timeout_ms, run_at, unique_key, request_id,
                           traceparent, created_at)
         SELECT j.id, j.kind, j.queue, j.priority, j.payload, j.max_attempts, j.timeout_ms, job_now(), j.unique_key,
                j.request_id, j.traceparent, job_now()
           FROM json_to_recordset({parameter}::json) AS j(
                    {more} id uuid, kind text, queue text, priority smallint, payload jsonb, max_attempts int,
                    timeout_ms bigint, unique_key text, request_id text, traceparent text)
         {condition}
            AND NOT EXISTS (SELECT FROM job_rests r WHERE r.unique_key = j.unique_key AND r.until > job_now())
         ON CONFLICT (unique_key) WHERE unique_key IS NOT NULL AND state IN ('queued', 'parked', 'dispatched', 'running')
         DO NOTHING"
    )
}

/// Puts wanted jobs into the caller's transaction.
///
/// # Errors
/// As the database fails.
pub async fn enqueue_wanted(tx: &mut Tx, jobs: &[Wanted]) -> Result<()> {
    if jobs.is_empty() {
        return Ok(());
    }
    let json = serde_json::to_string(jobs).expect("jobs are plain data");
    let sql = insertion("$1", "", "WHERE true");
    let statement = Statement::from_sql_and_values(DbBackend::Postgres, sql, [json.into()]);
    tx.orm().execute_raw(statement).await?;
    let queues: BTreeSet<Queue> = jobs.iter().map(Wanted::queue).collect();
    for queue in queues {
        tx.nudge(queue);
    }
    Ok(())
}
