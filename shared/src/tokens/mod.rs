//! Counting tokens.
//!
//! Models of `OpenAI` are counted as they count themselves. All that is stored is counted in one encoding
//! ([`Measures::fallback`]); for a model whose own is not known, that count times a factor is an estimate, and the factor is
//! learned from what its provider reports.

mod classes;
mod counting;
mod encoding;
mod factor;
mod measures;
mod pieces;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

pub use self::{
    encoding::Encoding,
    factor::{Learned, Sums},
    measures::{Measure, Measures},
};

/// Tokens that a message costs besides its role and its text: the marks around it.
const PER_MESSAGE: u32 = 4;

/// Tokens of a question and its answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenCounts {
    /// Of the question, cached ones too.
    pub input: u32,
    /// Those of the question that the provider had already.
    pub cached: u32,
    /// Of the answer, thoughts too.
    pub output: u32,
    /// Those of the answer that were thoughts.
    pub reasoning: u32,
}

/// A number of tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counted {
    /// The number.
    pub tokens: u32,
    /// Whether it is an estimate, as counting failed.
    pub is_estimated: bool,
}

/// Bytes of a token, where it cannot be counted.
const ESTIMATED_BYTES: usize = 4;

/// A number of tokens that is not counted, of so many bytes.
pub fn estimate(bytes: usize) -> u32 {
    u32::try_from(bytes / ESTIMATED_BYTES + ESTIMATED_BYTES).unwrap_or(u32::MAX)
}

/// As many as there are, or as many as can be told.
fn told(tokens: u64) -> u32 {
    u32::try_from(tokens).unwrap_or(u32::MAX)
}
