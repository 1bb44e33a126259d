//! A connection that is held from one statement to the next.

use std::time::{Duration, Instant};

use sea_orm::DatabaseConnection;
use sqlx::{Connection as _, PgPool, Postgres, pool::PoolConnection};

use super::Result;

/// Unused for so long, a connection may have been closed by the server meanwhile.
const FRESH: Duration = Duration::from_millis(250);

/// What single statements run on.
pub type Connection = sqlx::PgConnection;

/// A connection of a pool for one who uses it all the time. Whoever gets one from the pool anew for each statement waits for
/// the server's sign of life before each, and asks for another after it.
///
/// It is held only while the pool has others to give.
#[derive(Debug)]
pub struct Held {
    pool: PgPool,
    connection: Option<(PoolConnection<Postgres>, Instant)>,
}

impl Held {
    /// Gets a connection with the first use.
    pub fn new(db: &DatabaseConnection) -> Self {
        Self {
            pool: db.get_postgres_connection_pool().clone(),
            connection: None,
        }
    }

    /// Gives it back until the next use.
    pub fn release(&mut self) {
        self.connection = None;
    }

    /// Uses it. After an error, or where this is not waited for, the pool finds out whether it is good for anything.
    ///
    /// # Errors
    /// As `using` fails, or when no connection is to be had.
    pub async fn using<T>(
        &mut self,
        using: impl AsyncFnOnce(&mut Connection) -> Result<T>,
    ) -> Result<T> {
        let mut connection = match self.held().await {
            Some(connection) => connection,
            None => self.pool.acquire().await?,
        };
        let used = using(&mut connection).await?;
        if self.has_others() {
            self.connection = Some((connection, Instant::now()));
        }
        Ok(used)
    }

    /// The connection that is held, if it is there still.
    async fn held(&mut self) -> Option<PoolConnection<Postgres>> {
        let (mut connection, used) = self.connection.take()?;
        if used.elapsed() > FRESH && connection.ping().await.is_err() {
            return None;
        }
        Some(connection)
    }

    /// Whether somebody else who needs a connection would get one at once: two, as several may be held.
    fn has_others(&self) -> bool {
        let most = self.pool.options().get_max_connections();
        let unopened = most.saturating_sub(self.pool.size()) as usize;
        self.pool.num_idle() + unopened >= 2
    }
}
