//! Everything a job may touch, and the fence around what it writes.

mod fenced;

use std::{
    ops::Deref,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use sea_orm::{ConnectionTrait as _, DatabaseConnection, DbBackend, Statement};
use shared::{
    clients::{chat::Models, outbound::Outbound, storage::Storage},
    clock::Clock,
    config::UsageLimits,
    database::{Error, Origin, Tx},
    ids::{JobId, UserId},
    keyring::Keyring,
    ledger::{Ledger, Noted},
    models::{
        usage,
        usage_month::{self, Used},
    },
    providers::Providers,
    queue::LiveJob,
    redis::Redis,
    scratch::Scratch,
};

pub use self::fenced::FencedTx;
use crate::{
    config::WritingConfig,
    engines::{document::Poppler, helper::Helper, speech::Speech, tesseract::Tesseract},
    jobs::Deliveries,
    metrics::{self, Counts, Fate, Metrics},
    runner::{Cancel, Claimed, Tries},
};

/// Least time between two progress reports of a run.
const PROGRESS_EVERY: Duration = Duration::from_millis(500);
/// Between two tries to store an effect while Postgres is away.
const AWAY_PAUSE: Duration = Duration::from_millis(500);

/// What all jobs share; cheap to clone.
#[derive(Clone)]
pub struct Context(Arc<Parts>);

/// The parts of a [`Context`].
pub struct Parts {
    /// Postgres.
    pub db: DatabaseConnection,
    /// Redis.
    pub redis: Redis,
    /// The time.
    pub clock: Clock,
    /// Keys of this deployment.
    pub keyring: Keyring,
    /// Where uploads are.
    pub storage: Storage,
    /// The only way to a user's URL.
    pub outbound: Outbound,
    /// Reads text; nothing where it is not installed.
    pub tesseract: Option<Tesseract>,
    /// What is counted.
    pub metrics: Metrics,
    /// Opens PDFs; nothing where it is not installed.
    pub poppler: Option<Poppler>,
    /// Whom to ask, and with which key.
    pub providers: Providers,
    /// The way to all models that answer.
    pub models: Models,
    /// What models write on their own.
    pub writing: WritingConfig,
    /// Where it is written what was asked.
    pub ledger: Ledger,
    /// What users may use in a month.
    pub usage_limits: UsageLimits,
    /// Writes down what is said; nothing where sounds cannot be decoded.
    pub speech: Option<Speech>,
    /// Does work that must not be able to harm this process.
    pub helper: Helper,
    /// Where fonts are.
    pub fonts: PathBuf,
    /// For what is made on the way.
    pub scratch: Scratch,
    /// What deliveries share.
    pub deliveries: Deliveries,
}

impl Deref for Context {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

impl Context {
    /// Makes the context of a worker.
    pub fn new(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }

    /// Begins a transaction of the engine.
    pub(crate) async fn begin(&self) -> Result<Tx, Error> {
        Tx::begin(&self.db, &self.redis, Origin::default()).await
    }

    /// Finds a limit that a user has reached this month: nothing that costs is asked for them then.
    ///
    /// # Errors
    /// As the database fails.
    pub(crate) async fn reached_limit(&self, user: UserId) -> Result<Option<Used>, Error> {
        let now = self.clock.now();
        usage_month::find_reached(&self.db, &self.usage_limits, user, now).await
    }

    /// Begins a transaction on behalf of a job: what it enqueues has the job's user and request id.
    pub(crate) async fn begin_for(&self, job: &Claimed) -> Result<Tx, Error> {
        Tx::begin(&self.db, &self.redis, job.origin()).await
    }

    /// A random number in 0..1, for jitter.
    #[expect(
        clippy::unused_self,
        reason = "randomness belongs to the context, as time does"
    )]
    pub(crate) fn random(&self) -> f64 {
        let bytes = u32::from_le_bytes(shared::keyring::random());
        f64::from(bytes) / (f64::from(u32::MAX) + 1.0)
    }
}

/// What one run may touch.
pub struct JobContext {
    context: Context,
    origin: Origin,
    id: JobId,
    epoch: i32,
    tries: Tries,
    counts: Arc<Counts>,
    cancel: Arc<Cancel>,
    reported: Mutex<Option<Instant>>,
}

impl Deref for JobContext {
    type Target = Context;

    fn deref(&self) -> &Context {
        &self.context
    }
}

/// The run does not own its job any more: another worker has it, or it was cancelled. Nothing is written.
#[derive(Debug, thiserror::Error)]
#[error("the job is not ours any more")]
pub struct LostJob;

impl JobContext {
    pub(crate) fn new(
        context: Context,
        job: &Claimed,
        tries: Tries,
        counts: Arc<Counts>,
        cancel: Arc<Cancel>,
    ) -> Self {
        let (id, epoch) = job.key();
        Self {
            context,
            origin: job.origin(),
            id,
            epoch,
            tries,
            counts,
            cancel,
            reported: Mutex::new(None),
        }
    }

    /// The job.
    pub fn id(&self) -> JobId {
        self.id
    }

    /// The job and the fence of this run.
    pub(crate) fn run(&self) -> (JobId, i32) {
        (self.id, self.epoch)
    }

    /// The trace of who wanted it.
    pub(crate) fn traceparent(&self) -> Option<&str> {
        self.origin.traceparent.as_deref()
    }

    /// The run has ended its job with success by a statement of its own.
    pub(crate) async fn succeeded(&self) {
        self.counts.ended(Fate::Ended(metrics::Outcome::Succeeded));
        if self.origin.user.is_some() {
            self.redis
                .publish(self.redis.keys().changed(), self.id.to_string())
                .await;
        }
    }

    /// Tries in all.
    pub(crate) fn max_attempts(&self) -> i32 {
        self.tries.max_attempts
    }

    /// Which run this is: 1, 2, …
    pub fn attempt(&self) -> i32 {
        self.tries.attempt
    }

    /// Begins the transaction in which the run stores its effect and ends its job.
    ///
    /// The job's row is locked, so that nobody takes the job over in between.
    ///
    /// # Errors
    /// [`LostJob`] when this run does not own the job any more, or the user has cancelled it.
    pub async fn fenced(&self) -> anyhow::Result<FencedTx> {
        let tx = self.fenced_late().await?;
        if tx.job.cancel_requested {
            tx.cancel().await?;
            return Err(LostJob.into());
        }
        Ok(tx)
    }

    /// Resolves when the user does not want the job any more. A run that looks for this is not dropped at once then: it has a few
    /// seconds to write down what it has done, by [`Self::fenced_late`].
    pub(crate) async fn cancelled(&self) {
        self.cancel.asked().await;
    }

    /// Begins the same transaction also when the user has cancelled the job, for what was done and cannot be undone.
    ///
    /// # Errors
    /// [`LostJob`] when this run does not own the job any more.
    pub(crate) async fn fenced_late(&self) -> anyhow::Result<FencedTx> {
        let (tx, job) = loop {
            match self.lock().await {
                // The work is done: waiting for Postgres is better than doing it again. The job's time limit bounds it.
                Err(Error::Unavailable(error)) => {
                    tracing::debug!(error = %error, "waiting for postgres to store a job's effect");
                    tokio::time::sleep(AWAY_PAUSE).await;
                }
                locked => {
                    let (tx, job) = locked?;
                    let Some(job) = job else {
                        self.metrics.fenced.inc();
                        return Err(LostJob.into());
                    };
                    break (tx, job);
                }
            }
        };
        Ok(FencedTx {
            tx,
            job,
            tries: self.tries,
            counts: self.counts.clone(),
            random: self.random(),
        })
    }

    async fn lock(&self) -> Result<(Tx, Option<LiveJob>), Error> {
        let tx = Tx::begin(&self.db, &self.redis, self.origin.clone()).await?;
        let job = LiveJob::lock_run(&tx, self.id, self.epoch).await?;
        Ok((tx, job))
    }

    /// Notes that this run is about to ask a server, which has to be done before; `estimate` is the row of the ledger that this
    /// becomes where the worker dies meanwhile. Waits while Postgres is away.
    ///
    /// # Errors
    /// As the database fails otherwise.
    pub(crate) async fn note(&self, estimate: usage::Model) -> Result<Noted, Error> {
        self.ledger.note(self.id, self.epoch, estimate).await
    }

    /// Reports how far the run has come, in percent, with a few words for the user. At most two reports a second
    /// are kept, and none that comes from a run that lost its job. A report that cannot be stored is dropped.
    pub async fn progress(&self, percent: u8, note: &str) {
        {
            let mut reported = self
                .reported
                .lock()
                .expect("nothing panics while it holds this lock");
            if reported.is_some_and(|at| at.elapsed() < PROGRESS_EVERY) {
                return;
            }
            *reported = Some(Instant::now());
        }
        let stored = self
            .db
            .execute_raw(Statement::from_sql_and_values(
                DbBackend::Postgres,
                "UPDATE jobs SET progress = $3, progress_note = $4
                  WHERE id = $1 AND epoch = $2 AND (state = 'running') IS TRUE",
                [
                    self.id.into(),
                    self.epoch.into(),
                    i16::from(percent.min(99)).into(),
                    note.into(),
                ],
            ))
            .await;
        match stored {
            Ok(_) if self.origin.user.is_some() => {
                self.redis
                    .publish(self.redis.keys().changed(), self.id.to_string())
                    .await;
            }
            Ok(_) => {}
            Err(error) => tracing::debug!(error = %error, "a report of progress was dropped"),
        }
    }
}
