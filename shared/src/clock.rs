//! The time, as the programs see it.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};
use std::time::Duration;

use chrono::{DateTime, Utc};

/// Where "now" comes from: the machine, or a test.
///
/// Times are cut to microseconds, which is what Postgres keeps: a time that went through the database
/// equals the one that was sent.
#[derive(Debug, Clone, Default)]
pub enum Clock {
    /// The machine's clock.
    #[default]
    System,
    /// A clock that stands still until it is moved: microseconds since 1970.
    Frozen(Arc<AtomicI64>),
}

impl Clock {
    /// Makes a clock that stands at `at`.
    pub fn frozen(at: DateTime<Utc>) -> Self {
        Self::Frozen(Arc::new(AtomicI64::new(at.timestamp_micros())))
    }

    /// Tells the time.
    pub fn now(&self) -> DateTime<Utc> {
        let micros = match self {
            #[expect(clippy::disallowed_methods, reason = "this is the one place")]
            Self::System => Utc::now().timestamp_micros(),
            Self::Frozen(micros) => micros.load(Ordering::SeqCst),
        };
        DateTime::from_timestamp_micros(micros).unwrap_or_default()
    }

    /// The time, where a test says what it is: whoever has a clock that others share asks that one else.
    pub fn frozen_now(&self) -> Option<DateTime<Utc>> {
        matches!(self, Self::Frozen(_)).then(|| self.now())
    }

    /// Moves a frozen clock forward; the machine's clock ignores it.
    pub fn advance(&self, by: Duration) {
        if let Self::Frozen(micros) = self {
            micros.fetch_add(
                i64::try_from(by.as_micros()).unwrap_or(i64::MAX),
                Ordering::SeqCst,
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frozen_clock_moves_only_when_told() {
        let clock = Clock::frozen(DateTime::UNIX_EPOCH);
        let twin = clock.clone();
        assert_eq!(clock.now(), DateTime::UNIX_EPOCH);
        twin.advance(Duration::from_millis(1500));
        assert_eq!(clock.now().timestamp_millis(), 1500);
    }

    #[test]
    fn times_are_cut_to_microseconds() {
        assert_eq!(Clock::System.now().timestamp_subsec_nanos() % 1000, 0);
    }
}
