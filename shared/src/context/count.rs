//! Tokens of what is sent, as they are stored. Nothing else of contexts counts tokens.
//!
//! Counting fails no chat: where it does, the tokens are estimated by the length of the text, and whoever shows the number says
//! so.

use std::panic::AssertUnwindSafe;

use futures::FutureExt as _;

use crate::{models::message::Role, tokens::Encoding};

/// Bytes of a token, where it could not be counted.
const ESTIMATED_BYTES: usize = 4;

/// A number of tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counted {
    /// The number.
    pub tokens: u32,
    /// Whether it is an estimate, as counting failed.
    pub is_estimated: bool,
}

/// A stored number of tokens.
pub fn of_stored(tokens: i32) -> u32 {
    u32::try_from(tokens).unwrap_or_default()
}

/// Tokens of a message: those of its role and its text, and 4 for the message.
pub async fn count_message(encoding: Encoding, role: Role, text: String) -> Counted {
    let estimate = estimate(&text);
    let counting = encoding.count_message(role.as_str(), text);
    or_estimate(AssertUnwindSafe(counting).catch_unwind().await, estimate)
}

/// The beginning of a text that has at most so many tokens.
pub async fn cut(encoding: Encoding, text: String, most: u32) -> String {
    let shortest = text.floor_char_boundary(most as usize);
    // Where it cannot be cut by tokens: no token has less than a byte.
    let fallback = text[..shortest].to_owned();
    let cutting = move || {
        let mut text = text;
        let length = encoding.cut(&text, most as usize).len();
        text.truncate(length);
        text
    };
    match tokio::task::spawn_blocking(cutting).await {
        Ok(text) => text,
        Err(error) => {
            tracing::error!(error = %error, "a text could not be cut by its tokens");
            fallback
        }
    }
}

/// A number of tokens that is not counted.
pub fn estimate(text: &str) -> u32 {
    u32::try_from(text.len() / ESTIMATED_BYTES + ESTIMATED_BYTES).unwrap_or(u32::MAX)
}

fn or_estimate<E>(counted: Result<u32, E>, estimate: u32) -> Counted {
    let tokens = counted.ok();
    if tokens.is_none() {
        // What panicked has told it.
        tracing::error!(estimate, "tokens could not be counted, and are estimated");
    }
    Counted {
        tokens: tokens.unwrap_or(estimate),
        is_estimated: tokens.is_none(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_cannot_be_counted_is_estimated_by_its_bytes() {
        let counted = count_message(Encoding::O200k, Role::User, "hello world".to_owned()).await;
        assert_eq!((counted.tokens, counted.is_estimated), (7, false));
        let panics = async { "no number".parse::<u32>().unwrap() };
        let failed = AssertUnwindSafe(panics).catch_unwind().await;
        let estimated = or_estimate(failed, estimate("hello world"));
        assert_eq!((estimated.tokens, estimated.is_estimated), (6, true));
    }

    #[tokio::test]
    async fn a_text_is_cut_to_its_tokens() {
        let text = "नमस्ते दुनिया hello ".repeat(50);
        let cut = cut(Encoding::O200k, text.clone(), 40).await;
        assert!(text.starts_with(&cut) && Encoding::O200k.count(&cut) <= 40);
        assert_eq!(
            super::cut(Encoding::O200k, "short".to_owned(), 40).await,
            "short"
        );
    }
}
