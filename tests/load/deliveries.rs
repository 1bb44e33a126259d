//! Deliveries of webhooks by one worker: how many a second, and what an endpoint that hangs costs the others.
//!
//! Endpoints are on a server of this program's own, which takes everything at once, and events are written as the API writes
//! them. So the receiver and the writing share the machine with what is measured.

use std::{
    path::PathBuf,
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use axum::{Router, http::StatusCode, routing::post};
use clap::Parser as _;
use shared::{
    clock::Clock,
    database::{Origin, Tx},
    events::{self, ConversationSummary, Event},
    ids::{ConversationId, UserId},
    models::{
        user::{self, Role},
        webhook::{self, Settings},
    },
};
use tokio::{net::TcpListener, task::JoinSet};
use worker::context::Context;

use crate::times::a_second;

/// Most endpoints of a user.
const OF_A_USER: usize = 20;
/// Events written by one transaction.
const TOGETHER: usize = 50;
/// Longest time for one part.
const PATIENCE: Duration = Duration::from_mins(5);
/// While times are taken, an event of a user happens after each of these.
const EVERY: Duration = Duration::from_millis(50);
const FOR: Duration = Duration::from_secs(20);

/// Options of `deliveries`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The worker that is measured, a program
    #[arg(long)]
    worker: PathBuf,
    /// Endpoints of the first part
    #[arg(long, default_value_t = 100)]
    endpoints: usize,
    /// Deliveries of the first part
    #[arg(long, default_value_t = 30_000)]
    deliveries: usize,
    /// Endpoints that are well, of the second part
    #[arg(long, default_value_t = 50)]
    healthy: usize,
    /// Events for the endpoint that hangs
    #[arg(long, default_value_t = 1000)]
    hanging: usize,
}

/// What is measured, and the server that receives.
struct Bench {
    context: Context,
    base: String,
    _serving: JoinSet<()>,
}

pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    let bench = Bench::start().await?;
    let users = bench.subscribe("rate", args.endpoints, "take").await?;
    bench
        .write(&users, args.deliveries / args.endpoints.max(1), 0)
        .await?;
    let due = bench.count("true").await?;
    let mut worker = tokio::process::Command::new(&args.worker)
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .context("the worker does not start")?;
    bench.delivered(due).await?;
    bench.tell_rate().await?;

    let healthy = bench.subscribe("healthy", args.healthy, "take").await?;
    let before = bench.times(&healthy, "alone").await?;
    let hung = bench.subscribe("hung", 1, "hang").await?;
    bench.write(&hung, args.hanging, 1).await?;
    let beside = bench.times(&healthy, "beside one that hangs").await?;
    println!("{:<28} {:.2}", "p99 beside : alone", beside / before);
    worker.kill().await?;
    Ok(())
}

impl Bench {
    async fn start() -> anyhow::Result<Self> {
        let config = worker::config::Args::try_parse_from(["baatcheet-worker"])?
            .check()
            .map_err(|problems| anyhow::anyhow!("{problems}"))?;
        let context = Box::pin(worker::context(&config, Clock::System)).await?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let base = format!("http://{}", listener.local_addr()?);
        let router = Router::new()
            .route("/take", post(async || StatusCode::NO_CONTENT))
            .route("/hang", post(std::future::pending::<StatusCode>));
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            let _ = axum::serve(listener, router).await;
        });
        Ok(Self {
            context,
            base,
            _serving: serving,
        })
    }

    async fn begin(&self) -> anyhow::Result<Tx> {
        let context = &self.context;
        Ok(Tx::begin(&context.db, &context.redis, Origin::default()).await?)
    }

    /// Makes users with so many endpoints together.
    async fn subscribe(
        &self,
        name: &str,
        endpoints: usize,
        path: &str,
    ) -> anyhow::Result<Vec<UserId>> {
        let mut users = Vec::new();
        let now = self.context.clock.now();
        for first in (0..endpoints).step_by(OF_A_USER) {
            let mut tx = self.begin().await?;
            let email = format!("{name}-{first}@example.com");
            let user =
                user::register(&mut tx, &email, String::new(), None, Role::User, now).await?;
            for _ in first..endpoints.min(first + OF_A_USER) {
                let url = format!("{}/{path}", self.base);
                let settings = Settings::new(url, vec!["conversation.updated".to_owned()]);
                let secret = webhook::secrets::new_secret();
                webhook::create(
                    &mut tx,
                    &self.context.keyring,
                    user.id,
                    settings,
                    &secret,
                    now,
                )
                .await?;
            }
            tx.commit().await?;
            users.push(user.id);
        }
        Ok(users)
    }

    /// Lets so many events happen to each.
    async fn write(&self, users: &[UserId], events: usize, version: i32) -> anyhow::Result<()> {
        for &user in users {
            for first in (0..events).step_by(TOGETHER) {
                let mut tx = self.begin().await?;
                for _ in first..events.min(first + TOGETHER) {
                    self.happen(&mut tx, user, version).await?;
                }
                tx.commit().await?;
            }
        }
        Ok(())
    }

    async fn happen(&self, tx: &mut Tx, user: UserId, version: i32) -> anyhow::Result<()> {
        let event = Event::ConversationUpdated(ConversationSummary {
            conversation_id: ConversationId::new(),
            project_id: None,
            title: Some("Plans for the summer".to_owned()),
            tags: vec!["travel".to_owned()],
            pinned: false,
            archived: false,
            version,
        });
        Ok(events::emit(tx, user, &event, self.context.clock.now()).await?)
    }

    async fn count(&self, condition: &'static str) -> anyhow::Result<i64> {
        let sql = format!("SELECT count(*) FROM deliveries WHERE {condition}");
        let pool = self.context.db.get_postgres_connection_pool();
        Ok(sqlx::query_scalar(sqlx::AssertSqlSafe(sql))
            .fetch_one(pool)
            .await?)
    }

    /// Waits until so many have arrived.
    async fn delivered(&self, many: i64) -> anyhow::Result<()> {
        let begun = Instant::now();
        let mut look = tokio::time::interval(Duration::from_millis(200));
        loop {
            look.tick().await;
            let arrived = self.count("status = 'succeeded'").await?;
            if arrived >= many {
                return Ok(());
            }
            ensure!(
                begun.elapsed() < PATIENCE,
                "{arrived} of {many} arrived in {PATIENCE:?}"
            );
        }
    }

    async fn tell_rate(&self) -> anyhow::Result<()> {
        let pool = self.context.db.get_postgres_connection_pool();
        let (rows, seconds): (i64, f64) = sqlx::query_as(
            "SELECT count(*), extract(epoch FROM max(d.finished_at) - min(a.created_at))::float8
               FROM delivery_attempts a JOIN deliveries d ON d.id = a.delivery_id",
        )
        .fetch_one(pool)
        .await?;
        let took = Duration::from_secs_f64(seconds);
        let rate = a_second(usize::try_from(rows)?, took);
        println!(
            "{:<28} {rate:.0} a second ({rows} in {seconds:.1} s; goal 1,500)",
            "deliveries by one worker"
        );
        Ok(())
    }

    /// Lets events happen at a steady pace, and tells p99 of the time until their first try began, in milliseconds.
    async fn times(&self, users: &[UserId], label: &str) -> anyhow::Result<f64> {
        let since = self.context.clock.now();
        let mut every = tokio::time::interval(EVERY);
        let begun = Instant::now();
        let mut turn = users.iter().cycle();
        while begun.elapsed() < FOR {
            every.tick().await;
            let user = *turn.next().context("there are users")?;
            let mut tx = self.begin().await?;
            self.happen(&mut tx, user, 2).await?;
            tx.commit().await?;
        }
        let mine: Vec<uuid::Uuid> = users.iter().map(|user| user.0).collect();
        let pool = self.context.db.get_postgres_connection_pool();
        let begun = Instant::now();
        let mut look = tokio::time::interval(Duration::from_millis(200));
        loop {
            look.tick().await;
            let waiting: i64 = sqlx::query_scalar(
                "SELECT count(*) FROM deliveries d JOIN webhooks w ON w.id = d.webhook_id
                  WHERE w.user_id = ANY($1) AND d.status = 'pending'",
            )
            .bind(&mine)
            .fetch_one(pool)
            .await?;
            if waiting == 0 {
                break;
            }
            ensure!(
                begun.elapsed() < PATIENCE,
                "{waiting} have not arrived in {PATIENCE:?}"
            );
        }
        let (rows, times): (i64, Vec<f64>) = sqlx::query_as(
            "SELECT count(*), percentile_cont(ARRAY[0.5, 0.99]) WITHIN GROUP
                    (ORDER BY extract(epoch FROM a.created_at - d.created_at)::float8 * 1000)
               FROM deliveries d JOIN webhooks w ON w.id = d.webhook_id
               JOIN delivery_attempts a ON a.delivery_id = d.id AND a.attempt = 1
              WHERE w.user_id = ANY($1) AND d.created_at >= $2",
        )
        .bind(&mine)
        .bind(since)
        .fetch_one(pool)
        .await?;
        let label = format!("first tries, {label}");
        println!(
            "{label:<36} p50 {:.1} ms, p99 {:.1} ms ({rows} deliveries)",
            times[0], times[1]
        );
        Ok(times[1])
    }
}
