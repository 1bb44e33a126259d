//! Slots: how many jobs of a queue may run at once.
//!
//! A tower layer that is ready only while a slot is free, so the transport never takes an id that would have to
//! wait here. The slot travels to the handler in a task-local, and from there into the job's own task.

use std::{
    cell::RefCell,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::PollSemaphore;
use tower::{Layer, Service};

tokio::task_local! {
    static SLOT: RefCell<Option<OwnedSemaphorePermit>>;
}

/// Takes the slot that was held for the call that runs now.
pub(super) fn take() -> Option<OwnedSemaphorePermit> {
    SLOT.try_with(|slot| slot.borrow_mut().take())
        .ok()
        .flatten()
}

#[derive(Clone)]
pub(super) struct SlotLayer(Arc<Semaphore>);

impl SlotLayer {
    pub(super) fn new(slots: Arc<Semaphore>) -> Self {
        Self(slots)
    }
}

impl<S> Layer<S> for SlotLayer {
    type Service = SlotService<S>;

    fn layer(&self, inner: S) -> SlotService<S> {
        SlotService {
            inner,
            slots: PollSemaphore::new(self.0.clone()),
            held: None,
        }
    }
}

pub(super) struct SlotService<S> {
    inner: S,
    slots: PollSemaphore,
    held: Option<OwnedSemaphorePermit>,
}

impl<S, Request> Service<Request> for SlotService<S>
where
    S: Service<Request>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        if self.held.is_none() {
            self.held = ready!(self.slots.poll_acquire(cx));
        }
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let slot = RefCell::new(self.held.take());
        Box::pin(SLOT.scope(slot, self.inner.call(request)))
    }
}
