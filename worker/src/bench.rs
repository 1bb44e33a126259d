//! `baatcheet-worker bench`: what the engine itself costs, with jobs that do nothing.
//!
//! Postgres, Redis, the producer and the worker share the machine, so the figures are those of a small server, not of
//! the engine alone.

use std::{
    collections::{BTreeMap, HashMap},
    io::{IsTerminal as _, Write as _},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use futures::FutureExt as _;
use indicatif::{ProgressBar, ProgressStyle};
use serde::{Deserialize, Serialize};
use shared::{
    clock::Clock,
    database::{Origin, Tx},
    ids::{JobId, UserId},
    queue::{self, Enqueue, Job, Queue},
};
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

use crate::{config::WorkerConfig, jobs::Outcome, registry::Registry, runner::Runner};

/// The queue that the jobs wait in. Nothing else may wait there meanwhile.
const QUEUE: Queue = Queue::Maintenance;
/// Jobs at once, unless told otherwise.
pub(crate) const DEFAULT_CONCURRENCY: usize = 100;
/// Jobs run before the clock starts, so that connections are open and statements prepared.
const WARM_UP: u64 = 1000;

/// What to measure.
#[derive(Debug, Clone, clap::Args)]
pub struct BenchArgs {
    /// How many jobs
    #[arg(long, default_value_t = 50_000, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    pub jobs: u64,
    /// Jobs a second, one by one; without it all are due at the start
    #[arg(long)]
    pub paced: Option<u32>,
    /// Gives each job a user and a unique key, as most jobs of the product have
    #[arg(long)]
    pub keyed: bool,
    /// Finished jobs that lie in the table already
    #[arg(long, default_value_t = 0)]
    pub finished: u64,
    /// Prints the figures as JSON
    #[arg(long)]
    pub json: bool,
}

/// A job that does nothing.
#[derive(Debug, Serialize, Deserialize)]
struct Noop {}

impl Job for Noop {
    const NAME: &'static str = "bench_noop";
    const QUEUE: Queue = QUEUE;
    const TIMEOUT: Duration = Duration::from_secs(10);
}

/// What a run gave.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Figures {
    jobs: u64,
    concurrency: usize,
    keyed: bool,
    finished_rows: u64,
    seconds: f64,
    jobs_per_second: f64,
    /// From commit to start, in milliseconds; only of paced jobs.
    #[serde(skip_serializing_if = "Option::is_none")]
    wait_ms: Option<Percentiles>,
}

#[derive(Debug, Serialize)]
struct Percentiles {
    p50: f64,
    p95: f64,
    p99: f64,
    max: f64,
}

/// When each job started, and how many have.
#[derive(Default)]
struct Seen {
    started: AtomicU64,
    at: Mutex<HashMap<JobId, Instant>>,
}

/// Runs it. The database must have the schema and no jobs that wait: it is best one of the bench's own.
///
/// # Errors
/// When the database is not fit, or goes away.
pub async fn run(
    mut config: WorkerConfig,
    args: BenchArgs,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let concurrency = config
        .settings
        .slots
        .get(&QUEUE)
        .copied()
        .unwrap_or(DEFAULT_CONCURRENCY);
    config.settings.slots = BTreeMap::from([(QUEUE, concurrency)]);
    config.tesseract = "/nonexistent".into();
    let context = crate::context(&config, Clock::System).await?;
    let pool = context.db.get_postgres_connection_pool().clone();
    prepare(&pool, &args).await?;

    let seen = Arc::new(Seen::default());
    let paced = args.paced.is_some();
    let registry = {
        let seen = seen.clone();
        Registry::default().with_closure(Noop::NAME, move |_, job| {
            if paced {
                seen.at
                    .lock()
                    .expect("nothing panics while it holds this lock")
                    .insert(job.id(), Instant::now());
            }
            seen.started.fetch_add(1, Ordering::Relaxed);
            std::future::ready(Ok(Outcome::Done(None))).boxed()
        })
    };
    let bar = progress_bar(&args);
    let database = config.common.database.direct.clone();
    let start = || {
        Runner::start(
            config.settings.clone(),
            context.clone(),
            registry.clone(),
            &database,
            &config.common.redis,
        )
    };

    let figures = async {
        let (seconds, wait_ms) = if let Some(rate) = args.paced {
            let runner = start()?;
            warm_up(&pool, &seen).await?;
            let measured = pace(&context, &seen, &args, rate, &bar).await?;
            runner.shutdown().await;
            measured
        } else {
            fill(&pool, args.jobs, args.keyed).await?;
            let began = Instant::now();
            let runner = start()?;
            drained(&pool, &seen, args.jobs, &bar).await?;
            let seconds = began.elapsed().as_secs_f64();
            runner.shutdown().await;
            (seconds, None)
        };
        #[expect(clippy::cast_precision_loss, reason = "a count of jobs")]
        let jobs_per_second = args.jobs as f64 / seconds;
        anyhow::Ok(Figures {
            jobs: args.jobs,
            concurrency,
            keyed: args.keyed,
            finished_rows: args.finished,
            seconds,
            jobs_per_second,
            wait_ms,
        })
    };
    let figures = tokio::select! {
        figures = figures => figures,
        () = stop.cancelled() => Err(anyhow::anyhow!("interrupted")),
    };
    bar.finish_and_clear();
    // An interrupted bench leaves nothing behind either.
    sqlx::query("DELETE FROM jobs WHERE kind = $1")
        .bind(Noop::NAME)
        .execute(&pool)
        .await?;
    print(&figures?, args.json)
}

async fn prepare(pool: &PgPool, args: &BenchArgs) -> anyhow::Result<()> {
    let waiting: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM jobs WHERE state IN ('queued', 'parked', 'dispatched', 'running') AND kind <> $1",
    )
    .bind(Noop::NAME)
    .fetch_one(pool)
    .await
    .context("cannot read the jobs: is the schema there? `baatcheet-migration up` makes it")?;
    ensure!(
        waiting == 0,
        "{waiting} jobs wait in this database; give the bench one of its own, by DATABASE_URL"
    );
    sqlx::query("DELETE FROM jobs WHERE kind = $1")
        .bind(Noop::NAME)
        .execute(pool)
        .await?;
    if args.finished > 0 {
        sqlx::query(
            "INSERT INTO jobs (id, kind, queue, payload, state, attempt, epoch, timeout_ms, run_at, created_at,
                               started_at, finished_at, user_id, unique_key)
             SELECT gen_random_uuid(), $1, $2, '{}', 'succeeded', 1, 1, 1000, now(), now(), now(), now(),
                    gen_random_uuid(), 'bench:' || n
               FROM generate_series(1, $3) n",
        )
        .bind(Noop::NAME)
        .bind(QUEUE.name())
        .bind(i64::try_from(args.finished)?)
        .execute(pool)
        .await?;
    }
    sqlx::query("VACUUM ANALYZE jobs").execute(pool).await?;
    Ok(())
}

/// Makes jobs that are due, many in one statement: what is measured comes after. Their ids are in the order of time, as
/// those of all jobs are.
async fn fill(pool: &PgPool, jobs: u64, keyed: bool) -> anyhow::Result<()> {
    const ROWS: usize = 10_000;
    let ids: Vec<uuid::Uuid> = (0..jobs).map(|_| JobId::new().0).collect();
    for ids in ids.chunks(ROWS) {
        sqlx::query(
            "INSERT INTO jobs (id, kind, queue, payload, timeout_ms, run_at, created_at, user_id, unique_key)
             SELECT id, $1, $2, '{}', 10000, now(), now(), CASE WHEN $4 THEN gen_random_uuid() END,
                    CASE WHEN $4 THEN 'bench:' || id END
               FROM unnest($3::uuid[]) id",
        )
        .bind(Noop::NAME)
        .bind(QUEUE.name())
        .bind(ids)
        .bind(keyed)
        .execute(pool)
        .await?;
    }
    Ok(())
}

async fn warm_up(pool: &PgPool, seen: &Seen) -> anyhow::Result<()> {
    fill(pool, WARM_UP, false).await?;
    drained(pool, seen, WARM_UP, &ProgressBar::hidden()).await?;
    seen.started.store(0, Ordering::Relaxed);
    Ok(())
}

/// Waits until all jobs have ended, in the database too.
async fn drained(pool: &PgPool, seen: &Seen, jobs: u64, bar: &ProgressBar) -> anyhow::Result<()> {
    const LIVE: &str = "SELECT EXISTS (SELECT FROM jobs WHERE state = 'queued')
                            OR EXISTS (SELECT FROM jobs WHERE state = 'parked')
                            OR EXISTS (SELECT FROM jobs WHERE state IN ('dispatched', 'running'))";
    loop {
        let started = seen.started.load(Ordering::Relaxed);
        bar.set_position(started);
        if started >= jobs && !sqlx::query_scalar::<_, bool>(LIVE).fetch_one(pool).await? {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Asks for one job after the other, as handlers do, and measures from each commit to its start.
async fn pace(
    context: &crate::context::Context,
    seen: &Seen,
    args: &BenchArgs,
    rate: u32,
    bar: &ProgressBar,
) -> anyhow::Result<(f64, Option<Percentiles>)> {
    let mut tick = tokio::time::interval(Duration::from_secs(1) / rate.max(1));
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut committed = Vec::new();
    let began = Instant::now();
    for number in 0..args.jobs {
        tick.tick().await;
        let origin = Origin {
            user: args.keyed.then(UserId::new),
            ..Origin::default()
        };
        let mut tx = Tx::begin(&context.db, &context.redis, origin).await?;
        let mut request = Enqueue::new(Noop {});
        if args.keyed {
            request = request.unique(format!("bench:{number}"));
        }
        let job = queue::enqueue(&mut tx, request).await?;
        committed.push((job.id, tx.commit().await?));
        bar.set_position(number);
    }
    drained(
        context.db.get_postgres_connection_pool(),
        seen,
        args.jobs,
        bar,
    )
    .await?;
    let seconds = began.elapsed().as_secs_f64();
    let started = seen
        .at
        .lock()
        .expect("nothing panics while it holds this lock");
    let mut waits: Vec<f64> = committed
        .iter()
        .filter_map(|(id, at)| {
            started
                .get(id)
                .map(|start| start.saturating_duration_since(*at))
        })
        .map(|wait| wait.as_secs_f64() * 1000.0)
        .collect();
    waits.sort_by(f64::total_cmp);
    ensure!(waits.len() == committed.len(), "some jobs never started");
    let at = |percent: usize| waits[(waits.len() * percent / 100).min(waits.len() - 1)];
    Ok((
        seconds,
        Some(Percentiles {
            p50: at(50),
            p95: at(95),
            p99: at(99),
            max: at(100),
        }),
    ))
}

fn progress_bar(args: &BenchArgs) -> ProgressBar {
    if args.json || !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} jobs, {per_sec}, {eta} left");
    ProgressBar::new(args.jobs).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

fn print(figures: &Figures, json: bool) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    if json {
        writeln!(out, "{}", serde_json::to_string(figures)?)?;
        return Ok(());
    }
    let Figures {
        jobs,
        concurrency,
        keyed,
        finished_rows,
        seconds,
        jobs_per_second,
        wait_ms,
    } = figures;
    let kind = if *keyed {
        "with user and unique key"
    } else {
        "without user and key"
    };
    writeln!(
        out,
        "{jobs} jobs {kind}, {concurrency} at once, {finished_rows} finished rows in the table"
    )?;
    writeln!(out, "{seconds:.2} s, {jobs_per_second:.0} jobs/s")?;
    if let Some(Percentiles { p50, p95, p99, max }) = wait_ms {
        writeln!(
            out,
            "commit to start: p50 {p50:.2} ms, p95 {p95:.2} ms, p99 {p99:.2} ms, max {max:.2} ms"
        )?;
    }
    Ok(())
}
