//! The one call that shows whether a provider is back.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::runtime::Handle;

use super::{Providers, pool::Shared};
use crate::keyring::random;

/// That a call may be this one, by Redis or by what is known here. If nobody tells what came of it, another one may be once
/// this is dropped.
pub(super) struct Probe {
    providers: Providers,
    pool: Shared,
    model: String,
    mark: u32,
    is_open: AtomicBool,
}

impl Probe {
    pub(super) fn new(providers: &Providers, pool: &Shared, model: &str) -> Self {
        Self {
            providers: providers.clone(),
            pool: pool.clone(),
            model: model.to_owned(),
            mark: u32::from_le_bytes(random()),
            is_open: AtomicBool::new(true),
        }
    }

    /// By which it is known.
    pub(super) fn mark(&self) -> u32 {
        self.mark
    }

    /// Notes that it is none any more; tells whether it was one until now.
    pub(super) fn end(&self) -> bool {
        self.is_open.swap(false, Ordering::Relaxed)
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        // Without a runtime the program ends, and others wait until its time is over.
        if self.end()
            && let Ok(runtime) = Handle::try_current()
        {
            let (providers, model) = (self.providers.clone(), std::mem::take(&mut self.model));
            let tasks = providers.0.tasks.clone();
            let unprobe = providers.unprobe(self.pool.clone(), model, self.mark);
            tasks.spawn_on(unprobe, &runtime);
        }
    }
}
