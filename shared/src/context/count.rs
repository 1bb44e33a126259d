//! Tokens of what is sent, as they are stored. Nothing else of contexts counts tokens.

use crate::{
    models::message::Role,
    tokens::{self, Counted, Encoding},
};

/// A stored number of tokens.
pub fn of_stored(tokens: i32) -> u32 {
    u32::try_from(tokens).unwrap_or_default()
}

/// Tokens of a message: those of its role and its text, and 4 for the message.
pub async fn count_message(encoding: Encoding, role: Role, text: String) -> Counted {
    encoding.count_message(role.as_str(), text).await
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
    tokens::estimate(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_message_costs_its_role_its_text_and_four() {
        let counted = count_message(Encoding::O200k, Role::User, "hello world".to_owned()).await;
        assert_eq!((counted.tokens, counted.is_estimated), (7, false));
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
