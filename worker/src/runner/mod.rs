//! The engine's running half: rows become ids in Redis, ids become claims, claims become runs, runs become ends.
//!
//! `dispatch` moves due rows' ids to Redis · `transport` takes them as free `slots` allow · `claim` makes rows
//! ours, as far as their `groups` have room · `execute` runs them, or `cancel`s them · `finish` ends them · `lease` keeps them ours · `sweep` finds what was lost,
//! `calls` what servers were asked by those that died · `figures` counts the queues · `wake` hears what happens elsewhere, `lifecycle` starts and ends it all. Only `transport` and `lifecycle` know apalis.

mod calls;
mod cancel;
mod claim;
mod dispatch;
mod execute;
mod failure;
mod figures;
mod finish;
mod groups;
mod inline;
mod lease;
mod lifecycle;
mod session;
mod slots;
mod sweep;
mod transport;
mod wake;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use shared::{ids::JobId, queue::Queue};
use sqlx::postgres::PgConnectOptions;
use tokio::sync::{Notify, Semaphore, mpsc};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub(crate) use self::{
    cancel::Cancel,
    claim::Claimed,
    failure::{FailedRun, Tries},
};
pub use self::{
    dispatch::{DISPATCH, PEEK},
    inline::Inline,
    lifecycle::Runner,
    session::SESSION_SETTINGS,
};
use self::{
    finish::Finished,
    session::{Durability, Session},
    transport::Transport,
};
use crate::{context::Context, metrics::Kinds, registry::Registry};

/// Ends that may wait for their statement; a job that ends when it is full waits.
const FINISH_CHANNEL: usize = 2048;

/// What the engine may be told.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Queues served, with the number of jobs that may run at once.
    pub slots: BTreeMap<Queue, usize>,
    /// How long a claim holds without renewal.
    pub lease: Duration,
    /// How long running jobs may go on after a shutdown began.
    pub shutdown_grace: Duration,
    /// Name of this worker in job rows; one of its own for each process.
    pub worker_id: String,
}

impl Settings {
    /// Time between renewals: a third of the lease, so that two may fail.
    fn renew_every(&self) -> Duration {
        self.lease / 3
    }
}

/// How a shutdown went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drained {
    /// All jobs ended.
    Whole,
    /// Some were given back to their queue.
    Released(usize),
}

/// Why a run is stopped from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stop {
    /// The user does not want it any more.
    Cancelled,
    /// Another worker has it, or it has ended elsewhere.
    Lost,
    /// This worker goes down.
    Released,
}

/// A run of this worker, from its claim to the commit of its end.
#[derive(Default)]
struct Run {
    stop: CancellationToken,
    why: Mutex<Option<Stop>>,
    cancel: Arc<Cancel>,
    /// Its end could not be written, and will not be: it stays noted until its lease has run out.
    abandoned: AtomicBool,
}

impl Run {
    /// Stops it. The first reason counts.
    fn stop(&self, why: Stop) {
        let why = *self
            .why
            .lock()
            .expect("nothing panics while it holds this lock")
            .get_or_insert(why);
        if why == Stop::Cancelled {
            self.cancel.ask();
        }
        self.stop.cancel();
    }

    /// Resolves when it is to be stopped.
    async fn stopped(&self) {
        self.stop.cancelled().await;
        if self.why() == Some(Stop::Cancelled) {
            self.cancel.leave_time().await;
        }
    }

    fn why(&self) -> Option<Stop> {
        *self
            .why
            .lock()
            .expect("nothing panics while it holds this lock")
    }
}

/// One run: a job may be run again while an earlier run of it still winds down here.
type RunKey = (JobId, i32);

/// What happens in one queue of this worker.
struct Lane {
    slots: Arc<Semaphore>,
    capacity: usize,
    /// Rows may be due in Postgres.
    due: AtomicUsize,
    /// Ids may be waiting in Redis.
    available: Arc<Notify>,
    /// Ids taken since the last dispatch.
    taken: AtomicUsize,
    /// Groups that may have room again.
    freed: Mutex<BTreeSet<String>>,
    /// Jobs of groups were seen.
    has_groups: AtomicBool,
    /// Behind which group a walk over all of them goes on.
    walk: Mutex<Option<String>>,
    /// All groups are looked at the next time.
    look_at_all: AtomicBool,
}

impl Lane {
    /// Most ids that may wait in Redis: enough to keep the slots busy, few enough that priorities, pauses and
    /// other workers still count.
    fn window(&self) -> usize {
        (4 * self.capacity).clamp(16, 512)
    }
}

/// State that the parts of the engine share.
pub struct Engine {
    settings: Settings,
    context: Context,
    registry: Registry,
    kinds: Kinds,
    dispatching: Session,
    claiming: Session,
    finishing: Session,
    transport: Transport,
    lanes: BTreeMap<Queue, Lane>,
    dispatch_wanted: Notify,
    running: Mutex<HashMap<RunKey, Arc<Run>>>,
    run_ended: Notify,
    /// Cancelled when a part of the engine ended that should not.
    broken: CancellationToken,
    /// No more jobs are taken, so that parts may end.
    stopping: AtomicBool,
    /// Runs that begin now are given back at once.
    closing: AtomicBool,
    finished: mpsc::Sender<Finished>,
    runs: TaskTracker,
    started: Instant,
    /// Milliseconds after `started`; 0 = never.
    last_tick: AtomicU64,
}

impl Engine {
    fn new(
        settings: Settings,
        context: Context,
        registry: Registry,
        direct: &PgConnectOptions,
        transport: Transport,
    ) -> (Arc<Self>, mpsc::Receiver<Finished>) {
        let lanes = settings.slots.iter().map(|(&queue, &capacity)| {
            let lane = Lane {
                slots: Arc::new(Semaphore::new(capacity)),
                capacity,
                due: AtomicUsize::new(1),
                available: Arc::new(Notify::new()),
                taken: AtomicUsize::new(0),
                freed: Mutex::default(),
                has_groups: AtomicBool::new(false),
                walk: Mutex::default(),
                look_at_all: AtomicBool::new(false),
            };
            (queue, lane)
        });
        let (finished, ends) = mpsc::channel(FINISH_CHANNEL);
        let engine = Self {
            lanes: lanes.collect(),
            dispatching: Session::new("dispatch", direct, Durability::Relaxed),
            claiming: Session::new("claim", direct, Durability::Relaxed),
            finishing: Session::new("finish", direct, Durability::Full),
            transport,
            dispatch_wanted: Notify::new(),
            running: Mutex::default(),
            run_ended: Notify::new(),
            broken: CancellationToken::new(),
            stopping: AtomicBool::new(false),
            closing: AtomicBool::new(false),
            finished,
            runs: TaskTracker::new(),
            started: Instant::now(),
            last_tick: AtomicU64::new(0),
            kinds: context.metrics.kinds(&registry),
            settings,
            context,
            registry,
        };
        (Arc::new(engine), ends)
    }

    fn running(&self) -> std::sync::MutexGuard<'_, HashMap<RunKey, Arc<Run>>> {
        self.running
            .lock()
            .expect("nothing panics while it holds this lock")
    }

    /// All runs of this worker, and whether they are abandoned.
    fn running_keys(&self) -> Vec<(RunKey, bool)> {
        self.running()
            .iter()
            .map(|(key, run)| (*key, run.abandoned.load(Ordering::Relaxed)))
            .collect()
    }

    /// Stops the runs that are chosen.
    fn stop(&self, why: Stop, chosen: impl Fn(&RunKey) -> bool) {
        let runs: Vec<Arc<Run>> = self
            .running()
            .iter()
            .filter(|(key, _)| chosen(key))
            .map(|(_, run)| run.clone())
            .collect();
        for run in runs {
            run.stop(why);
        }
    }

    /// Forgets runs whose end is committed.
    fn forget(&self, keys: impl IntoIterator<Item = RunKey>) {
        let mut running = self.running();
        for key in keys {
            running.remove(&key);
        }
        drop(running);
        self.run_ended.notify_waiters();
    }

    /// Gives up on runs whose ends cannot be written: the lease runs out, the sweep counts a crash and takes over.
    fn abandon(&self, keys: impl IntoIterator<Item = RunKey>) {
        let running = self.running();
        for key in keys {
            if let Some(run) = running.get(&key) {
                run.abandoned.store(true, Ordering::Relaxed);
            }
        }
        drop(running);
        self.run_ended.notify_waiters();
    }

    fn ticked(&self) {
        let now = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last_tick.store(now.max(1), Ordering::Relaxed);
    }

    /// What this worker counts, for Prometheus.
    pub async fn metrics(&self) -> String {
        self.context.metrics.render(&self.context.db).await
    }

    /// Time since the engine last saw Postgres; nothing if it never did.
    pub fn since_last_tick(&self) -> Option<Duration> {
        let tick = self.last_tick.load(Ordering::Relaxed);
        (tick > 0).then(|| {
            self.started
                .elapsed()
                .saturating_sub(Duration::from_millis(tick))
        })
    }
}
