//! How often others are asked instead of one that failed: no outage may multiply the traffic.
//!
//! A fifth of the requests, and three more, within ten seconds: Envoy's retry budget.

use std::{
    sync::Mutex,
    time::{Duration, Instant},
};

const WINDOW: Duration = Duration::from_secs(10);
const SHARE: f64 = 0.2;
const AT_LEAST: f64 = 3.0;

/// Counts the requests and retries of this process.
#[derive(Debug)]
pub(super) struct Budget(Mutex<Counts>);

#[derive(Debug)]
struct Counts {
    since: Instant,
    requests: f64,
    retries: f64,
    /// What is left of the window before.
    earlier: (f64, f64),
}

impl Budget {
    pub(super) fn new() -> Self {
        Self(Mutex::new(Counts {
            since: Instant::now(),
            requests: 0.0,
            retries: 0.0,
            earlier: (0.0, 0.0),
        }))
    }

    /// Counts a request.
    pub(super) fn request(&self) {
        self.at(Instant::now(), |counts, _| counts.requests += 1.0);
    }

    /// Takes a retry, if there is one left.
    pub(super) fn retry(&self) -> bool {
        self.retry_at(Instant::now())
    }

    fn retry_at(&self, now: Instant) -> bool {
        self.at(now, |counts, weight| {
            let requests = counts.requests + counts.earlier.0 * weight;
            let retries = counts.retries + counts.earlier.1 * weight;
            let is_left = retries + 1.0 <= requests * SHARE + AT_LEAST;
            if is_left {
                counts.retries += 1.0;
            }
            is_left
        })
    }

    /// Two windows, of which the earlier one fades.
    fn at<T>(&self, now: Instant, work: impl FnOnce(&mut Counts, f64) -> T) -> T {
        let mut counts = self
            .0
            .lock()
            .expect("nothing panics while it holds this lock");
        let age = now.saturating_duration_since(counts.since);
        if age >= WINDOW {
            counts.earlier = if age < 2 * WINDOW {
                (counts.requests, counts.retries)
            } else {
                (0.0, 0.0)
            };
            (counts.requests, counts.retries, counts.since) = (0.0, 0.0, now);
        }
        let age = now.saturating_duration_since(counts.since);
        let weight = 1.0 - (age.as_secs_f64() / WINDOW.as_secs_f64()).min(1.0);
        work(&mut counts, weight)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_and_a_fifth_of_the_requests_are_tried_again() {
        let budget = Budget::new();
        let now = Instant::now();
        let taken = (0..10).filter(|_| budget.retry_at(now)).count();
        assert_eq!(taken, 3);
        for _ in 0..50 {
            budget.at(now, |counts, _| counts.requests += 1.0);
        }
        let taken = (0..50).filter(|_| budget.retry_at(now)).count();
        assert_eq!(taken, 10);
        assert!(budget.retry_at(now + 3 * WINDOW));
    }
}
