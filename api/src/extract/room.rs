//! The room for large bodies: how many bytes of them a process keeps at once.
//!
//! A question is kept until it is answered, as another provider may have to be asked; parsed, it takes more than its length.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex, MutexGuard},
};

use axum::{extract::FromRequestParts, http::request::Parts};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{app::App, error::Error};

/// Bodies of up to so many bytes count for nothing.
const FREE_BYTES: usize = 1 << 20;
/// All others have this together.
const ALL_BYTES: usize = 128 << 20;

/// All the room of a process; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Rooms(Arc<Semaphore>);

impl Default for Rooms {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(ALL_BYTES)))
    }
}

/// What one body takes of it: nothing before it is read, and nothing any more once it is left or the last clone is dropped.
#[derive(Debug, Clone)]
pub(crate) struct Room {
    all: Rooms,
    taken: Arc<Mutex<Option<OwnedSemaphorePermit>>>,
}

impl Room {
    fn of(all: &Rooms) -> Self {
        Self {
            all: all.clone(),
            taken: Arc::default(),
        }
    }

    /// Whether a body of this length counts.
    pub(super) fn is_needed(length: usize) -> bool {
        length > FREE_BYTES
    }

    /// Takes room for a body of this length, unless that was done.
    ///
    /// # Errors
    /// [`Error::Overloaded`] where there is none.
    pub(super) fn take(&self, length: usize) -> Result<(), Error> {
        let mut taken = self.taken();
        if taken.is_some() || !Self::is_needed(length) {
            return Ok(());
        }
        let bytes = u32::try_from(length).map_err(|_| Error::Overloaded)?;
        let permit = self.all.0.clone().try_acquire_many_owned(bytes);
        *taken = Some(permit.map_err(|_| Error::Overloaded)?);
        Ok(())
    }

    /// Makes room for others: what was read is not kept any more.
    pub(crate) fn leave(&self) {
        *self.taken() = None;
    }

    fn taken(&self) -> MutexGuard<'_, Option<OwnedSemaphorePermit>> {
        self.taken
            .lock()
            .expect("nothing panics while it holds this lock")
    }
}

impl FromRequestParts<App> for Room {
    type Rejection = Infallible;

    /// Stands before the body in a handler, whose reader finds it in the request.
    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Infallible> {
        let room = Self::of(&app.bodies);
        parts.extensions.insert(room.clone());
        Ok(room)
    }
}

#[cfg(test)]
impl Room {
    /// One of a process of its own.
    pub(super) fn alone(all_bytes: usize) -> Self {
        Self::of(&Rooms(Arc::new(Semaphore::new(all_bytes))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    #[test]
    fn large_bodies_share_the_room_and_small_ones_take_none() {
        let all = Rooms(Arc::new(Semaphore::new(10 * MIB)));
        let (one, other, small) = (Room::of(&all), Room::of(&all), Room::of(&all));
        one.take(6 * MIB).unwrap();
        // Once for each body.
        one.take(6 * MIB).unwrap();
        assert!(matches!(other.take(5 * MIB), Err(Error::Overloaded)));
        small.take(MIB).unwrap();
        other.take(4 * MIB).unwrap();
        one.leave();
        let third = Room::of(&all);
        third.take(6 * MIB).unwrap();
        let kept = third.clone();
        drop(third);
        assert!(one.take(2 * MIB).is_err());
        drop(kept);
        one.take(6 * MIB).unwrap();
    }
}
