//! The model of a development machine without any provider: it says back what was said, word by word.

use std::time::Duration;

use shared::{
    clients::chat::{Ending, Piece},
    models::{message::Failure, usage::Outcome},
    tokens::TokenCounts,
};

use super::{answer::Making, attempt::Counted, route, tries::Tries};

/// Between two words, so that a stream can be seen.
const PACE: Duration = Duration::from_millis(15);
/// Words that are said with a pause; longer texts are said faster, so that it takes no longer.
const PACED_WORDS: usize = 200;

impl Making {
    /// Answers with the question.
    pub(super) async fn echo(&mut self, question: &str) -> Result<Ending, Failure> {
        let tokens = self.context.tokens;
        self.tries.echo(question, tokens).await
    }
}

impl Tries {
    /// Says a question back, which has so many tokens.
    pub(super) async fn echo(&mut self, question: &str, tokens: u32) -> Result<Ending, Failure> {
        self.begin_attempt(route::echo_attempt(&self.app, tokens))
            .await;
        say(question, PACE, |piece| {
            self.hear(Piece::Text(piece.to_owned()));
        })
        .await;
        let usage = TokenCounts {
            input: tokens,
            output: self.output_tokens().await,
            ..TokenCounts::default()
        };
        let counted = Counted {
            tokens: Some(usage),
            cost_microusd: None,
        };
        self.close_attempt(Outcome::Completed, None, counted).await;
        Ok(Ending {
            finish: "stop".to_owned(),
            usage: Some(usage),
            calls: Vec::new(),
            thoughts: String::new(),
        })
    }
}

/// Says a question back, at a pace.
async fn say(question: &str, pace: Duration, mut say: impl FnMut(&str)) {
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
