//! Postgres: connecting, transactions with what follows their commit, and what its errors mean.

mod held;
mod refusal;

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use sea_orm::{
    ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbBackend, DbErr, RuntimeErr,
    SqlxPostgresConnector, Statement, TransactionTrait,
};
use sqlx::postgres::PgPoolOptions;

pub use self::{
    held::{Connection, Held},
    refusal::Refusal,
};
use crate::{
    config::DatabaseConfig,
    ids::{JobId, UserId},
    queue::Queue,
    redis::{Keys, Redis},
};

/// Longest time one statement of a pool may take. Nothing of ours needs more; a runaway must not hold a connection.
const STATEMENT_TIMEOUT: &str = "30s";
/// Longest pause inside a transaction: a process that was stopped there must not keep its locks.
const IDLE_IN_TRANSACTION: &str = "10s";

/// Why a model could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A rule says no.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// There is no such row, or the caller may not see it.
    #[error("no such {0}")]
    NotFound(&'static str),
    /// Postgres is away, restarting or out of connections; asking again later helps.
    #[error("the database is not available")]
    Unavailable(#[source] DbErr),
    /// Anything else.
    #[error("the database failed")]
    Failed(#[source] DbErr),
}

impl Error {
    /// Whether the database is away, rather than busy with what others do: then nothing else can be done with it now.
    pub fn is_away(&self) -> bool {
        let Self::Unavailable(error) = self else {
            return false;
        };
        match error {
            DbErr::Conn(RuntimeErr::SqlxError(sqlx))
            | DbErr::Exec(RuntimeErr::SqlxError(sqlx))
            | DbErr::Query(RuntimeErr::SqlxError(sqlx)) => match &**sqlx {
                sqlx::Error::Database(error) => {
                    let code = error.code().unwrap_or_default();
                    !BUSY.contains(&&*code)
                }
                _ => true,
            },
            _ => true,
        }
    }
}

/// Results of models.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl From<DbErr> for Error {
    fn from(error: DbErr) -> Self {
        let sqlx: Option<&Arc<sqlx::Error>> = match &error {
            DbErr::ConnectionAcquire(_) => return Self::Unavailable(error),
            DbErr::Conn(RuntimeErr::SqlxError(sqlx))
            | DbErr::Exec(RuntimeErr::SqlxError(sqlx))
            | DbErr::Query(RuntimeErr::SqlxError(sqlx)) => Some(sqlx),
            _ => None,
        };
        match sqlx.map(AsRef::as_ref) {
            Some(sqlx) if is_away(sqlx) => Self::Unavailable(error),
            Some(sqlx::Error::Database(refused)) => {
                match refused.constraint().and_then(Refusal::from_constraint) {
                    Some(refusal) => Self::Refused(refusal),
                    None => Self::Failed(error),
                }
            }
            _ => Self::Failed(error),
        }
    }
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        DbErr::Query(RuntimeErr::SqlxError(Arc::new(error))).into()
    }
}

/// SQLSTATEs of a server that is there: another transaction was in the way, or the time limit came first.
const BUSY: [&str; 4] = ["40001", "40P01", "55P03", "57014"];

/// Whether the server, or what else goes on there, is the trouble rather than the statement: trying again may help.
///
/// SQLSTATEs of PostgreSQL 15, appendix A: 08 connection exceptions, 53 insufficient resources, 57P shutdown and start-up,
/// 25P03 idle in a transaction, 40001 serialization, 40P01 dead-lock, 55P03 lock not available, 57014 our own time limit.
pub fn is_away(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::Protocol(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed => true,
        sqlx::Error::Database(error) => error.code().is_some_and(|code| {
            ["08", "53", "57P"]
                .iter()
                .any(|class| code.starts_with(class))
                || BUSY.contains(&&*code)
                || code == "25P03"
        }),
        _ => false,
    }
}

/// Makes the pool, without connecting: Postgres may be down at start.
///
/// `max` is the program's own setting; `connection_limit` of the URL goes first when it is not set.
pub fn connect(config: &DatabaseConfig, max: Option<u32>, default_max: u32) -> DatabaseConnection {
    let max = max.or(config.connection_limit).unwrap_or(default_max);
    let options = config.pooled.clone().options([
        ("statement_timeout", STATEMENT_TIMEOUT),
        ("idle_in_transaction_session_timeout", IDLE_IN_TRANSACTION),
        // Compiling takes longer than any statement of ours that the planner takes for a long one.
        ("jit", "off"),
    ]);
    let pool = PgPoolOptions::new()
        .min_connections(config.pool_min.min(max))
        .max_connections(max)
        .acquire_timeout(config.acquire_timeout)
        .idle_timeout(Duration::from_mins(5))
        .connect_lazy_with(options);
    SqlxPostgresConnector::from_sqlx_postgres_pool(pool)
}

/// On whose behalf a transaction acts; its jobs inherit it.
#[derive(Debug, Clone, Default)]
pub struct Origin {
    /// The user who asked.
    pub user: Option<UserId>,
    /// `X-Request-Id` of the request.
    pub request_id: Option<String>,
    /// W3C trace context of the request.
    pub traceparent: Option<String>,
}

/// A transaction, and what the world is told once it is committed.
///
/// Dropped without [`Tx::commit`], it rolls back and tells nobody.
pub struct Tx {
    inner: DatabaseTransaction,
    redis: Redis,
    /// Inherited by the jobs enqueued here.
    pub origin: Origin,
    enqueued: BTreeSet<Queue>,
    cancelled: Vec<JobId>,
    changed: Vec<JobId>,
    stale: Vec<String>,
}

impl Tx {
    /// Begins a transaction.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when no connection is to be had.
    pub async fn begin(db: &DatabaseConnection, redis: &Redis, origin: Origin) -> Result<Self> {
        Ok(Self {
            inner: db.begin().await?,
            redis: redis.clone(),
            origin,
            enqueued: BTreeSet::new(),
            cancelled: Vec::new(),
            changed: Vec::new(),
            stale: Vec::new(),
        })
    }

    /// What models run their statements on.
    pub fn orm(&self) -> &DatabaseTransaction {
        &self.inner
    }

    /// The engine's time: the database's, which a test moves.
    ///
    /// # Errors
    /// As the database fails.
    pub async fn now(&self) -> Result<DateTime<Utc>> {
        let row = self
            .inner
            .query_one_raw(Statement::from_string(
                DbBackend::Postgres,
                "SELECT job_now() AS now",
            ))
            .await?
            .ok_or(Error::NotFound("time"))?;
        Ok(row.try_get("", "now")?)
    }

    /// Names of what may be told or invalidated.
    pub fn keys(&self) -> &Keys {
        self.redis.keys()
    }

    /// After the commit, workers look for new jobs of `queue`.
    pub fn nudge(&mut self, queue: Queue) {
        self.enqueued.insert(queue);
    }

    /// After the commit, the worker that runs `job` is told to stop it.
    pub fn announce_cancel(&mut self, job: JobId) {
        self.cancelled.push(job);
    }

    /// After the commit, those who watch `job` look again.
    pub fn announce_change(&mut self, job: JobId) {
        self.changed.push(job);
    }

    /// After the commit, `key` is removed from Redis: what is cached there is not true any more.
    pub fn invalidate(&mut self, key: String) {
        self.stale.push(key);
    }

    /// Commits, then tells Redis. What Redis does not hear is found by sweeps within a second or two.
    ///
    /// Returns the moment of the commit.
    ///
    /// # Errors
    /// As the database fails; then nothing is told.
    pub async fn commit(self) -> Result<Instant> {
        self.inner.commit().await?;
        let committed = Instant::now();
        let keys = self.redis.keys();
        let told = [
            (keys.enqueued(), join(self.enqueued.iter())),
            (keys.cancel(), join(self.cancelled.iter())),
            (keys.changed(), join(self.changed.iter())),
        ];
        let redis = &self.redis;
        if !self.stale.is_empty()
            && let Err(error) = redis.remove(self.stale).await
        {
            tracing::debug!(error = %error, "could not invalidate");
        }
        futures::future::join_all(
            told.into_iter()
                .filter(|(_, message)| !message.is_empty())
                .map(|(channel, message)| redis.publish(channel, message)),
        )
        .await;
        Ok(committed)
    }
}

fn join<T: ToString>(items: impl Iterator<Item = T>) -> String {
    items
        .map(|item| item.to_string())
        .collect::<Vec<_>>()
        .join(",")
}

/// Asks Postgres for a sign of life.
///
/// # Errors
/// As the database fails.
pub async fn ping(db: &DatabaseConnection) -> Result<()> {
    db.execute_unprepared("SELECT 1").await?;
    Ok(())
}
