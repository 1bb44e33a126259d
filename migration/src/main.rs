//! `baatcheet-migration`: brings the schema up or down.

use std::{io::Write as _, str::FromStr as _, time::Duration};

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use migration::Migrator;
use sea_orm_migration::{MigratorTrait as _, sea_orm::SqlxPostgresConnector};
use sqlx::{
    Connection as _, PgConnection,
    postgres::{PgConnectOptions, PgPoolOptions},
};

/// Any number that nothing else locks: two migrations at once wait for each other.
const LOCK: i64 = 0x6261_6174_6368;
/// Between two looks whether the other one has ended.
const LOCK_PAUSE: Duration = Duration::from_millis(100);
/// A step that has waited for a table for so long gives up: whoever comes after it waits, too. What it changed is taken back,
/// and it can be tried again.
const LOCK_TIMEOUT: &str = "SET lock_timeout = '3s'";

/// Brings `BaatCheet`'s schema up or down.
#[derive(Parser)]
#[command(name = "baatcheet-migration", version)]
struct Args {
    /// postgres:// URL (required)
    #[arg(long, env = "DATABASE_URL", hide_env_values = true, global = true)]
    database_url: Option<String>,
    /// The same database past a pooler; goes first, as a lock needs a session of its own
    #[arg(
        long,
        env = "DATABASE_DIRECT_URL",
        hide_env_values = true,
        global = true
    )]
    database_direct_url: Option<String>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Applies all steps that are missing (default)
    Up,
    /// Takes back the last step, or more
    Down {
        /// How many
        #[arg(long, default_value_t = 1)]
        steps: u32,
    },
    /// Lists the steps and whether they are applied
    Status,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_max_level(tracing::Level::WARN)
        .init();
    let args = Args::parse();
    let given = |url: Option<String>| url.filter(|url| !url.trim().is_empty());
    let url = given(args.database_direct_url)
        .or(given(args.database_url))
        .context("DATABASE_URL is not set; it looks like postgres://user:password@host/database")?;
    let options = PgConnectOptions::from_str(&without_pool_settings(&url)?)
        .map_err(|_| anyhow::anyhow!("DATABASE_URL is not a postgres:// URL"))?;

    let mut lock = PgConnection::connect_with(&options)
        .await
        .context("cannot connect to the database")?;
    // Not waited for inside of a statement: an index that is built beside others' writing waits for all statements, this one too.
    while !sqlx::query_scalar::<_, bool>("SELECT pg_try_advisory_lock($1)")
        .bind(LOCK)
        .fetch_one(&mut lock)
        .await?
    {
        tokio::time::sleep(LOCK_PAUSE).await;
    }
    let pool = PgPoolOptions::new()
        .max_connections(1)
        .after_connect(|connection, _| {
            Box::pin(async move {
                sqlx::query(LOCK_TIMEOUT)
                    .execute(connection)
                    .await
                    .map(|_| ())
            })
        })
        .connect_with(options)
        .await?;
    let db = SqlxPostgresConnector::from_sqlx_postgres_pool(pool);
    match args.command.unwrap_or(Command::Up) {
        Command::Up => Migrator::up(&db, None).await?,
        Command::Down { steps } => Migrator::down(&db, Some(steps)).await?,
        Command::Status => {}
    }
    let mut out = std::io::stdout().lock();
    for step in Migrator::get_migration_with_status(&db).await? {
        writeln!(out, "{:8} {}", step.status(), step.name())?;
    }
    lock.close().await?;
    Ok(())
}

/// The API's URL may carry settings of its pool, which sqlx does not know.
fn without_pool_settings(url: &str) -> anyhow::Result<String> {
    let mut url = url::Url::parse(url).context("DATABASE_URL is not a URL")?;
    let kept: Vec<(String, String)> = url
        .query_pairs()
        .filter(|(name, _)| name != "connection_limit" && name != "pool_timeout")
        .map(|(name, value)| (name.into_owned(), value.into_owned()))
        .collect();
    url.set_query(None);
    if !kept.is_empty() {
        url.query_pairs_mut().extend_pairs(kept);
    }
    Ok(url.into())
}
