//! Keeping running jobs ours, and noticing those that are not any more.

use std::{sync::Arc, time::Duration};

use sqlx::Row as _;
use tokio::time::{Instant, MissedTickBehavior};
use uuid::Uuid;

use super::{Engine, RunKey, Stop};

/// How often cancelled jobs are looked for: what a lost message costs.
const CANCEL_POLL: Duration = Duration::from_secs(1);

/// Only rows that no end is being written to: waiting for one could dead-lock, and it needs no lease any more.
const RENEW: &str = "
    UPDATE jobs SET lease_until = job_now() + $3 * interval '1 millisecond'
     WHERE id IN (SELECT id FROM jobs WHERE id = ANY($1) AND (state = 'running') IS TRUE AND worker_id = $2
                     FOR UPDATE SKIP LOCKED)";

/// What is ours, rows that are being ended included.
const OURS: &str = "SELECT id, epoch FROM jobs WHERE id = ANY($1) AND (state = 'running') IS TRUE AND worker_id = $2";

/// Rows that a claim made ours without our hearing of it.
const STRAYS: &str = "
    UPDATE jobs SET state = 'queued', attempt = attempt - 1, lease_until = NULL, worker_id = NULL
     WHERE state = 'running' AND worker_id = $2 AND id <> ALL($1)
    RETURNING id";

const CANCELLED: &str = "SELECT id FROM jobs WHERE id = ANY($1) AND (state = 'running') IS TRUE AND cancel_requested_at IS NOT NULL";

pub(super) async fn run(engine: Arc<Engine>) {
    let mut tick = tokio::time::interval(CANCEL_POLL.min(engine.settings.renew_every()));
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut renewed = Instant::now();
    loop {
        tick.tick().await;
        let result = if renewed.elapsed() >= engine.settings.renew_every() {
            renewed = Instant::now();
            engine.renew().await
        } else {
            engine.look_for_cancelled().await
        };
        if let Err(error) = result {
            tracing::debug!(error = %error, "could not look after running jobs");
        }
    }
}

impl Engine {
    async fn renew(&self) -> sqlx::Result<()> {
        let lease = i64::try_from(self.settings.lease.as_millis()).unwrap_or(i64::MAX);
        let worker = &self.settings.worker_id;
        let mut session = self.claiming.lock().await;
        // What is claimed is noted before the session is free, so nothing is missing here that is ours.
        let running = self.running_keys();
        let ids: Vec<Uuid> = running.iter().map(|((id, _), _)| id.0).collect();
        let renewed: Vec<Uuid> = running
            .iter()
            .filter(|(_, abandoned)| !abandoned)
            .map(|((id, _), _)| id.0)
            .collect();
        let (ours, strays) = session
            .run(async |db| {
                if !renewed.is_empty() {
                    sqlx::query(RENEW)
                        .bind(&renewed)
                        .bind(worker)
                        .bind(lease)
                        .execute(&mut *db)
                        .await?;
                }
                let ours: Vec<(Uuid, i32)> = sqlx::query(OURS)
                    .bind(&ids)
                    .bind(worker)
                    .fetch_all(&mut *db)
                    .await?
                    .iter()
                    .map(|row| Ok((row.try_get(0)?, row.try_get(1)?)))
                    .collect::<sqlx::Result<_>>()?;
                let strays: Vec<Uuid> = sqlx::query_scalar(STRAYS)
                    .bind(&ids)
                    .bind(worker)
                    .fetch_all(db)
                    .await?;
                Ok((ours, strays))
            })
            .await?;
        drop(session);
        if !strays.is_empty() {
            tracing::warn!(
                jobs = strays.len(),
                "jobs were claimed without an answer; they went back to their queue"
            );
        }
        let lost: Vec<(RunKey, bool)> = running
            .into_iter()
            .filter(|((id, epoch), _)| !ours.contains(&(id.0, *epoch)))
            .collect();
        self.stop(Stop::Lost, |key| lost.iter().any(|(lost, _)| lost == key));
        self.forget(
            lost.into_iter()
                .filter(|(_, abandoned)| *abandoned)
                .map(|(key, _)| key),
        );
        self.look_for_cancelled().await
    }

    async fn look_for_cancelled(&self) -> sqlx::Result<()> {
        let ids: Vec<Uuid> = self
            .running_keys()
            .into_iter()
            .map(|((id, _), _)| id.0)
            .collect();
        if ids.is_empty() {
            return Ok(());
        }
        let cancelled: Vec<Uuid> = self
            .claiming
            .run(async |db| sqlx::query_scalar(CANCELLED).bind(&ids).fetch_all(db).await)
            .await?;
        if !cancelled.is_empty() {
            self.stop(Stop::Cancelled, |key| cancelled.contains(&key.0.0));
        }
        Ok(())
    }
}
