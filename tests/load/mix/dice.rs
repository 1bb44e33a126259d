//! Dice that fall the same way in every run.

use std::{ops::Range, time::Duration};

/// The dice of one user: `SplitMix64` (G. Steele, D. Lea, C. Flood, "Fast splittable pseudorandom number generators", 2014).
#[derive(Debug)]
pub(super) struct Dice(u64);

impl Dice {
    /// Those of the user with this number.
    pub(super) fn of(user: u32) -> Self {
        Self(u64::from(user))
    }

    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below this one; 0 where there is none.
    pub(super) fn below(&mut self, end: usize) -> usize {
        let number = self.roll() % (end.max(1) as u64);
        usize::try_from(number).unwrap_or_default()
    }

    /// Whether it happens, once in so many times.
    pub(super) fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    /// One of a list; none of an empty one.
    pub(super) fn one_of<'a, T>(&mut self, list: &'a [T]) -> Option<&'a T> {
        list.get(self.below(list.len()))
    }

    /// Takes one out of a list.
    pub(super) fn take<T>(&mut self, list: &mut Vec<T>) -> Option<T> {
        let index = self.below(list.len());
        (index < list.len()).then(|| list.swap_remove(index))
    }

    /// A time within a range of milliseconds.
    pub(super) fn millis(&mut self, range: &Range<u64>) -> Duration {
        let length = range.end.saturating_sub(range.start).max(1);
        Duration::from_millis(range.start + self.roll() % length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_generator_of_the_paper() {
        // The first two numbers that the authors' Java (`SplittableRandom`) and the public C version give for the seed 0.
        let mut dice = Dice::of(0);
        assert_eq!(dice.roll(), 0xe220_a839_7b1d_cdaf);
        assert_eq!(dice.roll(), 0x6e78_9e6a_a1b9_65f4);
    }

    #[test]
    fn users_differ_and_stay_within_bounds() {
        let draw = |user| -> Vec<usize> {
            let mut dice = Dice::of(user);
            (0..20).map(|_| dice.below(6)).collect()
        };
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
        assert!(draw(3).into_iter().all(|number| number < 6));
        let mut dice = Dice::of(4);
        assert_eq!(dice.one_of::<u8>(&[]), None);
        assert_eq!(dice.take::<u8>(&mut Vec::new()), None);
        let pause = dice.millis(&(200..300)).as_millis();
        assert!((200..300).contains(&pause));
    }
}
