//! What providers are asked for an answer, as it is accounted for.

use std::time::Duration;

use shared::{
    models::{
        generation,
        usage::{Attempt, Outcome, Spent},
    },
    tokens::TokenCounts,
};
use tokio::time::Instant;

use super::tries::Tries;

/// What a provider tells of an answer.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Counted {
    pub(super) tokens: Option<TokenCounts>,
    /// Millionths of a US dollar.
    pub(super) cost_microusd: Option<i64>,
}

impl Tries {
    /// Notes that a provider is asked, where it is found if this process dies.
    pub(super) async fn begin_attempt(&mut self, mut attempt: Attempt) {
        attempt.price = attempt.price.filter(|_| self.is_priced);
        attempt.round = self.number;
        attempt.begun_bytes = u32::try_from(self.round).unwrap_or(u32::MAX);
        tracing::debug!(
            provider = attempt.provider,
            model = attempt.provider_model,
            "asking"
        );
        let is_noted = self.attempts.is_empty() && self.is_noted;
        self.asking = None;
        self.attempts.push(attempt);
        self.thoughts.clear();
        // What is written later must not be older.
        self.app.chat.live().note(self.answer, &self.attempts);
        if !is_noted
            && let Err(error) = generation::note(&self.app.db, self.id, &self.attempts).await
        {
            tracing::warn!(error = %error, "an attempt is not noted yet");
        }
        self.asking = Some((Instant::now(), None));
    }

    /// What the latest attempt took until now, in milliseconds, and until its first word.
    pub(super) fn times(&self) -> (u32, Option<u32>) {
        let Some((asked, first)) = self.asking else {
            return (0, None);
        };
        (
            millis(asked.elapsed()),
            first.map(|first| millis(first - asked)),
        )
    }

    pub(super) fn fail_attempt(&mut self, reason: String) {
        let (latency, _) = self.times();
        let attempt = self.attempts.last_mut().expect("one was begun");
        tracing::info!(
            provider = attempt.provider,
            keyGroup = attempt.key_group,
            reason,
            "a provider did not answer"
        );
        attempt.spent = Some(Spent::nothing(reason, latency));
        self.app.chat.live().note(self.answer, &self.attempts);
    }

    /// Tokens of what was said and thought now, as they are stored.
    pub(super) async fn output_tokens(&self) -> u32 {
        let text = self.speaker.text()[self.round..].to_owned();
        let tokens = &self.app.tokens;
        let thoughts = tokens.count_text(self.thoughts.clone()).await;
        tokens.count_text(text).await.saturating_add(thoughts)
    }

    /// Gives back the keys that are not used any more: nothing is known of how their providers are.
    pub(super) async fn release(&mut self) {
        if let Some(picked) = self.using.take() {
            self.app.providers.end_probe(&picked).await;
        }
        if let Some(picked) = self.first.take() {
            self.app.providers.unused(&picked).await;
        }
    }

    /// Accounts for the latest attempt, if nobody has done so: it was left.
    pub(super) async fn close_open(&mut self, outcome: Outcome) {
        let latest = self.attempts.last();
        if latest.is_some_and(|latest| latest.spent.is_none()) {
            self.close_attempt(outcome, None, Counted::default()).await;
        }
    }

    /// Accounts for the latest attempt, by what the provider counted or else by what was seen here.
    pub(super) async fn close_attempt(
        &mut self,
        outcome: Outcome,
        error: Option<String>,
        counted: Counted,
    ) {
        let (latency_ms, first_token_ms) = self.times();
        let output = match counted.tokens {
            Some(_) => 0,
            None => self.output_tokens().await,
        };
        let attempt = self.attempts.last_mut().expect("one was begun");
        if let (Outcome::Completed, Some(reported), Some(estimated)) =
            (outcome, counted.tokens, self.estimated)
        {
            let (provider, model) = (&attempt.provider, &attempt.provider_model);
            self.app
                .tokens
                .learn(provider, model, estimated, reported.input);
        }
        let tokens = counted.tokens.unwrap_or_else(|| {
            let (provider, model) = (&attempt.provider, &attempt.provider_model);
            TokenCounts {
                input: attempt.input_tokens,
                output: self.app.tokens.measure(provider, model).of_stored(output),
                ..TokenCounts::default()
            }
        });
        attempt.spent = Some(Spent {
            outcome,
            error,
            tokens,
            is_estimated: counted.tokens.is_none(),
            reported_microusd: counted.cost_microusd,
            latency_ms,
            first_token_ms,
        });
    }
}

pub(super) fn millis(time: Duration) -> u32 {
    u32::try_from(time.as_millis()).unwrap_or(u32::MAX)
}
