//! What a worker counts, for Prometheus.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use prometheus::{Histogram, HistogramVec, IntCounter, IntCounterVec};
use sea_orm::DatabaseConnection;
use shared::{metrics::Exposition, queue::Queue};

use crate::registry::Registry;

/// Upper bounds in seconds: a job is picked up in milliseconds, or waits for a slot.
const WAIT_BUCKETS: [f64; 12] = [
    0.002, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0, 120.0, 600.0, 3600.0,
];
/// Upper bounds in seconds; a run may take ten minutes.
const RUN_BUCKETS: [f64; 12] = [
    0.001, 0.01, 0.05, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0, 600.0,
];
/// Label of jobs that this worker does not know: rows of another release.
const UNKNOWN: &str = "unknown";

/// How a job ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Its work is done. One that was asked for again meanwhile waits for its next run, and counts again.
    Succeeded,
    /// Given up.
    Failed,
    /// Stopped by its user.
    Cancelled,
    /// Given up because workers died on it.
    Quarantined,
}

impl Outcome {
    const ALL: [Self; 4] = [
        Self::Succeeded,
        Self::Failed,
        Self::Cancelled,
        Self::Quarantined,
    ];

    /// The state of the job's row.
    fn name(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Quarantined => "quarantined",
        }
    }
}

/// What the runs of a worker are counted in.
pub struct Metrics {
    exposition: Exposition,
    finished: IntCounterVec,
    retried: IntCounterVec,
    waits: HistogramVec,
    runs: HistogramVec,
    /// Ends that were not written, as the job was another worker's by then.
    pub(crate) fenced: IntCounter,
}

impl Default for Metrics {
    fn default() -> Self {
        let exposition = Exposition::default();
        Self {
            finished: exposition.counters(
                "jobs_finished_total",
                "Jobs that this worker has ended, by kind and outcome.",
                &["kind", "outcome"],
            ),
            retried: exposition.counters(
                "jobs_retried_total",
                "Runs that failed and whose job is tried again, by kind.",
                &["kind"],
            ),
            waits: exposition.histograms(
                "job_wait_seconds",
                "From the time a job was due to the start of its run, by queue.",
                &["queue"],
                &WAIT_BUCKETS,
            ),
            runs: exposition.histograms(
                "job_run_seconds",
                "How long runs of jobs took, by kind.",
                &["kind"],
                &RUN_BUCKETS,
            ),
            fenced: exposition.counter(
                "job_fence_rejected_total",
                "Runs that changed nothing, as their job was not theirs any more.",
            ),
            exposition,
        }
    }
}

impl Metrics {
    /// The page.
    pub async fn render(&self, db: &DatabaseConnection) -> String {
        self.exposition.render(db).await
    }

    /// What each kind of job is counted in: looked up once, as thousands of jobs run each second.
    pub(crate) fn kinds(&self, registry: &Registry) -> Kinds {
        let known = registry
            .kinds()
            .map(|(name, kind)| (name, Arc::new(self.kind(name, kind.queue))));
        Kinds {
            known: known.collect(),
            unknown: Arc::new(self.kind(UNKNOWN, None)),
        }
    }

    fn kind(&self, name: &str, queue: Option<Queue>) -> Counts {
        let queue = queue.map_or(UNKNOWN, Queue::name);
        Counts {
            finished: Outcome::ALL
                .map(|outcome| self.finished.with_label_values(&[name, outcome.name()])),
            retried: self.retried.with_label_values(&[name]),
            wait: self.waits.with_label_values(&[queue]),
            run: self.runs.with_label_values(&[name]),
        }
    }
}

/// What each kind of job is counted in.
pub(crate) struct Kinds {
    known: HashMap<&'static str, Arc<Counts>>,
    unknown: Arc<Counts>,
}

impl Kinds {
    pub(crate) fn find(&self, kind: &str) -> &Arc<Counts> {
        self.known.get(kind).unwrap_or(&self.unknown)
    }
}

/// What jobs of one kind are counted in.
pub(crate) struct Counts {
    finished: [IntCounter; Outcome::ALL.len()],
    retried: IntCounter,
    wait: Histogram,
    run: Histogram,
}

impl Counts {
    /// A run began, so long after its job was due.
    pub(crate) fn began(&self, waited: Duration) {
        self.wait.observe(waited.as_secs_f64());
    }

    /// A run is over, however it went.
    pub(crate) fn ran(&self, began: Instant) {
        self.run.observe(began.elapsed().as_secs_f64());
    }

    /// The end of a job, or what else became of it, is committed.
    pub(crate) fn ended(&self, fate: Fate) {
        match fate {
            Fate::Ended(outcome) => self.finished[outcome as usize].inc(),
            Fate::Retried => self.retried.inc(),
        }
    }
}

/// What became of a job whose run is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It ended.
    Ended(Outcome),
    /// It is tried again.
    Retried,
}
