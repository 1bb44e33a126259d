//! The product under test, in this process: its API, and a worker whose jobs run when a test says so.

mod jobs;
mod keys;
mod options;
mod people;

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use api::config::{ApiArgs, ApiConfig};
use chrono::DateTime;
use shared::{
    clock::Clock,
    config::CommonArgs,
    database::{Origin, Tx},
};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;
use worker::{
    config::{WorkerArgs, WorkerConfig},
    context::Context,
    registry::Registry,
    runner::Inline,
};

pub use self::{keys::secret_keys, options::Options};
use crate::{TestDatabase, database, process};

/// Longest wait for Redis where a key is picked: a machine that is busy with tests is no outage.
const SCRIPT_LIMIT: Duration = Duration::from_secs(2);

/// For tests only; it is no secret.
pub const SECRET_KEY: &str = "a key for tests that is thirty-two bytes and more";

/// The product.
pub struct TestApp {
    pub base: String,
    pub database: TestDatabase,
    pub clock: Clock,
    pub folder: tempfile::TempDir,
    pub storage_url: String,
    pub prefix: String,
    pub redis_url: String,
    pub context: Context,
    pub worker: WorkerConfig,
    config: Box<ApiConfig>,
    registry: Registry,
    inline: tokio::sync::Mutex<Inline>,
    stop: CancellationToken,
    api: JoinHandle<anyhow::Result<api::Drained>>,
    finished: AtomicBool,
    expected_failures: std::sync::atomic::AtomicI64,
}

impl TestApp {
    /// Starts the API with a frozen clock; jobs run when `run_jobs` is called.
    pub async fn spawn() -> Self {
        Self::with(Options::default()).await
    }

    /// Starts the API with a running clock, for tests that start workers.
    pub async fn spawn_live() -> Self {
        Self::with(Options {
            live: true,
            ..Options::default()
        })
        .await
    }

    pub async fn with(options: Options) -> Self {
        Box::pin(Self::open(options)).await
    }

    async fn open(options: Options) -> Self {
        let server = options
            .postgres_url
            .unwrap_or_else(|| database::server("TEST_DATABASE_URL"));
        let database = TestDatabase::create_on(&server).await;
        let clock = if options.live {
            Clock::System
        } else {
            let at = DateTime::parse_from_rfc3339("2026-01-02T03:04:05Z")
                .unwrap()
                .to_utc();
            database.freeze(at).await;
            Clock::frozen(at)
        };
        let folder = tempfile::tempdir().expect("a folder");
        let storage_url = options
            .storage_url
            .unwrap_or_else(|| format!("file://{}", folder.path().display()));
        let prefix = format!("{}:", database.name);
        let mut providers = options.providers;
        if options.redis_url.is_none() {
            providers.script_limit.get_or_insert(SCRIPT_LIMIT);
        }
        let redis_url = options
            .redis_url
            .unwrap_or_else(|| database::server("TEST_REDIS_URL"));
        let common = CommonArgs {
            environment: options.environment.or(Some("test".to_owned())),
            providers,
            usage_limits: options.usage_limits,
            database_url: Some(database.url.clone()),
            redis_url: Some(redis_url.clone()),
            redis_prefix: Some(prefix.clone()),
            secret_key: Some(SECRET_KEY.to_owned()),
            storage_url: Some(storage_url.clone()),
            outbound_allow: Some(
                options
                    .outbound_allow
                    .unwrap_or_else(|| "127.0.0.0/8,::1/128".to_owned()),
            ),
            metrics_token: options.metrics_token,
            token_fallback_encoding: options.token_fallback_encoding,
            ..CommonArgs::default()
        };
        let args = ApiArgs {
            host: Some("127.0.0.1".to_owned()),
            port: Some("0".to_owned()),
            // Everybody in a test comes from one address.
            rate_limit_auth: options.api.rate_limit_auth.or(Some("off".to_owned())),
            // Nothing stands before it that would go on sending requests.
            shutdown_delay_seconds: options.api.shutdown_delay_seconds.or(Some("0".to_owned())),
            // Jobs and calls of models that a test has not asked for.
            auto_summary: options.api.auto_summary.or(Some("false".to_owned())),
            auto_title: options.api.auto_title.or(Some("false".to_owned())),
            ..options.api
        };
        let config: ApiConfig = api::config::Args {
            common: common.clone(),
            api: args,
            command: None,
        }
        .check()
        .expect("a good configuration of the API");
        let worker = WorkerArgs {
            job_lease_seconds: options
                .worker
                .job_lease_seconds
                .clone()
                .or(Some("30".to_owned())),
            ..options.worker
        };
        let mut worker: WorkerConfig = worker::config::Args {
            common,
            worker,
            command: None,
        }
        .check()
        .expect("a good configuration of the worker");
        worker.program = process::program("baatcheet-worker");
        if let Some(timeout) = options.transcription_timeout {
            worker.speech.timeout = timeout;
        }

        let stop = CancellationToken::new();
        let (base, api) = Box::pin(serve(&config, &clock, &stop)).await;

        let context = Box::pin(worker::context(&worker, clock.clone()))
            .await
            .expect("a worker's context");
        let registry = options.registry.unwrap_or_else(Registry::all);
        let direct = &worker.common.database.direct;
        let inline = Inline::new(
            worker.settings.clone(),
            context.clone(),
            registry.clone(),
            direct,
            &worker.common.redis,
        );
        Self {
            base,
            clock,
            folder,
            storage_url,
            prefix,
            redis_url,
            inline: tokio::sync::Mutex::new(inline.expect("an engine")),
            context,
            worker,
            config: Box::new(config),
            registry,
            database,
            stop,
            api,
            finished: AtomicBool::new(false),
            expected_failures: 0.into(),
        }
    }

    /// Starts another instance of the API in this process, with the same clock, and tells its address.
    pub async fn another_api(&self) -> String {
        let (base, _) = Box::pin(serve(&self.config, &self.clock, &self.stop)).await;
        base
    }

    /// Moves the clock of the API, the jobs and the database.
    pub async fn advance(&self, by: Duration) {
        self.clock.advance(by);
        self.database.set_clock(self.clock.now()).await;
    }

    /// Begins a transaction, as a handler would.
    pub async fn begin(&self) -> Tx {
        Tx::begin(&self.context.db, &self.context.redis, Origin::default())
            .await
            .expect("a transaction")
    }

    /// Allows for jobs that end without success.
    pub fn expect_failed(&self, jobs: i64) {
        self.expected_failures.store(jobs, Ordering::SeqCst);
    }

    /// The variables of a real program that belongs to this product.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        vec![
            ("ENVIRONMENT", "test".to_owned()),
            ("DATABASE_URL", self.database.url.clone()),
            ("REDIS_URL", self.redis_url.clone()),
            ("REDIS_PREFIX", self.prefix.clone()),
            ("SECRET_KEY", SECRET_KEY.to_owned()),
            ("STORAGE_URL", self.storage_url.clone()),
            ("OUTBOUND_ALLOW", "127.0.0.0/8".to_owned()),
            ("LOG_FORMAT", "json".to_owned()),
            ("SHUTDOWN_DELAY_SECONDS", "0".to_owned()),
            ("AUTO_SUMMARY", "false".to_owned()),
            ("AUTO_TITLE", "false".to_owned()),
        ]
    }

    /// Ends the product, and fails a test that leaves dead or forgotten jobs.
    pub async fn finish(self) {
        self.finished.store(true, Ordering::SeqCst);
        let dead: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM jobs WHERE state IN ('failed', 'quarantined')",
        )
        .fetch_one(self.database.pool())
        .await
        .expect("a count");
        assert_eq!(
            dead,
            self.expected_failures.load(Ordering::SeqCst),
            "dead jobs"
        );
        assert_eq!(self.count_live_jobs().await, 0, "forgotten jobs");
        self.stop.cancel();
    }

    /// Stops the API, as a signal does.
    pub async fn stop_api(&mut self) -> api::Drained {
        self.stop.cancel();
        (&mut self.api).await.expect("no panic").expect("no error")
    }
}

/// Starts an API, which ends with `stop`.
async fn serve(
    config: &ApiConfig,
    clock: &Clock,
    stop: &CancellationToken,
) -> (String, JoinHandle<anyhow::Result<api::Drained>>) {
    let listener = TcpListener::bind(config.address).await;
    let listener = listener.expect("a free port");
    let base = format!("http://{}", listener.local_addr().unwrap());
    let serving = api::serve(config.clone(), clock.clone(), listener, stop.clone());
    #[expect(clippy::disallowed_methods, reason = "it ends with the product")]
    let serving = tokio::spawn(serving);
    (base, serving)
}

impl Drop for TestApp {
    fn drop(&mut self) {
        self.stop.cancel();
        assert!(
            std::thread::panicking() || self.finished.load(Ordering::SeqCst),
            "a test ends with app.finish(), which looks for dead and forgotten jobs"
        );
    }
}
