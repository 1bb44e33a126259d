//! Counting tokens.
//!
//! Counted in `o200k_base`, which `OpenAI`'s models since GPT-4o use; for others it is an estimate.

/// Tokens that a message costs besides its role and its text: the marks around it.
const PER_MESSAGE: usize = 4;
/// From this many bytes on, counting takes milliseconds and has a thread of its own.
const LARGE_BYTES: usize = 32 * 1024;

/// Tokens of a message: those of its role and its text, and 4 for the message.
pub async fn count_message(role: &'static str, text: String) -> u32 {
    let is_large = text.len() >= LARGE_BYTES;
    let tokens = move || PER_MESSAGE + count(role) + count(&text);
    let tokens = if is_large {
        tokio::task::spawn_blocking(tokens)
            .await
            .expect("counting does not panic")
    } else {
        tokens()
    };
    u32::try_from(tokens).unwrap_or(u32::MAX)
}

/// Tokens of a text.
pub fn count(text: &str) -> usize {
    bpe_openai::o200k_base().count(text)
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

    #[tokio::test]
    async fn a_large_text_is_counted_too() {
        let text = "नमस्ते दुनिया ".repeat(4_000);
        assert!(text.len() > LARGE_BYTES);
        let alone = count(&text);
        assert_eq!(count_message("user", text).await as usize, alone + 5);
    }
}
