//! A cancel that a run sees coming: what it did to others cannot be undone, and is written down.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use tokio_util::sync::CancellationToken;

/// How long a run may take to end by itself.
const WIND_UP: Duration = Duration::from_secs(5);

/// Tells a run that its user does not want it any more.
#[derive(Default)]
pub(crate) struct Cancel {
    asked: CancellationToken,
    is_awaited: AtomicBool,
}

impl Cancel {
    /// Resolves when the run is cancelled. From now on it is not stopped at once then, but has [`WIND_UP`] to end by itself.
    pub(crate) async fn asked(&self) {
        self.is_awaited.store(true, Ordering::Release);
        self.asked.cancelled().await;
    }

    pub(super) fn ask(&self) {
        self.asked.cancel();
    }

    /// Leaves a run that looks for it the time to end.
    pub(super) async fn leave_time(&self) {
        if self.is_awaited.load(Ordering::Acquire) {
            tokio::time::sleep(WIND_UP).await;
        }
    }
}
