//! Writes what servers were asked into the ledger.
//!
//! A call is paid for whatever becomes of its job, and a job must neither wait for its row nor fail by it. So each row has a
//! task of its own, which goes on while the database is away.

use std::time::Duration;

use sea_orm::DatabaseConnection;
use shared::{
    database::{self, Error},
    models::usage::{self, Attempt, Hearing, Kind, Model, Purpose},
};
use tokio::runtime::Handle;
use tokio_util::task::TaskTracker;
use tracing::Instrument as _;

/// How long a row may wait for the database, and the pause between two tries.
const PATIENCE: Duration = Duration::from_mins(2);
const AGAIN: Duration = Duration::from_millis(500);

/// What is written.
enum Entry {
    Hearing(Purpose, Box<Hearing>),
    Rows(Vec<Model>),
}

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
        let provider = hearing.provider.clone();
        self.spawn(provider, Entry::Hearing(purpose, Box::new(hearing)));
    }

    /// The same for the `number`th call of a model that answers, of which it is known what came.
    pub(crate) fn record_attempt(
        &self,
        kind: Kind,
        purpose: Purpose,
        number: i32,
        attempt: &Attempt,
    ) {
        let mut rows = usage::rows(kind, purpose, std::slice::from_ref(attempt));
        for row in &mut rows {
            row.attempt = number;
        }
        self.spawn(attempt.provider.clone(), Entry::Rows(rows));
    }

    fn spawn(&self, provider: String, entry: Entry) {
        let db = self.db.clone();
        let writing = async move {
            let written = tokio::time::timeout(PATIENCE, write(&db, &entry)).await;
            let error = match written {
                Ok(Ok(())) => return,
                Ok(Err(error)) => format!("{:#}", anyhow::Error::new(error)),
                Err(_) => "the database is away".to_owned(),
            };
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

async fn write(db: &DatabaseConnection, entry: &Entry) -> database::Result<()> {
    loop {
        let written = match entry {
            Entry::Hearing(purpose, hearing) => usage::record_hearing(db, *purpose, hearing).await,
            Entry::Rows(rows) => usage::record_rows(db, rows).await,
        };
        match written {
            Err(Error::Unavailable(error)) => {
                tracing::debug!(error = %error, "a row of the ledger waits for postgres");
                tokio::time::sleep(AGAIN).await;
            }
            written => return written,
        }
    }
}
