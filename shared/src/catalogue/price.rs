//! What an answer and the hearing of a sound cost, in millionths of a US dollar.

use serde::{Deserialize, Serialize};

/// Tokens for which a price is told.
const PER: u128 = 1_000_000;
/// Milliseconds for which a price of sounds is told.
const MINUTE: u128 = 60_000;

/// Prices in millionths of a dollar, of a million tokens. A negative one is no number here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Price {
    /// Of a question.
    pub input: u64,
    /// Of what of a question the provider had already; as the rest, where there is none.
    #[serde(default)]
    pub cached_input: Option<u64>,
    /// Of an answer.
    pub output: u64,
}

impl Price {
    /// What an answer costs, rounded half up. `cached` are those of `input` that the provider had already.
    pub fn of(&self, input: u32, cached: u32, output: u32) -> i64 {
        let cached = cached.min(input);
        let parts = [
            (input - cached, self.input),
            (cached, self.cached_input.unwrap_or(self.input)),
            (output, self.output),
        ];
        // Tokens of 32 bits times prices of 64 need more than 64 bits.
        let total: u128 = parts
            .into_iter()
            .map(|(tokens, price)| u128::from(tokens) * u128::from(price))
            .sum();
        i64::try_from((total + PER / 2) / PER).unwrap_or(i64::MAX)
    }
}

/// What the hearing of a sound costs, in millionths of a dollar. A negative price is no number here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AudioPrice {
    /// Of a minute.
    pub audio_minute: u64,
    /// Seconds that are paid for at least, however short a sound is.
    #[serde(default)]
    pub least_seconds: u32,
}

impl AudioPrice {
    /// What a sound of so many milliseconds costs, rounded half up.
    pub fn of(&self, audio_ms: i64) -> i64 {
        let least = 1_000 * u128::from(self.least_seconds);
        let paid = u128::try_from(audio_ms).unwrap_or(0).max(least);
        // Neither factor has more than 63 or 64 bits.
        let total = paid * u128::from(self.audio_minute);
        i64::try_from((total + MINUTE / 2) / MINUTE).unwrap_or(i64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_costs_its_tokens_to_the_millionth() {
        let price = Price {
            input: 590_000,
            cached_input: Some(59_000),
            output: 790_000,
        };
        assert_eq!(price.of(1_000_000, 0, 0), 590_000);
        assert_eq!(price.of(1_000, 0, 1_000), 1_380);
        assert_eq!(price.of(1_000, 1_000, 0), 59);
        // 0.59 and 0.49 of a millionth.
        assert_eq!(price.of(1, 0, 0), 1);
        assert_eq!(price.of(0, 0, 0), 0);
        let whole = Price {
            cached_input: None,
            ..price
        };
        assert_eq!(whole.of(1_000, 2_000, 0), 590);
        let dear = Price {
            input: u64::MAX,
            cached_input: None,
            output: u64::MAX,
        };
        assert_eq!(dear.of(u32::MAX, 0, u32::MAX), i64::MAX);
    }

    #[test]
    fn a_sound_costs_its_length_and_no_less_than_the_least() {
        let price = AudioPrice {
            audio_minute: 6_000,
            least_seconds: 10,
        };
        assert_eq!(price.of(60_000), 6_000);
        assert_eq!(price.of(90_004), 9_000);
        assert_eq!(price.of(90_005), 9_001);
        assert_eq!(price.of(10_000), 1_000);
        assert_eq!(
            (price.of(1), price.of(0), price.of(-1)),
            (1_000, 1_000, 1_000)
        );
        let dear = AudioPrice {
            audio_minute: u64::MAX,
            least_seconds: u32::MAX,
        };
        assert_eq!((dear.of(i64::MAX), dear.of(0)), (i64::MAX, i64::MAX));
    }
}
