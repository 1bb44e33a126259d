//! Writes what servers were asked into the ledger.
//!
//! A call is paid for whatever becomes of its job, and a job must neither wait for its row nor fail by it. So each row has a
//! task of its own, which goes on while the database is away.

use std::time::Duration;

use sea_orm::DatabaseConnection;
use shared::{
    database::{self, Error},
    models::usage::{self, Hearing, Purpose},
};
use tokio::runtime::Handle;
use tokio_util::task::TaskTracker;
use tracing::Instrument as _;

/// How long a row may wait for the database, and the pause between two tries.
const PATIENCE: Duration = Duration::from_mins(2);
const AGAIN: Duration = Duration::from_millis(500);

/// The way to the ledger.
pub struct Ledger {
    db: DatabaseConnection,
    rows: TaskTracker,
    /// A future may be dropped where no runtime is entered.
    runtime: Handle,
}

impl Ledger {
    /// Makes it; its tasks run where it is made.
    pub fn new(db: DatabaseConnection) -> Self {
        Self {
            db,
            rows: TaskTracker::new(),
            runtime: Handle::current(),
        }
    }

    /// Sees to it that a row is written, once, and returns at once.
    pub(crate) fn record(&self, purpose: Purpose, hearing: Hearing) {
        let db = self.db.clone();
        let writing = async move {
            let written = tokio::time::timeout(PATIENCE, write(&db, purpose, &hearing)).await;
            let error = match written {
                Ok(Ok(())) => return,
                Ok(Err(error)) => format!("{:#}", anyhow::Error::new(error)),
                Err(_) => "the database is away".to_owned(),
            };
            let provider = hearing.provider;
            tracing::error!(
                provider,
                error,
                "what a server was asked is not in the ledger"
            );
        };
        self.rows.spawn_on(writing.in_current_span(), &self.runtime);
    }

    /// Waits until all rows are written, but not longer than that.
    pub(crate) async fn finish(&self, within: Duration) {
        self.rows.close();
        if tokio::time::timeout(within, self.rows.wait())
            .await
            .is_err()
        {
            let rows = self.rows.len();
            tracing::error!(rows, "what servers were asked is not in the ledger");
        }
    }
}

async fn write(
    db: &DatabaseConnection,
    purpose: Purpose,
    hearing: &Hearing,
) -> database::Result<()> {
    loop {
        match usage::record_hearing(db, purpose, hearing).await {
            Err(Error::Unavailable(error)) => {
                tracing::debug!(error = %error, "a row of the ledger waits for postgres");
                tokio::time::sleep(AGAIN).await;
            }
            written => return written,
        }
    }
}
