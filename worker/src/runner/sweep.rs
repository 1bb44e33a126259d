//! Finding what was lost: jobs of dead workers, ids that Redis forgot, rows that nobody needs any more, objects of uploads
//! that came to nothing, and files that are on another machine.

use std::{sync::Arc, time::Duration};

use shared::{
    database::Error,
    ids::JobId,
    models::{pending_object, storage_view},
    queue::{End, LiveJob, Queue},
};
use sqlx::Row as _;
use tokio::time::MissedTickBehavior;
use uuid::Uuid;

use super::Engine;
use crate::metrics::{Fate, Outcome};

const TICK: Duration = Duration::from_secs(1);
/// An id that was dispatched this long ago, is not claimed and is not in Redis, is lost.
const STALE: Duration = Duration::from_secs(3);
/// Workers that may die on a job before it is kept away from others.
const CRASHES: i16 = 3;
/// Between two prunings.
const PRUNE_EVERY: u32 = 60;
/// Rows deleted by one statement: few, so that no claim waits for long.
const PRUNE_BATCH: u64 = 1000;
/// Statements of one pruning: enough for 3,000 jobs a second.
const PRUNE_BATCHES: u32 = 180;

/// Longest wait for the storage: the sweep has more urgent things to do.
const STORAGE_LIMIT: Duration = Duration::from_secs(2);

/// What a user reads of a job whose worker died.
const DIED: &str = "the worker that ran it died";

const EXPIRED: &str = "
    SELECT id, epoch, attempt >= max_attempts OR crash_count + 1 >= $1 OR cancel_requested_at IS NOT NULL AS over,
           crash_count + 1 >= $1 AS poison
      FROM jobs WHERE state = 'running' AND lease_until < job_now() AND id <> ALL($2)
     LIMIT 500";

const REQUEUE: &str = "
    UPDATE jobs SET state = 'queued', crash_count = crash_count + 1, run_at = job_now(), worker_id = NULL,
           lease_until = NULL, last_error = $3,
           errors = CASE WHEN jsonb_array_length(errors) < 10 THEN errors WHEN errors IS NULL THEN '[]' ELSE errors - 0 END
                    || jsonb_build_object('at', job_now(), 'attempt', attempt, 'message', $3::text)
     WHERE id IN (SELECT j.id FROM jobs j JOIN unnest($1::uuid[], $2::int[]) u(id, epoch)
                    ON j.id = u.id AND j.epoch = u.epoch
                   WHERE (j.state = 'running') IS TRUE AND j.lease_until < job_now() FOR UPDATE OF j SKIP LOCKED)
    RETURNING queue";

const STALE_IDS: &str = "
    SELECT id FROM jobs WHERE state = 'dispatched' AND queue = $1
       AND dispatched_at < job_now() - $2 * interval '1 millisecond' LIMIT 1000";

const UNDISPATCH: &str = "
    UPDATE jobs SET state = 'queued' WHERE id = ANY($1) AND (state = 'dispatched') IS TRUE
       AND dispatched_at < job_now() - $2 * interval '1 millisecond'";

/// Succeeded jobs are of no use after a day; the others are kept for a month, to be looked at and retried.
const PRUNE: &str = "
    DELETE FROM jobs WHERE id IN (
        SELECT id FROM jobs
         WHERE finished_at < job_now() - interval '24 hours'
           AND (state = 'succeeded' OR finished_at < job_now() - interval '30 days')
         LIMIT $1 FOR UPDATE SKIP LOCKED)";

pub(super) async fn run(engine: Arc<Engine>) {
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut ticks = 0u32;
    // Calls whose run was over the last time.
    let mut calls = Vec::new();
    loop {
        tick.tick().await;
        if ticks.is_multiple_of(PRUNE_EVERY) {
            engine.tell_storage().await;
        }
        ticks = ticks.wrapping_add(1);
        if let Err(error) = engine.sweep(ticks.is_multiple_of(PRUNE_EVERY)).await {
            tracing::debug!(error = %error, "could not sweep");
        }
        let found = engine.sweep_calls(&calls).await;
        match found {
            Ok(found) => calls = found,
            Err(error) => tracing::debug!(error = %error, "could not look for lost calls"),
        }
    }
}

impl Engine {
    async fn sweep(&self, prune: bool) -> sqlx::Result<()> {
        // After an outage everybody looks dead until they have had time to renew.
        let quiet = self.settings.renew_every().mul_f64(1.5);
        if self
            .dispatching
            .uptime()
            .await
            .is_some_and(|uptime| uptime >= quiet)
        {
            self.sweep_expired().await;
        }
        for &queue in self.lanes.keys() {
            self.sweep_stale(queue).await?;
        }
        if prune {
            self.prune().await?;
            self.sweep_objects().await;
        }
        Ok(())
    }

    /// Notes which storage this worker sees.
    async fn tell_storage(&self) {
        let context = &self.context;
        let identity = tokio::time::timeout(STORAGE_LIMIT, context.storage.identity()).await;
        let identity = identity.ok().and_then(Result::ok);
        if identity.is_none() {
            tracing::warn!("the storage cannot be reached");
        }
        let worker = &self.settings.worker_id;
        let told = storage_view::record(&context.db, worker, identity.as_deref()).await;
        if let Err(error) = told {
            tracing::debug!(error = %error, "could not note which storage is seen here");
        }
    }

    /// Objects of uploads that came to nothing become jobs, which delete them.
    pub(super) async fn sweep_objects(&self) -> usize {
        let mut found = 0;
        let sweep = async {
            loop {
                let mut tx = self.context.begin().await?;
                let jobs = pending_object::sweep(&mut tx).await?;
                if jobs == 0 {
                    return Ok::<_, Error>(());
                }
                tx.commit().await?;
                found += jobs;
            }
        };
        if let Err(error) = sweep.await {
            let error = anyhow::Error::from(error);
            tracing::debug!(error = %format!("{error:#}"), "could not look for objects of broken uploads");
        }
        if found > 0 {
            tracing::info!(
                objects = found,
                "objects of uploads that came to nothing are removed"
            );
        }
        found
    }

    async fn prune(&self) -> sqlx::Result<()> {
        for _ in 0..PRUNE_BATCHES {
            let batch = i64::try_from(PRUNE_BATCH).unwrap_or(i64::MAX);
            let pruned = self
                .dispatching
                .run(async |db| sqlx::query(PRUNE).bind(batch).execute(db).await)
                .await?
                .rows_affected();
            if pruned < PRUNE_BATCH {
                break;
            }
        }
        Ok(())
    }

    /// Jobs whose worker died go back to their queue, or end.
    pub(super) async fn sweep_expired(&self) -> usize {
        // Runs of this worker are for `lease` to judge, also when it was stopped and all leases have run out meanwhile.
        let ours: Vec<Uuid> = self
            .running_keys()
            .into_iter()
            .filter(|(_, abandoned)| !abandoned)
            .map(|((id, _), _)| id.0)
            .collect();
        let found = self
            .dispatching
            .run(async |db| {
                sqlx::query(EXPIRED)
                    .bind(CRASHES)
                    .bind(&ours)
                    .fetch_all(db)
                    .await?
                    .iter()
                    .map(|row| {
                        Ok((
                            row.try_get(0)?,
                            row.try_get(1)?,
                            row.try_get(2)?,
                            row.try_get(3)?,
                        ))
                    })
                    .collect::<sqlx::Result<Vec<(Uuid, i32, bool, bool)>>>()
            })
            .await;
        let Ok(found) = found else { return 0 };
        if found.is_empty() {
            return 0;
        }
        tracing::warn!(jobs = found.len(), "jobs of dead workers were found");
        let (ids, epochs): (Vec<Uuid>, Vec<i32>) = found
            .iter()
            .filter(|(.., over, _)| !over)
            .map(|&(id, epoch, ..)| (id, epoch))
            .unzip();
        let queues: sqlx::Result<Vec<String>> = self
            .dispatching
            .run(async |db| {
                sqlx::query_scalar(REQUEUE)
                    .bind(&ids)
                    .bind(&epochs)
                    .bind(DIED)
                    .fetch_all(db)
                    .await
            })
            .await;
        for queue in queues
            .unwrap_or_default()
            .iter()
            .filter_map(|queue| queue.parse::<Queue>().ok())
        {
            self.want_dispatch(queue);
        }
        for &(id, epoch, _, poison) in found.iter().filter(|(.., over, _)| *over) {
            // One row that cannot be ended must not keep the others waiting.
            if let Err(error) = self.end_expired(JobId(id), epoch, poison).await {
                let error = anyhow::Error::from(error);
                tracing::error!(jobId = %id, error = %format!("{error:#}"), "could not end the job of a dead worker");
            }
        }
        found.len()
    }

    async fn end_expired(&self, id: JobId, epoch: i32, poison: bool) -> Result<(), Error> {
        let mut tx = self.context.begin().await?;
        let Some(job) = LiveJob::lock_expired(&tx, id, epoch).await? else {
            return Ok(());
        };
        let (end, outcome) = if job.cancel_requested {
            (End::Cancelled, Outcome::Cancelled)
        } else if poison {
            let reason = format!("{CRASHES} workers died while they ran it");
            (End::Quarantined(reason), Outcome::Quarantined)
        } else {
            (End::Failed(DIED.to_owned()), Outcome::Failed)
        };
        tracing::error!(jobId = %id, kind = %job.kind, "job {} is given up: {}", job.kind, end.reason().unwrap_or("cancelled"));
        job.count_crash(&mut tx).await?;
        let errors = job.errors_with(DIED, tx.now().await?);
        shared::queue::end(&mut tx, &job, &end, Some(errors)).await?;
        tx.commit().await?;
        self.kinds.find(&job.kind).ended(Fate::Ended(outcome));
        Ok(())
    }

    /// Ids that are neither claimed nor in Redis go back.
    async fn sweep_stale(&self, queue: Queue) -> sqlx::Result<()> {
        let stale = i64::try_from(STALE.as_millis()).unwrap_or(i64::MAX);
        let ids: Vec<Uuid> = self
            .dispatching
            .run(async |db| {
                sqlx::query_scalar(STALE_IDS)
                    .bind(queue.name())
                    .bind(stale)
                    .fetch_all(db)
                    .await
            })
            .await?;
        if ids.is_empty() {
            return Ok(());
        }
        // While Redis is away, takers find these rows themselves.
        let Ok(missing) = self.transport.missing(queue, ids).await else {
            return Ok(());
        };
        if missing.is_empty() {
            return Ok(());
        }
        tracing::info!(queue = %queue, jobs = missing.len(), "ids that redis lost go back to their queue");
        self.dispatching
            .run(async |db| {
                sqlx::query(UNDISPATCH)
                    .bind(&missing)
                    .bind(stale)
                    .execute(db)
                    .await
            })
            .await?;
        self.want_dispatch(queue);
        Ok(())
    }
}
