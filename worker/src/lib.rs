//! The worker: runs jobs.

pub mod bench;
pub mod config;
pub mod context;
pub mod engines;
mod exports;
mod health;
pub mod housekeeping;
pub mod jobs;
pub mod metrics;
pub mod registry;
pub mod runner;
pub mod secrets;
pub mod signature;
pub mod storage;
mod together;
mod writing;

use std::time::Duration;

use anyhow::Context as _;
use shared::{
    clients::{chat::Models, outbound::Outbound, storage::Storage, transcriber::Transcriber},
    clock::Clock,
    database,
    ledger::Ledger,
    providers::Providers,
    redis::Redis,
    scratch::Scratch,
    telemetry::log_feature,
};
use tokio::net::TcpListener;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    config::WorkerConfig,
    context::{Context, Parts},
    engines::{
        document::Poppler,
        helper::Helper,
        process::{self, Isolation},
        speech::{self, Engine, Ffmpeg, PocketSphinx, Speech, Whisper},
        tesseract::Tesseract,
    },
    jobs::Deliveries,
    metrics::Metrics,
    registry::Registry,
    runner::{Drained, Runner},
};

/// Connections for the work of jobs, unless told otherwise.
const DEFAULT_POOL_MAX: u32 = 3;
/// What keeps programs that read users' files from the network; the machine decides.
const ISOLATION: &str = "isolation of helper programs";
/// How long probes, scrapes and rows of the ledger may take that had begun when all else ended.
const LAST_TASKS: Duration = Duration::from_millis(500);

/// Makes what jobs may touch. Neither Postgres nor Redis needs to be there yet.
///
/// # Errors
/// When the storage, a client or the folder for temporary files cannot be made.
pub async fn context(config: &WorkerConfig, clock: Clock) -> anyhow::Result<Context> {
    let isolation = match process::isolation().await {
        Ok(isolation) => {
            log_feature(ISOLATION, true, isolation.name());
            isolation
        }
        Err(error) => {
            log_feature(ISOLATION, false, &error.to_string());
            Isolation::None
        }
    };
    let tesseract = Tesseract::discover(&config.tesseract, isolation).await;
    let tesseract = known("text recognition", tesseract);
    log_feature("text recognition", tesseract.is_some(), "TESSERACT");
    let poppler = Poppler::discover(config.poppler.as_deref(), isolation).await;
    let poppler = known("the reading of PDFs", poppler);
    log_feature("reading of PDFs", poppler.is_some(), "POPPLER_PATH");
    let db = database::connect(&config.common.database, config.pool_max, DEFAULT_POOL_MAX);
    let redis = Redis::connect(&config.common.redis)?;
    let keyring = config.common.secret.keyring();
    let ai = config.common.ai.clone();
    let (pool, times) = (db.clone(), clock.clone());
    let providers = Providers::new(ai, pool, redis.clone(), times, keyring.clone());
    let speech = speech(config, isolation, &providers, &clock).await?;
    let has_fonts = exports::has_fonts(&config.fonts);
    log_feature("fonts of exports", has_fonts, "FONT_PATH");
    if !has_fonts {
        tracing::warn!("PDFs of exports show Latin letters only: there are no Noto fonts");
    }
    Ok(Context::new(Parts {
        ledger: Ledger::new(
            db.clone(),
            redis.clone(),
            config.common.usage_limits,
            TaskTracker::new(),
        ),
        usage_limits: config.common.usage_limits,
        models: Models::new(clock.clone())?,
        writing: config.writing.clone(),
        db,
        redis,
        clock,
        keyring,
        providers,
        storage: Storage::open(&config.common.storage)?,
        outbound: Outbound::new(
            config.common.outbound_allow.clone(),
            config.common.allows_plain_http(),
        )?,
        tesseract,
        metrics: Metrics::default(),
        poppler,
        speech,
        helper: Helper::new(config.program.clone(), isolation),
        fonts: config.fonts.clone(),
        scratch: Scratch::open("worker").context("no folder for temporary files")?,
        deliveries: Deliveries::new(config.webhook_timeout),
    }))
}

/// What transcribes, in the order of the chain; nothing where sounds cannot be decoded.
async fn speech(
    config: &WorkerConfig,
    isolation: Isolation,
    providers: &Providers,
    clock: &Clock,
) -> anyhow::Result<Option<Speech>> {
    let config_of = &config.speech;
    let mut engines = Vec::new();
    for (name, variable) in [("groq", "GROQ_API_KEYS"), ("openai", "OPENAI_API_KEYS")] {
        log_feature(
            &format!("transcription by {name}"),
            providers.has(name),
            variable,
        );
        let mut remotes = config_of.remotes.iter();
        // One without keys may be given some while this worker runs.
        if let Some((name, model)) = remotes.find(|(remote, _)| **remote == *name) {
            let (name, model) = (name.clone(), model.clone());
            let remote = Transcriber::new(name, model, providers.clone(), clock.clone())?;
            engines.push(Engine::Remote(remote.with_timeout(config_of.timeout)));
        }
    }
    let whisper = config_of.whisper_model.as_ref().and_then(|model| {
        let program = config.program.with_file_name(speech::WHISPER);
        known("whisper.cpp", Whisper::discover(&program, model, isolation))
    });
    log_feature(
        "transcription by whisper.cpp",
        whisper.is_some(),
        "WHISPER_MODEL_PATH",
    );
    engines.extend(whisper.map(Engine::Whisper));
    let sphinx = PocketSphinx::discover(&config_of.pocketsphinx, isolation).await;
    let sphinx = known("pocketsphinx", sphinx);
    log_feature(
        "transcription of English by pocketsphinx",
        sphinx.is_some(),
        "POCKETSPHINX",
    );
    engines.extend(sphinx.map(Engine::PocketSphinx));
    let ffmpeg = known(
        "ffmpeg",
        Ffmpeg::discover(config_of.ffmpeg.as_deref(), isolation),
    );
    log_feature("decoding of sound", ffmpeg.is_some(), "FFMPEG_PATH");
    Ok(ffmpeg.map(|ffmpeg| Speech {
        ffmpeg,
        engines,
        longest: config_of.longest,
    }))
}

/// What was found, or why it was not, in the log.
fn known<T, E: std::error::Error>(name: &str, found: Result<T, E>) -> Option<T> {
    found
        .inspect_err(|error| tracing::warn!(error = %error, "{name} is not available"))
        .ok()
}

/// Runs jobs until `stop`, and then ends in order.
///
/// # Errors
/// When something cannot be set up.
pub async fn run(
    config: WorkerConfig,
    registry: Registry,
    stop: CancellationToken,
) -> anyhow::Result<Drained> {
    log_feature("health port", config.health.is_some(), "WORKER_PORT");
    log_feature(
        "private addresses for webhooks",
        !config.common.outbound_allow.is_empty(),
        "OUTBOUND_ALLOW",
    );
    log_feature(
        "error reports to Sentry",
        config.common.telemetry.sentry.is_some(),
        "SENTRY_DSN",
    );
    log_feature(
        "the bearer token of /metrics",
        config.common.metrics_token.is_some(),
        "METRICS_TOKEN",
    );
    let health = match config.health {
        Some(address) => Some(
            TcpListener::bind(address)
                .await
                .with_context(|| format!("WORKER_PORT: cannot listen on {address}"))?,
        ),
        None => None,
    };
    let context = context(&config, Clock::System).await?;
    let queues: Vec<String> = config
        .settings
        .slots
        .iter()
        .map(|(queue, slots)| format!("{queue}={slots}"))
        .collect();
    tracing::info!(
        worker = config.settings.worker_id,
        "serving {}",
        queues.join(",")
    );
    let database = &config.common.database;
    let runner = Runner::start(
        config.settings,
        context.clone(),
        registry,
        &database.direct,
        &config.common.redis,
    )?;

    let tasks = TaskTracker::new();
    context.providers.follow(&tasks, stop.clone())?;
    let health_stop = CancellationToken::new();
    tasks.spawn(
        stop.clone()
            .run_until_cancelled_owned(housekeeping::run(context.clone())),
    );
    if let Some(listener) = health {
        tasks.spawn(health::serve(
            listener,
            runner.engine().clone(),
            config.common.metrics_token,
            health_stop.clone(),
        ));
    }
    let broken = tokio::select! {
        () = stop.cancelled() => false,
        () = runner.broken() => true,
    };
    if broken {
        tracing::error!(
            "a part of the engine ended; shutting down, so that the worker is started again"
        );
    }
    let drained = runner.shutdown().await;
    health_stop.cancel();
    tasks.close();
    let _ = tokio::join!(
        tokio::time::timeout(LAST_TASKS, tasks.wait()),
        context.ledger.finish(LAST_TASKS),
    );
    anyhow::ensure!(!broken, "a part of the engine ended; the log says why");
    Ok(drained)
}
