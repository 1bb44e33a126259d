//! What is learned of a model whose encoding is not known: by how much its tokens differ from those that are counted here.
//!
//! The factor is the tokens that providers reported over those that were counted, of the latest answers; its error is the
//! root mean square by which single answers differ from it, longer questions counting more. Both follow from sums, so that
//! programs can add to the same ones.

/// One, in millionths.
pub(super) const ONE: u32 = 1_000_000;
/// How far a factor may go: no tokenizer differs by more, and what a provider reports must not do harm.
const LEAST: f64 = 0.25;
const MOST: f64 = 4.0;
/// Tokens of a question of which more do not count: one long question must not outweigh all others.
const MOST_TOKENS: f64 = 200.0;
/// Answers from which on it is known how a model counts, and how far one more may then be from it: what one user asks must
/// not mislead all others, and a model that counts in another way now is known after some more.
const KNOWN_FROM: u64 = 20;
const MOST_AWAY: f64 = 1.5;

/// Sums over answers.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Sums {
    /// How many answers.
    pub answers: u32,
    /// Tokens of their questions, as they are counted here.
    pub estimated: f64,
    /// The same, as providers reported them.
    pub reported: f64,
    /// Squares of what was reported, each divided by what was estimated.
    pub squares: f64,
}

impl Sums {
    /// Adds an answer to what is `known`; nothing where there is nothing to be learned.
    pub fn add(&mut self, estimated: u32, reported: u32, known: Option<Learned>) {
        if estimated == 0 || reported == 0 {
            return;
        }
        let mut ratio = (f64::from(reported) / f64::from(estimated)).clamp(LEAST, MOST);
        if let Some(known) = known.filter(|known| known.samples >= KNOWN_FROM) {
            let factor = share(known.factor_ppm);
            ratio = ratio.clamp(factor / MOST_AWAY, factor * MOST_AWAY);
        }
        let tokens = f64::from(estimated).min(MOST_TOKENS);
        self.answers = self.answers.saturating_add(1);
        self.estimated += tokens;
        self.reported += tokens * ratio;
        self.squares += tokens * ratio * ratio;
    }

    /// Adds those of other answers.
    pub fn merge(&mut self, other: &Self) {
        self.answers = self.answers.saturating_add(other.answers);
        self.estimated += other.estimated;
        self.reported += other.reported;
        self.squares += other.squares;
    }
}

/// What is known of a model at a provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Learned {
    /// From how many answers.
    pub samples: u64,
    /// Its tokens for a million that are counted here.
    pub factor_ppm: u32,
    /// Root mean square by which single answers differ from that, in millionths of it.
    pub error_ppm: u32,
}

impl Learned {
    /// What follows from sums over the latest answers; nothing where there are none.
    pub fn of(samples: u64, estimated: f64, reported: f64, squares: f64) -> Option<Self> {
        let factor = reported / estimated;
        if samples == 0 || estimated <= 0.0 || !factor.is_finite() {
            return None;
        }
        let factor = factor.clamp(LEAST, MOST);
        // The mean of the squares, less the square of the mean; rounding may make it less than nothing.
        let spread = (squares / estimated - factor * factor).max(0.0).sqrt();
        Some(Self {
            samples,
            factor_ppm: ppm(factor),
            error_ppm: ppm(spread / factor),
        })
    }
}

impl Learned {
    /// Root mean square by which single answers differ from the factor, as a share of it.
    pub fn error(&self) -> f64 {
        share(self.error_ppm)
    }
}

/// So many millionths.
pub(super) fn share(ppm: u32) -> f64 {
    f64::from(ppm) / f64::from(ONE)
}

/// So many tokens times a factor.
pub(super) fn scale(tokens: u64, factor_ppm: u32) -> u64 {
    let one = u64::from(ONE);
    tokens.saturating_mul(factor_ppm.into()) / one
        + u64::from(tokens.saturating_mul(factor_ppm.into()) % one >= one / 2)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "it is within these bounds"
)]
fn ppm(share: f64) -> u32 {
    (share * f64::from(ONE)).round().clamp(0.0, 1e9) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn learned(answers: impl IntoIterator<Item = (u32, u32)>) -> Option<Learned> {
        let mut sums = Sums::default();
        for (estimated, reported) in answers {
            sums.add(estimated, reported, None);
        }
        let samples = sums.answers.into();
        Learned::of(samples, sums.estimated, sums.reported, sums.squares)
    }

    #[test]
    fn the_factor_is_that_of_all_answers_and_the_error_that_of_each() {
        assert_eq!(learned([]), None);
        let same = learned((0..20).map(|_| (100, 130))).unwrap();
        assert_eq!(
            (same.samples, same.factor_ppm, same.error_ppm),
            (20, 1_300_000, 0)
        );
        let apart = learned([(100, 90), (100, 110)]).unwrap();
        assert_eq!((apart.factor_ppm, apart.error_ppm), (ONE, 100_000));
        // Where more was said, more is known.
        let unlike = learned([(180, 180), (20, 40)]).unwrap();
        assert_eq!(unlike.factor_ppm, 1_100_000);
    }

    #[test]
    fn nonsense_does_no_harm() {
        assert_eq!(learned([(0, 10), (10, 0), (0, 0)]), None);
        let most = learned([(1, u32::MAX)]).unwrap();
        assert_eq!(most.factor_ppm, 4_000_000);
        let least = learned([(u32::MAX, 1)]).unwrap();
        assert_eq!(least.factor_ppm, 250_000);
        // A question of millions of tokens is no more than a long one.
        let mut answers = vec![(1_000, 1_000); 20];
        answers.push((5_000_000, 20_000_000));
        let factor = learned(answers).unwrap().factor_ppm;
        assert!(factor < 1_600_000, "{factor}");
        for (estimated, reported, squares) in [
            (0.0, 0.0, 0.0),
            (f64::NAN, 1.0, 1.0),
            (-1.0, 1.0, 1.0),
            (1.0, f64::INFINITY, 1.0),
        ] {
            assert_eq!(Learned::of(1, estimated, reported, squares), None);
        }
        assert!(Learned::of(1, 1.0, 1.0, f64::NAN).is_some());
    }

    #[test]
    fn what_one_user_asks_does_not_mislead_all_others() {
        // As rows fade: the latest fifty count most.
        let mut sums = Sums::default();
        let add = |sums: &mut Sums, estimated, reported| {
            let known = Learned::of(
                sums.answers.into(),
                sums.estimated,
                sums.reported,
                sums.squares,
            );
            for one in [&mut sums.estimated, &mut sums.reported, &mut sums.squares] {
                *one *= 0.98;
            }
            sums.add(estimated, reported, known);
        };
        for _ in 0..200 {
            add(&mut sums, 100, 110);
        }
        for _ in 0..3 {
            add(&mut sums, 50_000, 200_000);
        }
        let factor = sums.reported / sums.estimated;
        assert!(factor < 1.1 * 1.1, "{factor}");
        // Another model behind the same name is known all the same.
        for _ in 0..150 {
            add(&mut sums, 100, 300);
        }
        let factor = sums.reported / sums.estimated;
        assert!(factor > 2.7, "{factor}");
    }

    #[test]
    fn tokens_are_scaled_to_the_nearest() {
        for (tokens, factor, scaled) in [
            (0, 1_300_000, 0),
            (10, 1_300_000, 13),
            (1, 1_499_999, 1),
            (1, 1_500_000, 2),
            (3, 250_000, 1),
            (7, ONE, 7),
        ] {
            assert_eq!(scale(tokens, factor), scaled);
        }
        assert!(scale(u64::MAX, 4_000_000) > u64::from(u32::MAX));
    }
}
