//! The engine without its loops: runs what is due, once. For tests, where jobs must not run behind one's back.

use std::sync::Arc;

use sqlx::postgres::PgConnectOptions;
use tokio::sync::mpsc;
use uuid::Uuid;

use super::{Engine, Finished, Settings, Transport};
use crate::{context::Context, registry::Registry};

/// Most jobs claimed at a time.
const BATCH: usize = 64;

/// An engine that runs when it is told to. Its jobs come straight from Postgres.
pub struct Inline {
    engine: Arc<Engine>,
    ends: mpsc::Receiver<Finished>,
}

impl Inline {
    /// Makes it.
    ///
    /// # Errors
    /// When the Redis URL cannot be used.
    pub fn new(
        settings: Settings,
        context: Context,
        registry: Registry,
        direct: &PgConnectOptions,
        redis: &shared::config::RedisConfig,
    ) -> anyhow::Result<Self> {
        let transport = Transport::new(redis)?;
        let (engine, ends) = Engine::new(settings, context, registry, direct, transport);
        Ok(Self { engine, ends })
    }

    /// Runs jobs until none is due, those included that come up meanwhile, and tells how many ran.
    pub async fn run_due(&mut self) -> usize {
        let mut ran = 0;
        loop {
            let (mut due, mut is_more) = (Vec::new(), false);
            for &queue in self.engine.lanes.keys() {
                let peeked = self.engine.peek(queue, BATCH).await;
                due.extend(peeked.ids);
                is_more |= peeked.is_more;
            }
            let claimed = self.engine.claim(&due).await;
            if claimed.is_empty() && !is_more {
                return ran;
            }
            ran += claimed.len();
            let runs = claimed
                .into_iter()
                .map(|(job, run)| self.engine.clone().execute(job, run, None));
            futures::future::join_all(runs).await;
            let mut ends = Vec::new();
            while let Ok(end) = self.ends.try_recv() {
                ends.push(end);
            }
            if !ends.is_empty() {
                self.engine.finish(&ends).await;
            }
        }
    }

    /// Looks once for jobs of dead workers, and tells how many there were.
    pub async fn sweep(&self) -> usize {
        self.engine.sweep_expired().await
    }

    /// Looks once for calls whose run is over, and accounts for those that were found the time `before`, too. Gives those that
    /// were found.
    ///
    /// # Errors
    /// As the database fails.
    pub async fn sweep_calls(&self, before: &[Uuid]) -> sqlx::Result<Vec<Uuid>> {
        self.engine.sweep_calls(before).await
    }

    /// Looks once for objects of uploads that came to nothing, and tells how many there were.
    pub async fn sweep_objects(&self) -> usize {
        self.engine.sweep_objects().await
    }
}
