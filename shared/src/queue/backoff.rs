//! How long a job waits before it is tried again.

use std::time::Duration;

/// A growing wait with jitter: half of it is fixed, half random, so that jobs that failed together do not come
/// back together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    base: Duration,
    cap: Duration,
}

impl Backoff {
    /// `base` after the first failure, doubled after each further one, never above `cap`.
    pub const fn exponential(base: Duration, cap: Duration) -> Self {
        Self { base, cap }
    }

    /// The wait after the `attempt`-th failure (1, 2, …): d/2 + `random` · d/2, where d = base · 2^(attempt − 1).
    ///
    /// `random` is in 0..1. `at_least` is what the other side asked for (`Retry-After`).
    pub fn wait(self, attempt: u32, random: f64, at_least: Option<Duration>) -> Duration {
        let doublings = attempt.saturating_sub(1).min(31);
        let full = self.base.saturating_mul(1 << doublings).min(self.cap);
        let jittered = full / 2 + (full / 2).mul_f64(random.clamp(0.0, 1.0));
        jittered.max(at_least.unwrap_or_default())
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self::exponential(Duration::from_secs(2), Duration::from_hours(1))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TWO_SECONDS: Backoff =
        Backoff::exponential(Duration::from_secs(2), Duration::from_mins(1));

    #[test]
    fn the_wait_doubles_and_is_capped() {
        let waits: Vec<u64> = (1..=7)
            .map(|attempt| TWO_SECONDS.wait(attempt, 1.0, None).as_secs())
            .collect();
        assert_eq!(waits, [2, 4, 8, 16, 32, 60, 60]);
    }

    #[test]
    fn the_other_side_may_ask_for_more_but_not_for_less() {
        let hour = Duration::from_hours(1);
        assert_eq!(TWO_SECONDS.wait(1, 0.0, Some(hour)), hour);
        assert_eq!(
            TWO_SECONDS.wait(1, 0.0, Some(Duration::ZERO)),
            Duration::from_secs(1)
        );
    }

    proptest! {
        #[test]
        fn the_wait_is_between_half_and_whole(attempt in 0u32..10_000, random in 0.0f64..1.0) {
            let whole = TWO_SECONDS.wait(attempt, 1.0, None);
            let wait = TWO_SECONDS.wait(attempt, random, None);
            prop_assert!(wait >= whole / 2 && wait <= whole && whole <= Duration::from_mins(1));
        }
    }
}
