//! The engine's running half: rows become ids in Redis, ids become claims, claims become runs, runs become ends.
//!
//! `dispatch` moves due rows' ids to Redis · `transport` takes them as free `slots` allow · `claim` makes rows
//! ours · `execute` runs them · `finish` ends them · `lease` keeps them ours · `sweep` finds what was lost ·
//! `wake` hears what happens elsewhere. Only `transport` and this file know apalis.

mod claim;
mod dispatch;
mod execute;
mod failure;
mod finish;
mod inline;
mod lease;
mod session;
mod slots;
mod sweep;
mod transport;
mod wake;

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use apalis::prelude::{Monitor, WorkerBuilder};
use shared::{ids::JobId, queue::Queue};
use sqlx::postgres::PgConnectOptions;
use tokio::sync::{Notify, Semaphore, mpsc};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::{
    claim::ClaimRequest,
    finish::Finished,
    session::{Durability, Session},
    slots::SlotLayer,
    transport::{JobRef, QueueBackend, Transport},
};
pub(crate) use self::{
    claim::Claimed,
    failure::{FailedRun, Tries},
};
pub use self::{
    dispatch::{DISPATCH, PEEK},
    inline::Inline,
    session::SESSION_SETTINGS,
};
use crate::{context::Context, registry::Registry};

/// Ends that may wait for their statement; a job that ends when it is full waits.
const FINISH_CHANNEL: usize = 2048;
/// How long the last statements may take after the grace is over.
const LAST_STATEMENTS: Duration = Duration::from_secs(2);
/// How long the loops may take to end after that.
const LAST_LOOPS: Duration = Duration::from_secs(1);

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
    /// Its end could not be written, and will not be: it stays noted until its lease has run out.
    abandoned: AtomicBool,
}

impl Run {
    /// Stops it. The first reason counts.
    fn stop(&self, why: Stop) {
        self.why
            .lock()
            .expect("nothing panics while it holds this lock")
            .get_or_insert(why);
        self.stop.cancel();
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

/// A running engine.
pub struct Runner {
    engine: Arc<Engine>,
    /// Ends everything that takes new jobs.
    intake: CancellationToken,
    /// Ends everything else.
    rest: CancellationToken,
    tasks: TaskTracker,
    takers: tokio::task::JoinHandle<()>,
    finisher: tokio::task::JoinHandle<()>,
}

impl Runner {
    /// Starts the engine. Neither Postgres nor Redis needs to be there yet.
    ///
    /// # Errors
    /// When the Redis URL cannot be used.
    pub fn start(
        settings: Settings,
        context: Context,
        registry: Registry,
        direct: &PgConnectOptions,
        redis: &shared::config::RedisConfig,
    ) -> anyhow::Result<Self> {
        let transport = Transport::new(redis)?;
        let (engine, ends) = Engine::new(settings, context, registry, direct, transport);
        let (intake, rest, tasks) = (
            CancellationToken::new(),
            CancellationToken::new(),
            TaskTracker::new(),
        );
        let (claims, requests) = mpsc::unbounded_channel();

        tasks.spawn(guarded(
            &engine,
            intake.clone(),
            wake::listen(engine.clone()),
        ));
        tasks.spawn(guarded(
            &engine,
            intake.clone(),
            dispatch::run(engine.clone()),
        ));
        tasks.spawn(guarded(&engine, intake.clone(), sweep::run(engine.clone())));
        tasks.spawn(guarded(&engine, rest.clone(), lease::run(engine.clone())));
        let claiming = tasks.spawn(guarded(
            &engine,
            rest.clone(),
            claim::run(engine.clone(), requests),
        ));
        let finisher = tasks.spawn(guarded(
            &engine,
            rest.clone(),
            finish::run(engine.clone(), ends),
        ));
        let takers = take(engine.clone(), claims, claiming, intake.clone());
        let takers = tasks.spawn(guarded(&engine, rest.clone(), takers));
        Ok(Self {
            engine,
            intake,
            rest,
            tasks,
            takers,
            finisher,
        })
    }

    /// The engine, for health checks.
    pub fn engine(&self) -> &Arc<Engine> {
        &self.engine
    }

    /// Waits for ever, unless a part of the engine ends or panics: then nothing would be done any more.
    pub async fn broken(&self) {
        self.engine.broken.cancelled().await;
    }

    /// Stops taking jobs, waits for those that run, gives back those that do not end within the grace.
    pub async fn shutdown(self) -> Drained {
        let grace = self.engine.settings.shutdown_grace;
        let deadline = tokio::time::Instant::now() + grace;
        tracing::info!(
            running = self.engine.running().len(),
            "stopping: no more jobs are taken"
        );
        self.engine.stopping.store(true, Ordering::Release);
        self.intake.cancel();
        let quiet = async {
            let _ = self.takers.await;
            self.engine.wait_until_idle().await;
        };
        let whole = tokio::time::timeout_at(deadline, quiet).await.is_ok();

        let mut drained = Drained::Whole;
        if !whole {
            let left = self.engine.running().len();
            tracing::warn!(
                jobs = left,
                "the grace is over: giving back what still runs"
            );
            drained = Drained::Released(left);
            self.engine.closing.store(true, Ordering::Release);
            self.engine.stop(Stop::Released, |_| true);
            self.engine.runs.close();
            let _ = tokio::time::timeout(LAST_STATEMENTS, self.engine.runs.wait()).await;
        }
        self.rest.cancel();
        self.finisher.abort();
        self.tasks.close();
        let _ = tokio::time::timeout(LAST_LOOPS, self.tasks.wait()).await;
        drained
    }
}

/// Runs a part of the engine until `stop`, and raises the alarm if it ends before the shutdown, by a panic too.
fn guarded<P: Future<Output = ()> + Send>(
    engine: &Arc<Engine>,
    stop: CancellationToken,
    part: P,
) -> impl Future<Output = ()> + Send + use<P> {
    let (alarm, engine) = (engine.broken.clone().drop_guard(), engine.clone());
    async move {
        let ended = stop.run_until_cancelled(part).await.is_some();
        if !ended || engine.stopping.load(Ordering::Acquire) {
            alarm.disarm();
        }
    }
}

impl Engine {
    async fn wait_until_idle(&self) {
        loop {
            let ended = self.run_ended.notified();
            tokio::pin!(ended);
            ended.as_mut().enable();
            if self
                .running()
                .values()
                .all(|run| run.abandoned.load(Ordering::Relaxed))
            {
                return;
            }
            ended.await;
        }
    }
}

/// Runs the apalis side: one worker per queue, each taking ids as slots come free.
async fn take(
    engine: Arc<Engine>,
    claims: mpsc::UnboundedSender<ClaimRequest>,
    claiming: tokio::task::JoinHandle<()>,
    intake: CancellationToken,
) {
    let mut monitor = Monitor::new();
    for (&queue, lane) in &engine.lanes {
        let (engine, slots, claims) = (engine.clone(), lane.slots.clone(), claims.clone());
        monitor = monitor.register(move |_| {
            let claims = claims.clone();
            WorkerBuilder::new(queue.name())
                .backend(QueueBackend::new(engine.clone(), queue))
                .layer(SlotLayer::new(slots.clone()))
                .build(move |job: JobRef| {
                    let claims = claims.clone();
                    // The slot goes on to the job's own task, so the handler is done at once. It looks for the slot
                    // when it is polled: only then is the task-local there.
                    async move {
                        if let Some(slot) = slots::take() {
                            let _ = claims.send(ClaimRequest { id: job.0, slot });
                        }
                    }
                })
        });
    }
    drop(claims);
    let signal = async {
        intake.cancelled().await;
        Ok(())
    };
    if let Err(error) = monitor.run_with_signal(signal).await {
        tracing::error!(error = %error, "the job runtime ended with an error");
    }
    // All senders are gone: the claimer ends after what it was given.
    let _ = claiming.await;
}
