//! Transactions that count what a user uses wait for one another in the database, each with a connection.

use tokio::sync::{Semaphore, SemaphorePermit};

use crate::ids::UserId;

/// Users are told apart by so many shards, of each of which so many count at once: few of the connections of the pool.
const SHARDS: usize = 64;
const AT_ONCE: usize = 2;

/// Bounds how many of them a user has at once, so that others have connections.
pub(super) struct Counting([Semaphore; SHARDS]);

impl Default for Counting {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Semaphore::new(AT_ONCE)))
    }
}

impl Counting {
    /// Waits for a turn of the user, which is to be had before a connection is.
    pub(super) async fn turn(&self, user: UserId) -> Option<SemaphorePermit<'_>> {
        // It is never closed.
        self.shard(user).acquire().await.ok()
    }

    /// A turn of the user, if there is one at once.
    pub(super) fn turn_now(&self, user: UserId) -> Option<SemaphorePermit<'_>> {
        self.shard(user).try_acquire().ok()
    }

    fn shard(&self, user: UserId) -> &Semaphore {
        // The end of an id is random.
        let [.., last] = user.0.into_bytes();
        &self.0[usize::from(last) % SHARDS]
    }
}
