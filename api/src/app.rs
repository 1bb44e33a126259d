//! The state every handler receives.

use std::{
    ops::Deref,
    sync::{Arc, Once},
    time::Duration,
};

use anyhow::Context as _;
use sea_orm::DatabaseConnection;
use shared::{
    clients::{chat::Models, outbound::Outbound, storage::Storage, transcriber::Transcribers},
    clock::Clock,
    database::{self, Origin, Tx},
    keyring::{Keyring, random},
    ledger::Ledger,
    providers::Providers,
    redis::Redis,
    scratch::Scratch,
    tokens::Measures,
    tools::Tools,
};
use tokio::sync::Semaphore;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    caller::Caller, chat::Chat, config::ApiConfig, error::Result, extract::Rooms,
    jobs::watch::Watch, limits::Limits, metrics::Metrics, middleware::RequestId, write::Write,
};

/// How services of tools are told who asks; their operators want to know whom to write to.
const PROGRAM: &str = concat!("BaatCheet/", env!("CARGO_PKG_VERSION"));
/// Sounds that are received and sent on at once: each is a file of up to 25 MiB, unless told otherwise.
const SOUNDS: usize = 8;
/// Connections to the database, unless told otherwise.
const DEFAULT_POOL_MAX: u32 = 8;

/// Everything a handler may touch; cheap to clone.
#[derive(Clone)]
pub(crate) struct App(Arc<Parts>);

/// The parts of an [`App`].
pub(crate) struct Parts {
    /// The configuration.
    pub config: ApiConfig,
    /// Postgres.
    pub db: DatabaseConnection,
    /// Redis.
    pub redis: Redis,
    /// The time.
    pub clock: Clock,
    /// Keys of this deployment.
    pub keyring: Keyring,
    /// Where uploads are kept.
    pub storage: Storage,
    /// The only way to a user's URL.
    pub outbound: Outbound,
    /// Passwords being hashed at once: each takes 19 MiB and a core.
    pub hashing: Arc<Semaphore>,
    /// How many bytes of large bodies are kept at once.
    pub bodies: Rooms,
    /// For sounds that are sent on.
    pub scratch: Scratch,
    /// Sounds that are there at once.
    pub sounds: Arc<Semaphore>,
    /// How often things may be done.
    pub limits: Limits,
    /// Tells of changes of jobs.
    pub watch: Watch,
    /// Answers of models.
    pub chat: Chat,
    /// Whom to ask for them, and with which key.
    pub providers: Providers,
    /// Whom to ask what is said in a sound.
    pub transcribers: Transcribers,
    /// Where it is written what they were asked.
    pub ledger: Ledger,
    /// How tokens are counted.
    pub tokens: Measures,
    /// What models may call.
    pub tools: Tools,
    /// What is counted.
    pub metrics: Metrics,
    /// Whether it was told that a proxy is not trusted.
    pub unknown_proxy: Once,
    /// Owns spawned tasks.
    pub tasks: TaskTracker,
    /// Cancelled when the API is to go down: requests should be sent to others.
    pub stop: CancellationToken,
    /// Cancelled some seconds later, when no requests are taken any more: streams must end.
    pub closing: CancellationToken,
    /// When the API started.
    pub started: std::time::Instant,
}

impl Deref for App {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

impl App {
    /// Makes the state. Neither Postgres nor Redis needs to be there yet.
    ///
    /// # Errors
    /// When the storage, a client or the folder for temporary files cannot be made.
    pub(crate) fn new(
        config: ApiConfig,
        clock: Clock,
        stop: CancellationToken,
        closing: CancellationToken,
    ) -> anyhow::Result<Self> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let db = database::connect(&config.common.database, config.pool_max, DEFAULT_POOL_MAX);
        let redis = Redis::connect(&config.common.redis)?;
        let tasks = TaskTracker::new();
        let watch = Watch::start(db.clone(), &redis, &tasks, closing.clone())?;
        let keyring = config.common.secret.keyring();
        let ai = config.common.ai.clone();
        let providers = Providers::new(
            ai,
            db.clone(),
            redis.clone(),
            clock.clone(),
            keyring.clone(),
        );
        providers.follow(&tasks, closing.clone())?;
        let models = Models::new(clock.clone())?.with_silence(config.chat.provider_silence);
        let agent = format!("{PROGRAM} (+{})", config.public_url);
        let tools = Tools::new(&config.tools, &agent, &redis, clock.clone(), &tasks)?;
        tools.follow(&closing);
        let transcribers = Transcribers::new(providers.clone(), clock.clone())?;
        Ok(Self(Arc::new(Parts {
            keyring,
            providers,
            transcribers,
            ledger: Ledger::new(
                db.clone(),
                redis.clone(),
                config.common.usage_limits,
                tasks.clone(),
            ),
            tokens: Measures::new(config.common.token_encoding),
            storage: Storage::open(&config.common.storage)?,
            outbound: Outbound::new(
                config.common.outbound_allow.clone(),
                config.common.allows_plain_http(),
            )?,
            hashing: Arc::new(Semaphore::new(cores)),
            bodies: Rooms::default(),
            scratch: Scratch::open("api").context("no folder for temporary files")?,
            sounds: Arc::new(Semaphore::new(SOUNDS)),
            limits: Limits::new(redis.clone(), clock.clone()),
            chat: Chat::new(models, &db, closing.clone()),
            db,
            redis,
            clock,
            watch,
            tools,
            metrics: Metrics::default(),
            unknown_proxy: Once::new(),
            tasks,
            stop,
            closing,
            started: std::time::Instant::now(),
            config,
        })))
    }

    /// Begins a transaction for a caller; its jobs carry the caller and the request's id.
    ///
    /// # Errors
    /// When no connection is to be had, or when the request was carried out before.
    pub(crate) async fn begin(&self, caller: &Caller, request: &RequestId) -> Result<Write> {
        let origin = Origin {
            user: Some(caller.user),
            request_id: Some(request.id.clone()),
            traceparent: request.traceparent.clone(),
        };
        let mut tx = Tx::begin(&self.db, &self.redis, origin).await?;
        let once = match &request.repeatable {
            Some(repeatable) => {
                let now = self.clock.now();
                Some(
                    repeatable
                        .begin(&mut tx, &self.keyring, caller.user, now)
                        .await?,
                )
            }
            None => None,
        };
        Ok(Write::new(self, tx, once))
    }

    /// Begins a transaction for somebody whom we do not know yet.
    ///
    /// # Errors
    /// When no connection is to be had.
    pub(crate) async fn begin_anonymous(&self, request: &RequestId) -> Result<Tx> {
        let origin = Origin {
            user: None,
            request_id: Some(request.id.clone()),
            traceparent: request.traceparent.clone(),
        };
        Ok(Tx::begin(&self.db, &self.redis, origin).await?)
    }

    /// A time around this one, so that not all try again at once.
    #[expect(
        clippy::unused_self,
        reason = "randomness belongs to the app, as time does"
    )]
    pub(crate) fn pause(&self, about: Duration) -> Duration {
        let random = f64::from(u32::from_le_bytes(random())) / f64::from(u32::MAX);
        about.mul_f64(0.5 + random)
    }

    /// How long the API has run.
    pub(crate) fn uptime(&self) -> Duration {
        self.started.elapsed()
    }
}
