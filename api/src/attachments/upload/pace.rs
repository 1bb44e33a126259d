//! How fast an upload must come: a client that sends next to nothing must not hold a connection for hours.

use std::{collections::VecDeque, time::Duration};

/// Pieces that come within this share of the window count as one.
const GRAIN: u32 = 64;

/// Least speed of an upload.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Speed {
    /// Over which time it is measured.
    pub(super) window: Duration,
    /// What must come in each such time.
    pub(super) bytes: u64,
}

/// 10 KiB a second over any 30 s.
pub(crate) const SPEED: Speed = Speed {
    window: Duration::from_secs(30),
    bytes: 30 * 10 * 1024,
};

/// The speed of one upload, over a sliding window.
///
/// Its time only runs while we wait for the client, so that a slow storage is not the client's fault.
#[derive(Debug)]
pub(crate) struct Pace {
    speed: Speed,
    waited: Duration,
    /// What came, and when; together no more than the least that is needed.
    pieces: VecDeque<(Duration, u64)>,
}

impl Pace {
    pub(crate) fn new(speed: Speed) -> Self {
        Self {
            speed,
            waited: Duration::ZERO,
            pieces: VecDeque::new(),
        }
    }

    /// How long the next piece may still take: until what came in the window before is too little.
    pub(crate) fn patience(&self) -> Duration {
        let sum: u64 = self.pieces.iter().map(|(_, bytes)| bytes).sum();
        // The oldest piece is the one without which it would be too little.
        let since = match self.pieces.front() {
            Some((at, _)) if sum >= self.speed.bytes => *at,
            _ => Duration::ZERO,
        };
        (since + self.speed.window).saturating_sub(self.waited)
    }

    /// Counts a piece, for which we have waited so long.
    pub(crate) fn count(&mut self, waited: Duration, bytes: usize) {
        self.waited += waited;
        let bytes = bytes as u64;
        let grain = self.speed.window / GRAIN;
        match self.pieces.back_mut() {
            Some((at, sum)) if self.waited < *at + grain => *sum += bytes,
            _ => self.pieces.push_back((self.waited, bytes)),
        }
        let mut sum: u64 = self.pieces.iter().map(|(_, bytes)| bytes).sum();
        while let Some((_, oldest)) = self.pieces.front()
            && sum - oldest >= self.speed.bytes
        {
            sum -= oldest;
            self.pieces.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_stand_still_and_a_trickle_run_out_of_patience() {
        let mut pace = Pace::new(SPEED);
        assert_eq!(pace.patience(), 30 * SECOND);
        // 9 KiB a second: after 30 s it is too little.
        for second in 1..=29 {
            pace.count(SECOND, 9 * 1024);
            assert_eq!(pace.patience(), (30 - second) * SECOND);
        }
        pace.count(SECOND, 9 * 1024);
        assert_eq!(pace.patience(), Duration::ZERO);
    }

    #[test]
    fn a_steady_upload_goes_on() {
        let mut pace = Pace::new(SPEED);
        for _ in 0..10_000 {
            assert!(pace.patience() >= SECOND);
            pace.count(SECOND, 11 * 1024);
        }
        // Then nothing more: what came in the last 30 s is enough for some seconds yet.
        assert!(pace.patience() <= 4 * SECOND);
    }

    #[test]
    fn a_burst_is_worth_one_window() {
        let mut pace = Pace::new(SPEED);
        pace.count(SECOND, 8 << 20);
        assert_eq!(pace.patience(), 30 * SECOND);
        pace.count(29 * SECOND, 1);
        assert_eq!(pace.patience(), SECOND);
    }

    proptest! {
        #[test]
        fn it_stays_small_however_an_upload_comes(pieces in prop::collection::vec((0u64..2_000, 0usize..100_000), 0..500)) {
            let mut pace = Pace::new(SPEED);
            for (millis, bytes) in pieces {
                pace.count(Duration::from_millis(millis), bytes);
                prop_assert!(pace.pieces.len() <= GRAIN as usize * 40);
                prop_assert!(pace.patience() <= SPEED.window);
            }
        }
    }
}
