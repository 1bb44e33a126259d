//! The model of a development machine without any provider: it says back what was said, word by word.

use std::time::Duration;

/// Between two words, so that a stream can be seen.
pub(super) const PACE: Duration = Duration::from_millis(15);
/// Words that are said with a pause; longer texts are said faster, so that it takes no longer.
const PACED_WORDS: usize = 200;

/// Says a question back, at a pace.
pub(super) async fn say(question: &str, pace: Duration, mut say: impl FnMut(&str)) {
    let words: Vec<&str> = question.split_inclusive(char::is_whitespace).collect();
    let at_once = words.len().div_ceil(PACED_WORDS).max(1);
    for words in words.chunks(at_once) {
        say(&words.concat());
        tokio::time::sleep(pace).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_question_comes_back_in_pieces() {
        for question in ["", "नमस्ते दुनिया", "a\n\n b  ", &"word ".repeat(5_000)]
        {
            let mut pieces = Vec::new();
            say(question, Duration::ZERO, |piece| {
                pieces.push(piece.to_owned());
            })
            .await;
            assert_eq!(pieces.concat(), question);
            assert!(pieces.len() <= PACED_WORDS);
        }
    }
}
