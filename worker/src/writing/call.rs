//! A call of a model, as it is accounted for.

use std::time::{Duration, Instant};

use shared::{
    catalogue::{Model, Route},
    context::count,
    database,
    ids::UsageId,
    ledger::Noted,
    models::usage::{self, Attempt, Outcome, Spent},
    tokens::TokenCounts,
};

use super::Writer;

/// A call while it goes on. However that ends, also where nobody waits for it any more, it goes into the ledger.
pub(super) struct Call<'a> {
    writer: &'a Writer<'a>,
    /// None once its row is on its way.
    noted: Option<Noted>,
    id: UsageId,
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
    /// Notes one, and begins it.
    ///
    /// # Errors
    /// As the database fails; then it must not be made.
    pub(super) async fn begin(
        writer: &'a Writer<'a>,
        number: i32,
        model: &Model,
        route: &Route,
        key_group: String,
        input_tokens: u32,
    ) -> database::Result<Self> {
        let version = &writer.ctx.providers.catalogue().version;
        let mut call = Self {
            writer,
            noted: None,
            id: UsageId::new(),
            number,
            attempt: Attempt {
                provider: route.provider.clone(),
                model: model.id.clone(),
                provider_model: route.model.clone(),
                key_group,
                price: route.price.map(|price| (version.clone(), price)),
                input_tokens,
                round: 0,
                begun_bytes: 0,
                started_at: writer.ctx.clock.now(),
                spent: None,
            },
            began: Instant::now(),
            first: None,
            text: String::new(),
            thoughts: String::new(),
        };
        let estimate = call.row(&call.spent(Outcome::Interrupted, None, None, None));
        call.noted = Some(writer.ctx.note(estimate).await?);
        call.began = Instant::now();
        Ok(call)
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
        let spent = Spent::nothing(reason, millis(self.began.elapsed()));
        self.write(&spent);
    }

    /// It has ended, with what the provider counted and says that it costs.
    pub(super) fn ended(
        mut self,
        outcome: Outcome,
        error: Option<String>,
        counted: Option<TokenCounts>,
        cost_microusd: Option<i64>,
    ) -> String {
        let spent = self.spent(outcome, error, counted, cost_microusd);
        self.write(&spent);
        std::mem::take(&mut self.text)
    }

    fn spent(
        &self,
        outcome: Outcome,
        error: Option<String>,
        counted: Option<TokenCounts>,
        cost_microusd: Option<i64>,
    ) -> Spent {
        let said = |text: &str| match text {
            "" => 0,
            text => count::estimate(text),
        };
        let output = said(&self.text).saturating_add(said(&self.thoughts));
        Spent {
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
        }
    }

    fn row(&self, spent: &Spent) -> usage::Model {
        let Writer { kind, purpose, .. } = self.writer;
        self.attempt
            .row(self.id, *kind, *purpose, self.number, spent)
    }

    /// Writes its row in place of the note, once.
    fn write(&mut self, spent: &Spent) {
        if let Some(noted) = self.noted.take() {
            noted.write(self.row(spent));
        }
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        let spent = self.spent(Outcome::Interrupted, None, None, None);
        self.write(&spent);
    }
}

fn millis(time: Duration) -> u32 {
    u32::try_from(time.as_millis()).unwrap_or(u32::MAX)
}
