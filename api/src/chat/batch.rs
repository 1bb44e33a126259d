//! What many requests write, written together: things that come while others are written are written next, all at once.

use std::sync::Arc;

use sea_orm::{DatabaseConnection, DbErr};
use shared::{
    database::{self, Error, Result},
    models::{
        message,
        turn::{self, Begun, EndedTurn, NewTurn},
    },
};
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio_util::task::TaskTracker;

/// Most things that are written together.
const MOST: usize = 64;
/// How many groups are written at the same time: while one waits for the disk, the next is put together.
const WRITERS: usize = 2;

/// Something that is written with others of its kind.
pub(super) trait Written: Clone + Send + Sync + 'static {
    /// What is known of it then.
    type Output: Send + 'static;

    /// Writes things as a whole or not at all, and answers in their order.
    fn write(
        db: &DatabaseConnection,
        things: &[Self],
    ) -> impl Future<Output = Result<Vec<Self::Output>>> + Send;
}

impl Written for NewTurn {
    type Output = Option<Begun>;

    async fn write(db: &DatabaseConnection, turns: &[Self]) -> Result<Vec<Option<Begun>>> {
        turn::begin(db, turns).await
    }
}

impl Written for EndedTurn {
    type Output = Option<message::Model>;

    async fn write(db: &DatabaseConnection, turns: &[Self]) -> Result<Vec<Option<message::Model>>> {
        turn::end(db, turns).await
    }
}

/// Everything that was written before.
#[derive(Debug, Clone, Copy)]
pub(super) struct Flush;

impl Written for Flush {
    type Output = ();

    async fn write(db: &DatabaseConnection, flushes: &[Self]) -> Result<Vec<()>> {
        database::flush(db).await?;
        Ok(vec![(); flushes.len()])
    }
}

/// A thing, and who waits for it.
type Entry<T> = (T, oneshot::Sender<Result<<T as Written>::Output>>);

/// Writes things of a kind.
pub(super) struct Batch<T: Written> {
    queue: mpsc::UnboundedSender<Entry<T>>,
    /// Owns the writers, which end with this.
    _writers: TaskTracker,
}

impl<T: Written> Batch<T> {
    /// Starts the writers.
    pub(super) fn start(db: &DatabaseConnection) -> Self {
        let (queue, entries) = mpsc::unbounded_channel();
        let entries = Arc::new(Mutex::new(entries));
        let writers = TaskTracker::new();
        for _ in 0..WRITERS {
            writers.spawn(run(db.clone(), entries.clone()));
        }
        Self {
            queue,
            _writers: writers,
        }
    }

    /// Writes a thing.
    ///
    /// # Errors
    /// As the database fails.
    pub(super) async fn write(&self, thing: T) -> Result<T::Output> {
        let (done, written) = oneshot::channel();
        let gone = || Error::Unavailable(DbErr::Custom("the writer has gone".to_owned()));
        self.queue.send((thing, done)).map_err(|_| gone())?;
        written.await.map_err(|_| gone())?
    }
}

async fn run<T: Written>(
    db: DatabaseConnection,
    entries: Arc<Mutex<mpsc::UnboundedReceiver<Entry<T>>>>,
) {
    let mut waiting = Vec::with_capacity(MOST);
    while entries.lock().await.recv_many(&mut waiting, MOST).await > 0 {
        let (things, waiters): (Vec<_>, Vec<_>) = waiting.drain(..).unzip();
        let written = match T::write(&db, &things).await {
            Ok(written) => written.into_iter().map(Ok).collect(),
            Err(error) if things.len() == 1 => vec![Err(error)],
            // It would be no better one by one.
            Err(Error::Unavailable(error)) => {
                let again = || Error::Unavailable(error.clone());
                things.iter().map(|_| Err(again())).collect()
            }
            // One that cannot be written must not hold up the others.
            Err(error) => {
                tracing::debug!(error = %error, things = things.len(), "they are written one by one");
                let mut written = Vec::with_capacity(things.len());
                for thing in &things {
                    let one = T::write(&db, std::slice::from_ref(thing)).await;
                    written.push(one.map(|mut one| one.remove(0)));
                }
                written
            }
        };
        for (done, output) in waiters.into_iter().zip(written) {
            // Whoever has gone meanwhile does not wait for it.
            _ = done.send(output);
        }
    }
}
