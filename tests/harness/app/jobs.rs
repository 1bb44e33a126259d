//! Jobs: asked for, run when a test says so, and left to workers.

use chrono::{DateTime, Utc};
use shared::queue::{self, Enqueue, Enqueued, Job};
use uuid::Uuid;
use worker::{registry::Registry, runner::Runner};

use super::TestApp;

/// When a job is due next, or a group goes on that keeps some waiting.
const NEXT: &str = "
    SELECT least((SELECT min(run_at) FROM jobs WHERE state = 'queued'),
                 (SELECT min(greatest(g.not_before, g.next_at)) FROM job_groups g
                   WHERE greatest(g.not_before, g.next_at) > job_now()
                     AND EXISTS (SELECT FROM jobs WHERE state = 'parked' AND group_key = g.key)))";

impl TestApp {
    /// Runs what is due now, and tells how many runs that were.
    pub async fn run_due_jobs(&self) -> usize {
        self.inline.lock().await.run_due().await
    }

    /// Runs jobs until the queues are empty, moving the clock over backoffs.
    pub async fn run_jobs(&self) {
        for _ in 0..1000 {
            self.run_due_jobs().await;
            let next: Option<DateTime<Utc>> = sqlx::query_scalar(NEXT)
                .fetch_one(self.database.pool())
                .await
                .expect("the next job");
            let Some(next) = next else { return };
            let wait = (next - self.clock.now()).to_std().unwrap_or_default();
            self.advance(wait).await;
        }
        panic!("the jobs never end");
    }

    /// Looks once for jobs of dead workers.
    pub async fn sweep(&self) -> usize {
        self.inline.lock().await.sweep().await
    }

    /// Looks once for calls whose run is over, and accounts for those that were found `before`, too. Gives those that were found.
    pub async fn sweep_calls(&self, before: &[Uuid]) -> Vec<Uuid> {
        let inline = self.inline.lock().await;
        inline.sweep_calls(before).await.expect("a sweep")
    }

    /// Looks once for objects of uploads that came to nothing.
    pub async fn sweep_objects(&self) -> usize {
        self.inline.lock().await.sweep_objects().await
    }

    /// Starts a worker in this process.
    pub fn start_worker(&self) -> Runner {
        self.start_worker_with(|_| {})
    }

    pub fn start_worker_with(&self, change: impl FnOnce(&mut worker::runner::Settings)) -> Runner {
        self.start_worker_as(self.registry.clone(), change)
    }

    /// Starts a worker that knows other jobs.
    pub fn start_worker_as(
        &self,
        registry: Registry,
        change: impl FnOnce(&mut worker::runner::Settings),
    ) -> Runner {
        let mut settings = self.worker.settings.clone();
        settings.worker_id = format!("test:{}", Uuid::new_v4());
        change(&mut settings);
        let direct = &self.worker.common.database.direct;
        Runner::start(
            settings,
            self.context.clone(),
            registry,
            direct,
            &self.worker.common.redis,
        )
        .expect("a worker")
    }

    /// Asks for a job, in a transaction of its own.
    pub async fn enqueue<J: Job>(&self, job: impl Into<Enqueue<J>>) -> Enqueued {
        let mut tx = self.begin().await;
        let enqueued = queue::enqueue(&mut tx, job).await.expect("a job");
        tx.commit().await.expect("a commit");
        enqueued
    }
}
