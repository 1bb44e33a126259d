//! A call of a model, as it is accounted for.

use std::time::{Duration, Instant};

use shared::{
    catalogue::{Model, Route},
    context::count,
    models::usage::{Attempt, Outcome, Spent},
    tokens::TokenCounts,
};

use super::Writer;

/// A call while it goes on. However that ends, also where nobody waits for it any more, it goes into the ledger.
pub(super) struct Call<'a> {
    writer: &'a Writer<'a>,
    number: i32,
    attempt: Attempt,
    began: Instant,
    /// Until the first word.
    first: Option<Duration>,
    /// What was said so far, and what was thought.
    pub(super) text: String,
    thoughts: String,
}

impl<'a> Call<'a> {
    /// Begins one.
    pub(super) fn begin(
        writer: &'a Writer<'a>,
        number: i32,
        model: &Model,
        route: &Route,
        key_group: String,
        input_tokens: u32,
    ) -> Self {
        let version = &writer.ctx.providers.catalogue().version;
        Self {
            writer,
            number,
            attempt: Attempt {
                provider: route.provider.clone(),
                model: model.id.clone(),
                provider_model: route.model.clone(),
                key_group,
                price: route.price.map(|price| (version.clone(), price)),
                input_tokens,
                started_at: writer.ctx.clock.now(),
                spent: None,
            },
            began: Instant::now(),
            first: None,
            text: String::new(),
            thoughts: String::new(),
        }
    }

    /// More was said.
    pub(super) fn say(&mut self, text: &str) {
        self.first.get_or_insert_with(|| self.began.elapsed());
        self.text.push_str(text);
    }

    /// More was thought.
    pub(super) fn think(&mut self, text: &str) {
        self.thoughts.push_str(text);
    }

    /// It was refused, or failed before a word was said: that costs nothing.
    pub(super) fn failed_at_once(mut self, reason: String) {
        self.attempt.spent = Some(Spent::nothing(reason, millis(self.began.elapsed())));
    }

    /// It has ended, with what the provider counted and says that it costs.
    pub(super) fn ended(
        mut self,
        outcome: Outcome,
        error: Option<String>,
        counted: Option<TokenCounts>,
        cost_microusd: Option<i64>,
    ) -> String {
        self.close(outcome, error, counted, cost_microusd);
        std::mem::take(&mut self.text)
    }

    fn close(
        &mut self,
        outcome: Outcome,
        error: Option<String>,
        counted: Option<TokenCounts>,
        cost_microusd: Option<i64>,
    ) {
        let output = count::estimate(&self.text).saturating_add(count::estimate(&self.thoughts));
        self.attempt.spent = Some(Spent {
            outcome,
            error,
            tokens: counted.unwrap_or(TokenCounts {
                input: self.attempt.input_tokens,
                output,
                ..TokenCounts::default()
            }),
            is_estimated: counted.is_none(),
            reported_microusd: cost_microusd,
            latency_ms: millis(self.began.elapsed()),
            first_token_ms: self.first.map(millis),
        });
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        if self.attempt.spent.is_none() {
            self.close(Outcome::Interrupted, None, None, None);
        }
        let Writer {
            ctx, kind, purpose, ..
        } = self.writer;
        ctx.ledger
            .record_attempt(*kind, *purpose, self.number, &self.attempt);
    }
}

fn millis(time: Duration) -> u32 {
    u32::try_from(time.as_millis()).unwrap_or(u32::MAX)
}
