//! A connection that is held from one statement to the next.

use sea_orm::DatabaseConnection;
use sqlx::{PgPool, Postgres, pool::PoolConnection};

use super::Result;

/// What single statements run on.
pub type Connection = sqlx::PgConnection;

/// A connection of a pool for one who uses it all the time. Whoever gets one from the pool anew for each statement waits for
/// the server's sign of life before each, and asks for another after it.
#[derive(Debug)]
pub struct Held {
    pool: PgPool,
    connection: Option<PoolConnection<Postgres>>,
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
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.pool.acquire().await?,
        };
        let used = using(&mut connection).await?;
        self.connection = Some(connection);
        Ok(used)
    }
}
