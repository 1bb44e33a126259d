//! Counting tokens.
//!
//! Counted in `o200k_base`, which `OpenAI`'s models since GPT-4o use; for others it is an estimate.

use std::sync::atomic::{AtomicBool, Ordering};

use serde::{Deserialize, Serialize};

/// Tokens that a message costs besides its role and its text: the marks around it.
const PER_MESSAGE: usize = 4;
/// From this many bytes on, counting takes milliseconds and has a thread of its own.
const LARGE_BYTES: usize = 32 * 1024;

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

/// Tokens of a message: those of its role and its text, and 4 for the message.
pub async fn count_message(role: &'static str, text: String) -> u32 {
    let of_text = count_text(text).await;
    let around = u32::try_from(PER_MESSAGE + count(role)).unwrap_or(u32::MAX);
    of_text.saturating_add(around)
}

/// Tokens of a text, which may be long.
pub async fn count_text(text: String) -> u32 {
    // The tables of the encoding are some 40 MB, and are made in a tenth of a second when they are needed first.
    static IS_READY: AtomicBool = AtomicBool::new(false);
    let is_long = text.len() >= LARGE_BYTES || !IS_READY.load(Ordering::Relaxed);
    let tokens = move || {
        let tokens = u32::try_from(count(&text)).unwrap_or(u32::MAX);
        IS_READY.store(true, Ordering::Relaxed);
        tokens
    };
    if is_long {
        tokio::task::spawn_blocking(tokens)
            .await
            .expect("counting does not panic")
    } else {
        tokens()
    }
}

/// Tokens of a text.
pub fn count(text: &str) -> usize {
    bpe_openai::o200k_base().count(text)
}

/// The longest beginning of a text that has about `most` tokens, and never more.
pub fn cut(text: &str, most: usize) -> &str {
    // No token of this encoding is longer than 128 characters of a kind, and most texts have far less.
    let mut end = text.floor_char_boundary(most.saturating_mul(16));
    loop {
        let tokens = count(&text[..end]);
        if tokens <= most {
            return &text[..end];
        }
        end = text.floor_char_boundary((end * most / tokens).min(end - 1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_message_costs_its_role_its_text_and_four() {
        assert_eq!(count("hello world"), 2);
        assert_eq!(count_message("user", "hello world".to_owned()).await, 7);
        assert_eq!(count_message("user", String::new()).await, 5);
    }

    #[test]
    fn a_text_is_cut_between_characters() {
        let text = "नमस्ते दुनिया hello ".repeat(500);
        for most in [0, 1, 7, 100] {
            let cut = cut(&text, most);
            assert!(text.starts_with(cut) && count(cut) <= most, "{most}");
        }
        assert!(count(cut(&text, 100)) > 80);
        assert_eq!(cut("short", 100), "short");
    }

    #[tokio::test]
    async fn a_large_text_is_counted_too() {
        let text = "नमस्ते दुनिया ".repeat(4_000);
        assert!(text.len() > LARGE_BYTES);
        let alone = count(&text);
        assert_eq!(count_message("user", text).await as usize, alone + 5);
    }
}
