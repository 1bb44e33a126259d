//! A connection of the engine's own, with the session settings its statements need.

use std::{
    ops::AsyncFnOnce,
    time::{Duration, Instant},
};

use sqlx::{ConnectOptions as _, PgConnection, postgres::PgConnectOptions};
use tokio::sync::{Mutex, MutexGuard};

/// Longest time for one statement of the engine, reconnecting included.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(10);

/// A statement keeps the plan that it got on an empty table; without the first four that may be a full scan. Planning the
/// same statement hundreds of times a second costs more than it gains. So does compiling it: a second for what takes a
/// millisecond.
pub const SESSION_SETTINGS: [(&str, &str); 6] = [
    ("jit", "off"),
    ("enable_seqscan", "off"),
    ("enable_bitmapscan", "off"),
    ("enable_hashjoin", "off"),
    ("enable_mergejoin", "off"),
    ("plan_cache_mode", "force_generic_plan"),
];

/// Whether a statement returns before its effect is on disk.
///
/// What dispatch, claim and renewal write is found again by the sweeps after a crash; an end must stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Durability {
    /// May be lost in a crash of Postgres.
    Relaxed,
    /// Stays.
    Full,
}

/// One connection that reconnects when it is used next; statements on it run one after the other.
pub(super) struct Session {
    role: &'static str,
    options: PgConnectOptions,
    connection: Mutex<Connection>,
}

#[derive(Default)]
struct Connection {
    open: Option<PgConnection>,
    since: Option<Instant>,
    told: bool,
}

impl Session {
    pub(super) fn new(
        role: &'static str,
        options: &PgConnectOptions,
        durability: Durability,
    ) -> Self {
        let mut settings = SESSION_SETTINGS.to_vec();
        settings.push(("statement_timeout", "9s"));
        if durability == Durability::Relaxed {
            settings.push(("synchronous_commit", "off"));
        }
        let options = options
            .clone()
            .options(settings)
            .application_name(&format!("baatcheet-worker {role}"))
            .log_statements(tracing::log::LevelFilter::Trace)
            .log_slow_statements(tracing::log::LevelFilter::Debug, Duration::from_secs(1));
        Self {
            role,
            options,
            connection: Mutex::default(),
        }
    }

    /// Waits until no other statement runs here.
    pub(super) async fn lock(&self) -> Locked<'_> {
        Locked {
            session: self,
            connection: self.connection.lock().await,
        }
    }

    /// Runs statements, connecting first where needed.
    pub(super) async fn run<T>(
        &self,
        statements: impl AsyncFnOnce(&mut PgConnection) -> sqlx::Result<T>,
    ) -> sqlx::Result<T> {
        self.lock().await.run(statements).await
    }

    /// How long the connection has been up; nothing while it is down.
    pub(super) async fn uptime(&self) -> Option<Duration> {
        self.connection
            .lock()
            .await
            .since
            .map(|since| since.elapsed())
    }
}

/// A session that nobody else uses until this is dropped.
pub(super) struct Locked<'a> {
    session: &'a Session,
    connection: MutexGuard<'a, Connection>,
}

impl Locked<'_> {
    pub(super) async fn run<T>(
        &mut self,
        statements: impl AsyncFnOnce(&mut PgConnection) -> sqlx::Result<T>,
    ) -> sqlx::Result<T> {
        let work = async {
            // Taken out, so that a statement that is given up half-way takes its connection with it.
            let mut open = if let Some(open) = self.connection.open.take() {
                open
            } else {
                let open = self.session.options.connect().await?;
                self.connection.since = Some(Instant::now());
                open
            };
            let result = statements(&mut open).await;
            if !result.as_ref().is_err_and(shared::database::is_away) {
                self.connection.open = Some(open);
            }
            result
        };
        let result = tokio::time::timeout(STATEMENT_TIMEOUT, work)
            .await
            .unwrap_or(Err(sqlx::Error::PoolTimedOut));
        let role = self.session.role;
        if let Err(error) = &result
            && self.connection.open.is_none()
        {
            self.connection.since = None;
            if !std::mem::replace(&mut self.connection.told, true) {
                tracing::warn!(role, error = %error, "the engine lost Postgres; trying again");
            }
        } else if std::mem::replace(&mut self.connection.told, false) {
            tracing::info!(role, "the engine has Postgres again");
        }
        result
    }
}
