//! Ends of jobs without rows of their own, many in one statement.

use std::{sync::Arc, time::Duration};

use serde_json::Value;
use shared::{ids::JobId, queue::Queue};
use tokio::sync::mpsc;
use uuid::Uuid;

use super::{Engine, RunKey};
use crate::metrics::{Counts, Fate, Outcome};

/// Most ends in one statement.
const BATCH: usize = 512;
/// Between tries while Postgres is away.
const AWAY_PAUSE: Duration = Duration::from_millis(250);

/// Rows that do not come back were another worker's: fenced. `(state = 'running') IS TRUE` hides the condition
/// from the planner, which would otherwise scan all live rows. A job that was asked for again while it ran waits
/// for its next run.
const FINISH: &str = "
    UPDATE jobs j
       SET state = CASE WHEN j.rerun THEN 'queued' ELSE 'succeeded' END,
           attempt = CASE WHEN j.rerun THEN 0 ELSE j.attempt END,
           run_at = CASE WHEN j.rerun THEN job_now() ELSE j.run_at END,
           finished_at = CASE WHEN j.rerun THEN NULL ELSE job_now() END,
           progress = CASE WHEN j.rerun THEN 0 ELSE 100 END,
           cancel_requested_at = CASE WHEN j.rerun THEN NULL ELSE j.cancel_requested_at END,
           crash_count = CASE WHEN j.rerun THEN 0 ELSE j.crash_count END,
           result = u.result, last_error = NULL, lease_until = NULL, worker_id = NULL, rerun = false
      FROM unnest($1::uuid[], $2::int[], $3::jsonb[]) u(id, epoch, result)
     WHERE j.id = u.id AND j.epoch = u.epoch AND (j.state = 'running') IS TRUE
    RETURNING j.id, CASE WHEN j.state = 'queued' THEN j.queue END AS again";

/// A run that succeeded.
pub(super) struct Finished {
    pub(super) key: RunKey,
    pub(super) counts: Arc<Counts>,
    pub(super) result: Option<Value>,
    /// Somebody may be watching.
    pub(super) user: bool,
    pub(super) group: Option<String>,
}

pub(super) async fn run(engine: Arc<Engine>, mut ends: mpsc::Receiver<Finished>) {
    let mut batch = Vec::with_capacity(BATCH);
    while ends.recv_many(&mut batch, BATCH).await > 0 {
        engine.finish(&batch).await;
        batch.clear();
    }
}

impl Engine {
    /// Writes ends, for as long as it takes.
    pub(super) async fn finish(&self, batch: &[Finished]) {
        let ids: Vec<Uuid> = batch.iter().map(|end| end.key.0.0).collect();
        let epochs: Vec<i32> = batch.iter().map(|end| end.key.1).collect();
        let results: Vec<Option<Value>> = batch.iter().map(|end| end.result.clone()).collect();
        // One for each row that ended; a queue, where the job waits for its next run.
        let ended: Vec<(Uuid, Option<String>)> = loop {
            let rows = self
                .finishing
                .run(async |db| {
                    sqlx::query_as(FINISH)
                        .bind(&ids)
                        .bind(&epochs)
                        .bind(&results)
                        .fetch_all(db)
                        .await
                })
                .await;
            match rows {
                Ok(rows) => break rows,
                Err(error) if shared::database::is_away(&error) => {
                    tokio::time::sleep(AWAY_PAUSE).await;
                }
                Err(_) if batch.len() > 1 => {
                    // One bad end must not spoil the others.
                    for end in batch {
                        Box::pin(self.finish(std::slice::from_ref(end))).await;
                    }
                    return;
                }
                Err(error) => {
                    tracing::error!(error = %error, jobId = %ids[0], "could not write a job's end");
                    return self.abandon([batch[0].key]);
                }
            }
        };
        let rejected = batch.len() - ended.len();
        for end in batch {
            if rejected == 0 || ended.iter().any(|(id, _)| *id == end.key.0.0) {
                end.counts.ended(Fate::Ended(Outcome::Succeeded));
            }
        }
        if rejected > 0 {
            self.context.metrics.fenced.inc_by(rejected as u64);
            tracing::info!(
                jobs = rejected,
                "some jobs had gone to another worker; their runs changed nothing"
            );
        }
        self.forget(batch.iter().map(|end| end.key));
        for group in batch.iter().filter_map(|end| end.group.as_deref()) {
            self.free(group);
        }
        for queue in ended
            .iter()
            .filter_map(|(_, again)| again.as_ref())
            .filter_map(|queue| queue.parse::<Queue>().ok())
        {
            self.want_dispatch(queue);
        }
        let watched: Vec<String> = batch
            .iter()
            .filter(|end| end.user)
            .map(|end| JobId(end.key.0.0).to_string())
            .collect();
        if !watched.is_empty() {
            let redis = &self.context.redis;
            redis
                .publish(redis.keys().changed(), watched.join(","))
                .await;
        }
    }
}
