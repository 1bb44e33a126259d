//! The two ways to read an answer: for what was heard, or for all that the server wrote.

use serde::de::DeserializeOwned;

use super::{Transcribed, answer::Answer};

/// What an answer is read as.
pub(super) trait Reading: DeserializeOwned {
    /// Whether nobody here knows how long the sound is.
    const IS_GUESSED: bool;

    /// Length of the sound, if it tells and nobody knows better.
    fn seconds(&self) -> Option<f64>;
}

impl Reading for Answer {
    /// Whoever decoded the sound knows it.
    const IS_GUESSED: bool = false;

    fn seconds(&self) -> Option<f64> {
        None
    }
}

impl Reading for Transcribed {
    /// Its length is reckoned from its bytes.
    const IS_GUESSED: bool = true;

    fn seconds(&self) -> Option<f64> {
        Transcribed::seconds(self)
    }
}
