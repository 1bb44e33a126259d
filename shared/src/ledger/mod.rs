//! Accounts for what servers are asked.
//!
//! A call is noted before it is made, and is paid for whatever becomes of who wants it. When it has ended, a job or a request
//! must neither wait for its row of the ledger nor fail by it: each row has a task of its own, which goes on while the
//! database is away. Of a call whose row is never written, the note stays; workers find that it is over, and account for it.

mod counting;

use std::{sync::Arc, time::Duration};

use sea_orm::{DatabaseConnection, DbErr};
use tokio::{runtime::Handle, sync::SemaphorePermit};
use tokio_util::task::TaskTracker;
use tracing::Instrument as _;

use self::counting::Counting;
use crate::{
    config::UsageLimits,
    database::{self, Error, Origin, Tx},
    ids::{JobId, UsageId, UserId},
    models::{call, usage::Model, usage_month},
    redis::Redis,
};

/// How long a row may wait for the database, and the pause between two tries.
const PATIENCE: Duration = Duration::from_mins(2);
const AGAIN: Duration = Duration::from_millis(500);

/// The way to the ledger; cheap to clone.
#[derive(Clone)]
pub struct Ledger {
    db: DatabaseConnection,
    redis: Redis,
    limits: UsageLimits,
    counting: Arc<Counting>,
    tasks: TaskTracker,
    /// A future may be dropped where no runtime is entered.
    runtime: Handle,
}

/// A call that is noted. Where this is dropped, the call was not made, and the note goes.
pub struct Noted {
    ledger: Ledger,
    id: UsageId,
    is_made: bool,
}

/// What a note becomes.
enum End {
    Row(Box<Model>),
    Unmade(UsageId),
}

impl Ledger {
    /// Makes it; its tasks run where it is made, and belong to `tasks`.
    pub fn new(
        db: DatabaseConnection,
        redis: Redis,
        limits: UsageLimits,
        tasks: TaskTracker,
    ) -> Self {
        Self {
            db,
            redis,
            limits,
            counting: Arc::default(),
            tasks,
            runtime: Handle::current(),
        }
    }

    /// Waits for a turn of a user whose usage is to be counted, which is to be had before a connection is.
    pub async fn turn(&self, user: UserId) -> Option<SemaphorePermit<'_>> {
        self.counting.turn(user).await
    }

    /// A turn of a user, if there is one at once.
    pub fn turn_now(&self, user: UserId) -> Option<SemaphorePermit<'_>> {
        self.counting.turn_now(user)
    }

    /// Notes that this run of a job is about to ask a server; `estimate` is the row of that, if nobody tells what came of it.
    /// Waits while Postgres is away: what is not noted must not be asked, and the job's time limit bounds it.
    ///
    /// # Errors
    /// As the database fails otherwise; then nothing stays noted.
    pub async fn note(&self, job: JobId, epoch: i32, estimate: Model) -> database::Result<Noted> {
        let mut noted = self.noted(&estimate);
        loop {
            let (again, written) = self
                .write_note(noted, Some((job, epoch)), estimate.clone())
                .await?;
            match written {
                Ok(()) => return Ok(again),
                Err(Error::Unavailable(error)) => {
                    tracing::debug!(error = %error, "a call of a server waits for postgres");
                    tokio::time::sleep(AGAIN).await;
                    noted = again;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// The same for a request, which has no run of a job, and does not wait.
    ///
    /// # Errors
    /// As the database fails; then nothing stays noted.
    pub async fn note_request(&self, estimate: Model) -> database::Result<Noted> {
        let noted = self.noted(&estimate);
        let (noted, written) = self.write_note(noted, None, estimate).await?;
        written.map(|()| noted)
    }

    fn noted(&self, estimate: &Model) -> Noted {
        Noted {
            ledger: self.clone(),
            id: estimate.id,
            is_made: false,
        }
    }

    /// Writes a note, in a task of its own: where nobody waits for it any more, the note goes after it was written, not before.
    async fn write_note(
        &self,
        noted: Noted,
        run: Option<(JobId, i32)>,
        estimate: Model,
    ) -> database::Result<(Noted, database::Result<()>)> {
        let db = self.db.clone();
        let noting = async move {
            let written = call::note(&db, run, &estimate).await;
            (noted, written)
        };
        let noting = self.tasks.spawn_on(noting.in_current_span(), &self.runtime);
        noting
            .await
            .map_err(|error| Error::Failed(DbErr::Custom(error.to_string())))
    }

    fn spawn(&self, end: End) {
        let ledger = self.clone();
        let writing = async move {
            let written = tokio::time::timeout(PATIENCE, ledger.write(&end)).await;
            let error = match written {
                Ok(Ok(())) => return,
                Ok(Err(error)) => format!("{:#}", anyhow::Error::new(error)),
                Err(_) => "the database is away".to_owned(),
            };
            let id = match &end {
                End::Row(row) => row.id,
                End::Unmade(id) => *id,
            };
            tracing::error!(call = %id, error, "what came of a call of a server is not in the ledger, which will estimate it");
        };
        self.tasks
            .spawn_on(writing.in_current_span(), &self.runtime);
    }

    async fn write(&self, end: &End) -> database::Result<()> {
        loop {
            let written = match end {
                End::Row(row) => self.settle(row).await,
                End::Unmade(id) => call::withdraw(&self.db, *id).await,
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

    /// Writes a row, and tells of limits that are near or reached by it.
    async fn settle(&self, row: &Model) -> database::Result<()> {
        let _turn = match row.user_id {
            Some(user) => self.turn(user).await,
            None => None,
        };
        if self.limits.is_none() {
            return call::settle(&self.db, row).await;
        }
        let mut tx = Tx::begin(&self.db, &self.redis, Origin::default()).await?;
        call::settle(tx.orm(), row).await?;
        usage_month::tell(&mut tx, &self.limits, row.user_id, &[row.created_at]).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Waits until all rows are written, but not longer than that.
    pub async fn finish(&self, within: Duration) {
        self.tasks.close();
        if tokio::time::timeout(within, self.tasks.wait())
            .await
            .is_err()
        {
            let calls = self.tasks.len();
            tracing::warn!(
                calls,
                "what came of calls of servers is not in the ledger, which will estimate it"
            );
        }
    }
}

impl Noted {
    /// Sees to it that the call's row is written in place of the note, once, and returns at once.
    pub fn write(mut self, row: Model) {
        self.is_made = true;
        self.ledger.spawn(End::Row(Box::new(row)));
    }
}

impl Drop for Noted {
    fn drop(&mut self) {
        if !self.is_made {
            self.ledger.spawn(End::Unmade(self.id));
        }
    }
}
