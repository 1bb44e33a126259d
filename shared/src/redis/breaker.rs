//! Keeps callers from waiting for a Redis that is away.

use std::{
    sync::atomic::{AtomicU32, AtomicU64, Ordering},
    time::{Duration, Instant},
};

/// Failures in a row that open the breaker.
const BREAKER_FAILURES: u32 = 10;
/// How long an open breaker lets nothing through.
const BREAKER_PAUSE: Duration = Duration::from_secs(5);

/// Closed until Redis fails often.
pub(super) struct Breaker {
    started: Instant,
    failures: AtomicU32,
    /// Milliseconds after `started`; 0 = closed.
    open_until: AtomicU64,
}

impl Breaker {
    pub(super) fn new() -> Self {
        Self {
            started: Instant::now(),
            failures: AtomicU32::new(0),
            open_until: AtomicU64::new(0),
        }
    }

    /// Whether Redis is not worth a try now.
    pub(super) fn is_open(&self) -> bool {
        let until = self.open_until.load(Ordering::Relaxed);
        until != 0 && self.started.elapsed() < Duration::from_millis(until)
    }

    /// Counts how a command went; loss and return are logged once.
    pub(super) fn record(&self, ok: bool) {
        if ok {
            if self.failures.swap(0, Ordering::Relaxed) >= BREAKER_FAILURES {
                self.open_until.store(0, Ordering::Relaxed);
                tracing::info!("redis is back");
            }
            return;
        }
        let failures = self.failures.fetch_add(1, Ordering::Relaxed) + 1;
        if failures >= BREAKER_FAILURES {
            let until = self.started.elapsed() + BREAKER_PAUSE;
            self.open_until.store(
                u64::try_from(until.as_millis()).unwrap_or(u64::MAX),
                Ordering::Relaxed,
            );
        }
        if failures == BREAKER_FAILURES {
            tracing::warn!("redis is away; going on without it");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_breaker_opens_after_ten_failures_in_a_row_and_closes_on_success() {
        let breaker = Breaker::new();
        for _ in 0..9 {
            breaker.record(false);
        }
        assert!(!breaker.is_open());
        breaker.record(false);
        assert!(breaker.is_open());
        breaker.record(true);
        assert!(!breaker.is_open());
    }
}
