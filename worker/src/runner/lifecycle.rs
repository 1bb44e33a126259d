//! Starting the engine's parts, and ending them in order.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use apalis::prelude::{Monitor, WorkerBuilder};
use sqlx::postgres::PgConnectOptions;
use tokio::sync::mpsc;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    Drained, Engine, Settings, Stop,
    claim::{self, ClaimRequest},
    dispatch, figures, finish, lease,
    slots::{self, SlotLayer},
    sweep,
    transport::{JobRef, QueueBackend, Transport},
    wake,
};
use crate::{context::Context, registry::Registry};

/// How long the last statements may take after the grace is over.
const LAST_STATEMENTS: Duration = Duration::from_secs(2);
/// How long the loops may take to end after that.
const LAST_LOOPS: Duration = Duration::from_secs(1);

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
        tasks.spawn(guarded(
            &engine,
            intake.clone(),
            figures::run(engine.clone()),
        ));
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
