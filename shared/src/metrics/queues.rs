//! The queues, as a worker has sampled them. Reading them costs a look at a table of a few dozen rows, at most every
//! two seconds, however often the metrics are scraped.

use std::time::{Duration, Instant};

use prometheus::{Gauge, GaugeVec, IntGaugeVec, Opts, Registry};
use sea_orm::DatabaseConnection;
use tokio::sync::{Mutex, MutexGuard};

use super::{gauges, register, sound};
use crate::{
    models::queue_figure::{self, Figure},
    queue::figures,
};

/// How long what was read counts.
const KEPT: Duration = Duration::from_secs(2);
/// Longest wait for Postgres: a scrape has ten seconds.
const LIMIT: Duration = Duration::from_secs(2);
/// When no worker has sampled for so long, none is alive: three samples are missing.
const STALE: Duration = Duration::from_secs(15);

/// The figures of the queues.
pub(super) struct Queues {
    depth: IntGaugeVec,
    age: GaugeVec,
    sampled: Gauge,
    latest: Mutex<Latest>,
}

#[derive(Default)]
struct Latest {
    read: Option<Instant>,
    /// Seconds that the oldest ready job of each queue had waited when it was read.
    ages: Vec<(String, f64)>,
}

impl Queues {
    pub(super) fn new(registry: &Registry) -> Self {
        let age = GaugeVec::new(
            Opts::new(
                "queue_oldest_ready_age_seconds",
                "How long the oldest job that could run has waited.",
            ),
            &["queue"],
        );
        let sampled = Gauge::new(
            "queue_sampled_timestamp_seconds",
            "When a worker last counted the queues, in seconds since 1970.",
        );
        Self {
            depth: gauges(
                registry,
                "queue_depth",
                "Jobs that have not ended, by queue and state; at most 50,000 are counted of each priority.",
                &["queue", "state"],
            ),
            age: register(registry, &sound(age)),
            sampled: register(registry, &sound(sampled)),
            latest: Mutex::default(),
        }
    }

    /// Brings the figures up to date; they stay so while the guard is held.
    pub(super) async fn refresh(&self, db: &DatabaseConnection) -> MutexGuard<'_, impl Sized> {
        let mut latest = self.latest.lock().await;
        if latest.read.is_none_or(|read| read.elapsed() >= KEPT) {
            let read = tokio::time::timeout(LIMIT, self.read(db)).await;
            latest.ages = if let Ok(Ok(ages)) = read {
                ages
            } else {
                // Absent is true; the last ones would look alive.
                self.depth.reset();
                Vec::new()
            };
            latest.read = Some(Instant::now());
        }
        let since = latest.read.map_or(0.0, |read| read.elapsed().as_secs_f64());
        self.age.reset();
        for (queue, age) in &latest.ages {
            let age = if *age > 0.0 { age + since } else { 0.0 };
            self.age.with_label_values(&[queue]).set(age);
        }
        latest
    }

    async fn read(&self, db: &DatabaseConnection) -> anyhow::Result<Vec<(String, f64)>> {
        let rows = queue_figure::list(db).await?;
        self.depth.reset();
        let mut ages: Vec<(String, f64)> = Vec::new();
        let mut is_stale = true;
        for Figure {
            queue,
            state,
            depth,
            age,
            sampled_age,
            sampled_at,
        } in rows
        {
            self.depth.with_label_values(&[&queue, &state]).set(depth);
            self.sampled.set(sampled_at);
            is_stale = sampled_age > STALE.as_secs_f64();
            let age = age.unwrap_or(0.0).max(0.0);
            match ages.iter_mut().find(|(of, _)| *of == queue) {
                Some((_, oldest)) => *oldest = oldest.max(age),
                None => ages.push((queue, age)),
            }
        }
        // Jobs that came after the last worker died are in no sample.
        if is_stale {
            ages = figures::oldest_ready(db.get_postgres_connection_pool()).await?;
        }
        Ok(ages)
    }
}
