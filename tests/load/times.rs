//! Times of answers.

use std::time::Duration;

/// Times, whose percentiles are told once all are there.
#[derive(Debug, Default)]
pub(crate) struct Times(Vec<Duration>);

impl Times {
    pub(crate) fn push(&mut self, time: Duration) {
        self.0.push(time);
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    /// The 50th, 95th and 99th percentile and the longest one, in milliseconds; nothing where there are none.
    pub(crate) fn percentiles(&mut self) -> Option<[f64; 4]> {
        self.0.sort_unstable();
        let last = self.0.len().checked_sub(1)?;
        let at = |percent: usize| {
            let index = (self.0.len() * percent / 100).min(last);
            self.0[index].as_secs_f64() * 1000.0
        };
        Some([at(50), at(95), at(99), at(100)])
    }
}

impl FromIterator<Duration> for Times {
    fn from_iter<I: IntoIterator<Item = Duration>>(times: I) -> Self {
        Self(times.into_iter().collect())
    }
}

/// How many there were in a second.
#[expect(clippy::cast_precision_loss, reason = "a count of requests")]
pub(crate) fn a_second(count: usize, took: Duration) -> f64 {
    count as f64 / took.as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_sorted_times() {
        let mut times: Times = (1..=200).rev().map(Duration::from_millis).collect();
        assert_eq!(times.count(), 200);
        assert_eq!(times.percentiles(), Some([101.0, 191.0, 199.0, 200.0]));
    }

    #[test]
    fn a_single_time_is_all_percentiles_and_none_has_none() {
        let mut times = Times::default();
        assert_eq!(times.percentiles(), None);
        times.push(Duration::from_millis(7));
        assert_eq!(times.percentiles(), Some([7.0; 4]));
    }
}
