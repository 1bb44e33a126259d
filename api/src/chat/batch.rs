//! What many requests write, written together: things that come while others are written are written next, all at once.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures::FutureExt as _;
use sea_orm::{DatabaseConnection, DbErr};
use shared::{
    database::{Connection, Error, Held, Result},
    ids::MessageId,
    models::{
        message,
        turn::{self, Begun, EndedTurn, NewTurn},
    },
};
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio_util::task::TaskTracker;

/// Most things that are written together, and bytes of their texts.
const MOST: usize = 64;
const MOST_BYTES: usize = 64 * 1024;

/// How long a writer keeps its connection while nothing comes.
const HELD: Duration = Duration::from_secs(1);

/// Something that is written with others of its kind.
pub(super) trait Written: Clone + Send + Sync + 'static {
    /// What is known of it then.
    type Output: Send + 'static;

    /// Bytes of its text.
    fn size(&self) -> usize;

    /// Writes things as a whole or not at all, and answers in their order.
    fn write(
        db: &mut Connection,
        things: &[Self],
    ) -> impl Future<Output = Result<Vec<Self::Output>>> + Send;
}

impl Written for NewTurn {
    type Output = Option<Begun>;

    fn size(&self) -> usize {
        self.content.size_bytes()
    }

    async fn write(db: &mut Connection, turns: &[Self]) -> Result<Vec<Option<Begun>>> {
        turn::begin(db, turns).await
    }
}

impl Written for EndedTurn {
    type Output = Option<message::Model>;

    fn size(&self) -> usize {
        self.ended.text.len()
    }

    async fn write(db: &mut Connection, turns: &[Self]) -> Result<Vec<Option<message::Model>>> {
        turn::end(db, turns).await
    }
}

/// An answer that was begun, and all that was written before.
#[derive(Debug, Clone, Copy)]
pub(super) struct Flush(pub(super) MessageId);

impl Written for Flush {
    /// Whether it is still there.
    type Output = bool;

    fn size(&self) -> usize {
        0
    }

    async fn write(db: &mut Connection, flushes: &[Self]) -> Result<Vec<bool>> {
        let answers: Vec<MessageId> = flushes.iter().map(|flush| flush.0).collect();
        turn::flush(db, &answers).await
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
    /// Starts so many writers: while one waits for the disk, the next puts things together.
    pub(super) fn start(db: &DatabaseConnection, writers: usize) -> Self {
        let (queue, entries) = mpsc::unbounded_channel();
        let entries = Arc::new(Mutex::new(entries));
        let tasks = TaskTracker::new();
        for _ in 0..writers {
            tasks.spawn(Writer(Held::new(db)).run(entries.clone()));
        }
        Self {
            queue,
            _writers: tasks,
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

type Entries<T> = Arc<Mutex<mpsc::UnboundedReceiver<Entry<T>>>>;

/// A writer, with its way to the database.
struct Writer(Held);

impl Writer {
    async fn run<T: Written>(mut self, entries: Entries<T>) {
        while let Some(group) = self.next(&entries).await {
            if let Err(away) = self.write_group(group).await {
                // The others would wait for nothing, each group for as long as this one.
                let mut entries = entries.lock().await;
                while let Ok((_, done)) = entries.try_recv() {
                    _ = done.send(Err(again(&away)));
                }
            }
        }
    }

    /// What waits to be written, as far as it may be written together.
    async fn next<T: Written>(&mut self, entries: &Entries<T>) -> Option<Vec<Entry<T>>> {
        if let Ok(group) = tokio::time::timeout(HELD, group(entries)).await {
            return group;
        }
        self.0.release();
        group(entries).await
    }

    /// Writes a group, and tells those who wait. Whoever has gone meanwhile does not wait.
    ///
    /// # Errors
    /// Where the database is away.
    async fn write_group<T: Written>(&mut self, group: Vec<Entry<T>>) -> Result<()> {
        let (things, waiters): (Vec<_>, Vec<_>) = group.into_iter().unzip();
        let mut away = match self.write(&things).await {
            Ok(outputs) => {
                for (done, output) in waiters.into_iter().zip(outputs) {
                    _ = done.send(Ok(output));
                }
                return Ok(());
            }
            Err(error) if error.is_away() => Some(error),
            Err(error) if things.len() == 1 => {
                if let Some(done) = waiters.into_iter().next() {
                    _ = done.send(Err(error));
                }
                return Ok(());
            }
            Err(error) => {
                tracing::debug!(error = %error, things = things.len(), "they are written one by one");
                None
            }
        };
        // One that cannot be written must not hold up the others.
        for (thing, done) in things.into_iter().zip(waiters) {
            let written = match &away {
                Some(error) => Err(again(error)),
                None => self
                    .write(&[thing])
                    .await
                    .map(|mut outputs| outputs.remove(0)),
            };
            if away.is_none()
                && let Err(error) = &written
                && error.is_away()
            {
                away = Some(again(error));
            }
            _ = done.send(written);
        }
        away.map_or(Ok(()), Err)
    }

    /// Writes things; a writer outlives what goes wrong with one of them.
    async fn write<T: Written>(&mut self, things: &[T]) -> Result<Vec<T::Output>> {
        let writing = self.0.using(async |db| T::write(db, things).await);
        let written = AssertUnwindSafe(writing).catch_unwind().await;
        let failed = || Error::Failed(DbErr::Custom("writing panicked".to_owned()));
        let outputs = written.map_err(|_| failed())??;
        (outputs.len() == things.len())
            .then_some(outputs)
            .ok_or_else(failed)
    }
}

/// What waits to be written, as far as it may be written together.
async fn group<T: Written>(entries: &Entries<T>) -> Option<Vec<Entry<T>>> {
    let mut entries = entries.lock().await;
    let first = entries.recv().await?;
    let mut size = first.0.size();
    let mut group = vec![first];
    while group.len() < MOST
        && size < MOST_BYTES
        && let Ok(entry) = entries.try_recv()
    {
        size += entry.0.size();
        group.push(entry);
    }
    Some(group)
}

/// The same for another one who waits.
fn again(error: &Error) -> Error {
    Error::Unavailable(DbErr::Custom(error.to_string()))
}
