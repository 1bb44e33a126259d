//! Making rows ours: from id to run.

use std::{
    collections::HashMap,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use chrono::{DateTime, Utc};
use serde_json::Value;
use shared::{
    database::Origin,
    ids::{JobId, UserId},
};
use sqlx::FromRow;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use uuid::Uuid;

use super::{Engine, Run, Stop};

/// Most ids claimed by one statement. Whatever came in during the last statement is the next batch.
const BATCH: usize = 256;

/// `queued` is taken too: a row may have been swept back while its id was on its way. Not so where it has a group, whose
/// room only dispatch knows. A row that is not due any more, or not there, is dropped silently.
const CLAIM: &str = "
    UPDATE jobs SET state = 'running', attempt = attempt + 1, epoch = epoch + 1, started_at = job_now(),
           lease_until = job_now() + $3 * interval '1 millisecond', worker_id = $2
     WHERE id = ANY($1) AND (state = 'dispatched' OR state = 'queued' AND group_key IS NULL) IS TRUE
       AND run_at <= job_now()
    RETURNING id, kind, payload, attempt, max_attempts, epoch, timeout_ms, user_id, request_id, traceparent,
              run_at, started_at, group_key";

/// An id with the slot it will run in.
pub(super) struct ClaimRequest {
    pub(super) id: JobId,
    pub(super) slot: OwnedSemaphorePermit,
}

/// A row that is ours.
#[derive(Debug, Clone, FromRow)]
pub(crate) struct Claimed {
    pub(crate) id: Uuid,
    pub(crate) kind: String,
    pub(crate) payload: Value,
    pub(crate) attempt: i32,
    pub(crate) max_attempts: i32,
    pub(crate) epoch: i32,
    pub(crate) timeout_ms: i64,
    pub(crate) user_id: Option<Uuid>,
    pub(crate) request_id: Option<String>,
    pub(crate) traceparent: Option<String>,
    pub(crate) run_at: DateTime<Utc>,
    pub(crate) started_at: DateTime<Utc>,
    pub(crate) group_key: Option<String>,
}

impl Claimed {
    pub(crate) fn key(&self) -> super::RunKey {
        (JobId(self.id), self.epoch)
    }

    /// How long it has waited since it was due.
    pub(crate) fn waited(&self) -> Duration {
        (self.started_at - self.run_at).to_std().unwrap_or_default()
    }

    /// On whose behalf it runs; what it enqueues inherits that.
    pub(crate) fn origin(&self) -> Origin {
        Origin {
            user: self.user_id.map(UserId),
            request_id: self.request_id.clone(),
            traceparent: self.traceparent.clone(),
        }
    }
}

pub(super) async fn run(engine: Arc<Engine>, mut requests: mpsc::UnboundedReceiver<ClaimRequest>) {
    let mut batch = Vec::with_capacity(BATCH);
    while requests.recv_many(&mut batch, BATCH).await > 0 {
        // Each slot belongs to its id: queues share this loop, but not their slots.
        let mut slots: HashMap<JobId, OwnedSemaphorePermit> = batch
            .drain(..)
            .map(|request| (request.id, request.slot))
            .collect();
        let ids: Vec<Uuid> = slots.keys().map(|id| id.0).collect();
        for (claimed, run) in engine.claim(&ids).await {
            let slot = slots.remove(&JobId(claimed.id));
            engine
                .runs
                .spawn(engine.clone().execute(claimed, run, slot));
        }
    }
}

impl Engine {
    /// Claims rows, and notes them as running here.
    ///
    /// When the answer is lost, the rows may be ours without our knowing; `lease` finds those.
    pub(super) async fn claim(&self, ids: &[Uuid]) -> Vec<(Claimed, Arc<Run>)> {
        let lease = i64::try_from(self.settings.lease.as_millis()).unwrap_or(i64::MAX);
        let mut session = self.claiming.lock().await;
        let claimed: sqlx::Result<Vec<Claimed>> = session
            .run(async |db| {
                sqlx::query_as(CLAIM)
                    .bind(ids)
                    .bind(&self.settings.worker_id)
                    .bind(lease)
                    .fetch_all(db)
                    .await
            })
            .await;
        match claimed {
            // Noted before the session is free again, so that nobody takes them for lost.
            Ok(claimed) => claimed
                .into_iter()
                .map(|claimed| {
                    let run = self.note(&claimed);
                    (claimed, run)
                })
                .collect(),
            Err(error) => {
                tracing::debug!(error = %error, jobs = ids.len(), "could not claim");
                Vec::new()
            }
        }
    }

    fn note(&self, claimed: &Claimed) -> Arc<Run> {
        let run = Arc::new(Run::default());
        if self.closing.load(Ordering::Acquire) {
            run.stop(Stop::Released);
        }
        self.running().insert(claimed.key(), run.clone());
        run
    }
}
