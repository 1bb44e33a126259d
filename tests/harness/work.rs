//! Jobs that exist for tests of the engine.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use shared::{
    database::Tx,
    queue::{Backoff, Job, Queue},
};
use worker::{
    context::JobContext,
    jobs::{Failure, Outcome, Run},
    registry::Registry,
};

use crate::TestDatabase;

/// The product's jobs and these.
pub fn registry() -> Registry {
    Registry::all().with::<Effect>().with::<Act>()
}

/// Makes the tables that these jobs write to.
pub async fn prepare(database: &TestDatabase) {
    for statement in [
        "CREATE TABLE effects (number bigint NOT NULL, at timestamptz NOT NULL DEFAULT clock_timestamp())",
        "CREATE TABLE starts (number bigint NOT NULL, at timestamptz NOT NULL DEFAULT clock_timestamp())",
    ] {
        sqlx::query(statement)
            .execute(database.pool())
            .await
            .expect("a table");
    }
}

/// The numbers in one of the tables, in order of time.
pub async fn numbers(database: &TestDatabase, table: &str) -> Vec<i64> {
    let sql = format!("SELECT number FROM {table} ORDER BY ctid");
    sqlx::query_scalar(sqlx::AssertSqlSafe(sql))
        .fetch_all(database.pool())
        .await
        .expect("the numbers")
}

/// Notes its number, once, in its own transaction.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Effect {
    pub number: i64,
}

impl Job for Effect {
    const NAME: &'static str = "test_effect";
    const QUEUE: Queue = Queue::Maintenance;
    const TIMEOUT: Duration = Duration::from_secs(30);
}

impl Run for Effect {
    async fn run(self, ctx: &JobContext) -> anyhow::Result<Outcome> {
        let tx = ctx.fenced().await?;
        insert(&tx, "effects", self.number).await?;
        tx.done(None).await
    }
}

/// Does what it is told.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Act {
    pub number: i64,
    pub what: What,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum What {
    /// Runs until it is stopped.
    Hold,
    /// Runs until somebody gives the number to `gates`, then notes it.
    Gate,
    Panic,
    Fail,
    FailForGood,
    FailWithNul,
    /// Fails as long as the attempt is below this.
    FailUntil(i32),
    RetryAfter(u64),
}

impl Job for Act {
    const NAME: &'static str = "test_act";
    const QUEUE: Queue = Queue::Analytics;
    const TIMEOUT: Duration = Duration::from_secs(5);
    const BACKOFF: Backoff = Backoff::exponential(Duration::from_secs(2), Duration::from_mins(1));
}

impl Run for Act {
    async fn run(self, ctx: &JobContext) -> anyhow::Result<Outcome> {
        let pool = ctx.db.get_postgres_connection_pool();
        sqlx::query("INSERT INTO starts (number) VALUES ($1)")
            .bind(self.number)
            .execute(pool)
            .await?;
        match self.what {
            What::Hold => std::future::pending().await,
            What::Gate => {
                let open = || async {
                    sqlx::query_scalar::<_, bool>(
                        "SELECT EXISTS (SELECT FROM effects WHERE number = -1)",
                    )
                    .fetch_one(pool)
                    .await
                    .unwrap_or(false)
                };
                crate::eventually("the gate opens", open).await;
                let tx = ctx.fenced().await?;
                insert(&tx, "effects", self.number).await?;
                tx.done(None).await
            }
            What::Panic => panic!("as it was told"),
            What::Fail => anyhow::bail!("a secret of the inside"),
            What::FailWithNul => anyhow::bail!("a helper printed \0"),
            What::FailForGood => Err(Failure::Permanent("the file is damaged".to_owned()).into()),
            What::FailUntil(attempt) if ctx.attempt() < attempt => anyhow::bail!("not yet"),
            What::FailUntil(_) => Ok(Outcome::Done(None)),
            What::RetryAfter(seconds) => Err(Failure::Temporary {
                reason: "the other side is busy".to_owned(),
                retry_after: Some(Duration::from_secs(seconds)),
            }
            .into()),
        }
    }
}

async fn insert(tx: &Tx, table: &str, number: i64) -> anyhow::Result<()> {
    use sea_orm::ConnectionTrait as _;
    let sql = format!("INSERT INTO {table} (number) VALUES ($1)");
    tx.orm()
        .execute_raw(sea_orm::Statement::from_sql_and_values(
            sea_orm::DbBackend::Postgres,
            sql,
            [number.into()],
        ))
        .await?;
    Ok(())
}
