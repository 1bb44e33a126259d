//! Ending an answer: what came of it is stored with what it cost, once.

use std::{collections::BTreeMap, time::Duration};

use shared::{
    database::{self, Tx},
    models::{
        generation,
        message::{self, AnswerUsage, Ended, Figures, Role, Status},
        turn::{self, EndedTurn},
        usage::{self, Attempt, Kind, Outcome, Purpose, Spent},
    },
    queue::{self, Wanted},
    tokens::TokenCounts,
};

use super::{
    aftermath::leave,
    answer::{Made, Making},
    attempt::millis,
    failure::failure,
    live::Stop,
};

/// Wait between tries to store the end, and how often it is tried.
pub(super) const STORE_AGAIN: Duration = Duration::from_millis(500);
pub(super) const STORE_TRIES: u32 = 1_200;

impl Making {
    /// Stores how it ended, and tells.
    pub(super) async fn end(mut self, made: Made) {
        self.tries.release().await;
        if let Made::Stopped(Stop::Lost) = made {
            tracing::warn!(messageId = %self.row.id, "an answer was ended by another instance");
            return;
        }
        let outcome = match &made {
            Made::Stopped(Stop::Cancelled) => Outcome::Cancelled,
            Made::Stopped(_) => Outcome::Interrupted,
            Made::Whole(_) | Made::Failed(_) => Outcome::Failed,
        };
        self.tries.close_open(outcome).await;
        self.leave_round().await;
        self.look_again().await;
        let ended = self.ended(made).await;
        let jobs = self.jobs(&ended);
        let mut tries = 0;
        let row = loop {
            match self.store(ended.clone(), &jobs).await {
                Ok(row) => break row,
                Err(error) if tries < STORE_TRIES => {
                    tracing::warn!(error = %format!("{:#}", anyhow::Error::new(error)), "an answer is not stored yet");
                    tries += 1;
                    tokio::time::sleep(STORE_AGAIN).await;
                }
                Err(error) => {
                    tracing::error!(error = %format!("{:#}", anyhow::Error::new(error)), "an answer could not be stored to its end");
                    return;
                }
            }
        };
        if let Some(row) = row {
            let branch = self.branch(&row);
            self.tries.speaker.end(row);
            leave(&self.app, &self.asked, branch.as_ref(), &jobs).await;
        }
    }

    async fn ended(&self, made: Made) -> Ended {
        let text = self.tries.speaker.text();
        let (status, finish_reason, error) = match made {
            Made::Whole(ending) => (Status::Completed, Some(ending.finish), None),
            Made::Stopped(Stop::Cancelled) => {
                (Status::Cancelled, Some("cancelled".to_owned()), None)
            }
            Made::Stopped(_) => {
                let failure = failure(
                    "interrupted",
                    "the server was stopped before the answer ended",
                );
                (Status::Interrupted, None, Some(failure))
            }
            Made::Failed(failure) => (Status::Failed, None, Some(failure)),
        };
        let took = self.began.elapsed();
        let mut usage = answer_usage(&self.tries.attempts, took, self.tools_time);
        if self.asked.begun.is_some()
            && let Some(before) = &self.row.figures
        {
            // What was said before is part of the answer, and was paid for.
            add_before(&mut usage, &before.usage);
        }
        let figures = Figures {
            usage,
            context: self.context.clone(),
        };
        Ended {
            status,
            token_count: self
                .app
                .tokens
                .count_message(Role::Assistant.as_str(), text.clone())
                .await,
            text,
            provider: self.tries.attempts.last().map(|last| last.provider.clone()),
            finish_reason,
            error,
            figures: Some(figures),
        }
    }

    /// Ends the answer, unless another has done so.
    async fn store(
        &self,
        ended: Ended,
        jobs: &[Wanted],
    ) -> database::Result<Option<message::Model>> {
        let app = &self.app;
        let now = app.clock.now();
        let row = self.row.clone();
        let purpose = Purpose {
            user: Some(row.user_id),
            project: self.project,
            conversation: Some(row.conversation_id),
            message: Some(row.id),
            attachment: None,
        };
        if ended.text.len() <= turn::MOST_BYTES {
            let turn = EndedTurn {
                generation: self.tries.id,
                answer: row.clone(),
                ended: ended.clone(),
                ledger: usage::rows(Kind::Chat, purpose, &self.tries.attempts),
                limits: app.config.common.usage_limits,
                jobs: jobs.to_vec(),
                at: now,
            };
            match app.chat.end(turn).await {
                Ok(Some(row)) => return Ok(Some(row)),
                Ok(None) => {}
                Err(error) if error.is_away() => return Err(error),
                Err(error) => tracing::debug!(error = %error, "an answer is ended by itself"),
            }
        }
        let _turn = app.ledger.turn(row.user_id).await;
        let mut tx = Tx::begin(&app.db, &app.redis, self.origin.clone()).await?;
        if generation::take(&mut tx, self.tries.id).await?.is_none() {
            return Ok(None);
        }
        let row = message::end_answer(
            &mut tx,
            row.user_id,
            row.conversation_id,
            row.id,
            ended,
            now,
        )
        .await?;
        queue::enqueue_wanted(&mut tx, jobs).await?;
        let limits = &app.config.common.usage_limits;
        usage::record(&mut tx, limits, Kind::Chat, purpose, &self.tries.attempts).await?;
        tx.commit().await?;
        Ok(row)
    }
}

fn add(one: &mut u32, other: u32) {
    *one = one.saturating_add(other);
}

/// Adds what was used for the beginning of an answer that goes on.
fn add_before(usage: &mut AnswerUsage, before: &AnswerUsage) {
    add(&mut usage.input_tokens, before.input_tokens);
    add(&mut usage.cached_tokens, before.cached_tokens);
    add(&mut usage.output_tokens, before.output_tokens);
    add(&mut usage.reasoning_tokens, before.reasoning_tokens);
    // It was asked once at least, also where that was not counted.
    add(&mut usage.rounds, before.rounds.max(1));
    usage.estimated |= before.estimated;
    usage.attempts = usage.attempts.max(before.attempts);
    let costs = usage.cost_microusd.zip(before.cost_microusd);
    usage.cost_microusd = costs.map(|(one, other)| one.saturating_add(other));
}

/// Tokens and money of attempts: money of all, and tokens of those that the answer was made of, which are those that came to
/// their end, and the last. Tools were waited for so long.
pub(super) fn answer_usage(
    attempts: &[Attempt],
    took: Duration,
    tools_time: Duration,
) -> AnswerUsage {
    let Some((last, before)) = attempts.split_last() else {
        return AnswerUsage::default();
    };
    let Some(end) = last.spent.as_ref() else {
        return AnswerUsage::default();
    };
    let before = before.iter().filter_map(|attempt| attempt.spent.as_ref());
    let before: Vec<&Spent> = before.collect();
    let latencies = before.iter().chain([&end]);
    let waited: f64 = latencies.map(|spent| f64::from(spent.latency_ms)).sum();
    let ours = took.saturating_sub(tools_time);
    let overhead = (ours.as_secs_f64() * 1_000.0 - waited).max(0.0);
    let completed = before.into_iter();
    let completed = completed.filter(|spent| spent.outcome == Outcome::Completed);
    let (mut tokens, mut estimated) = (TokenCounts::default(), false);
    for spent in completed.chain([end]) {
        add(&mut tokens.input, spent.tokens.input);
        add(&mut tokens.cached, spent.tokens.cached);
        add(&mut tokens.output, spent.tokens.output);
        add(&mut tokens.reasoning, spent.tokens.reasoning);
        estimated |= spent.is_estimated;
    }
    // Tries of each time that the model was asked.
    let mut tries: BTreeMap<u32, u32> = BTreeMap::new();
    for attempt in attempts {
        *tries.entry(attempt.round).or_default() += 1;
    }
    AnswerUsage {
        input_tokens: tokens.input,
        cached_tokens: tokens.cached,
        output_tokens: tokens.output,
        reasoning_tokens: tokens.reasoning,
        estimated,
        cost_microusd: attempts.iter().map(Attempt::cost_microusd).sum(),
        price_version: last.price_version(),
        rounds: u32::try_from(tries.len()).unwrap_or(u32::MAX),
        attempts: tries.into_values().max().unwrap_or_default(),
        first_token_ms: end.first_token_ms,
        latency_ms: millis(took),
        overhead_ms: (overhead * 10.0).round() / 10.0,
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use shared::catalogue::Price;

    use super::*;

    /// A try of a time that the model was asked, which read so many tokens, wrote one, and took 100 ms.
    fn attempt(round: u32, outcome: Outcome, input: u32) -> Attempt {
        let price = Price {
            input: 1_000_000,
            cached_input: None,
            output: 1_000_000,
        };
        Attempt {
            provider: "openai".to_owned(),
            model: "gpt-4o-mini".to_owned(),
            provider_model: "gpt-4o-mini".to_owned(),
            key_group: String::new(),
            price: Some(("1".to_owned(), price)),
            input_tokens: input,
            round,
            begun_bytes: 0,
            started_at: DateTime::UNIX_EPOCH,
            spent: Some(Spent {
                outcome,
                error: None,
                tokens: TokenCounts {
                    input,
                    output: 1,
                    ..TokenCounts::default()
                },
                is_estimated: false,
                reported_microusd: None,
                latency_ms: 100,
                first_token_ms: Some(10),
            }),
        }
    }

    #[test]
    fn an_answer_is_made_of_all_rounds_and_its_tries_are_those_of_one() {
        let refused = Attempt {
            spent: Some(Spent::nothing("busy".to_owned(), 50)),
            ..attempt(1, Outcome::Failed, 0)
        };
        let attempts = [
            attempt(0, Outcome::Completed, 20),
            refused,
            attempt(1, Outcome::Failed, 30),
            attempt(1, Outcome::Completed, 40),
        ];
        let took = Duration::from_millis(1_360);
        let usage = answer_usage(&attempts, took, Duration::from_secs(1));
        assert_eq!((usage.input_tokens, usage.output_tokens), (60, 2));
        assert_eq!((usage.rounds, usage.attempts), (2, 3));
        // What broke off was paid for, too.
        let all: Option<i64> = attempts.iter().map(Attempt::cost_microusd).sum();
        assert_eq!(usage.cost_microusd, all);
        // Of 1,360 ms, 1,000 were those of tools, and 350 those of providers.
        assert_eq!((usage.latency_ms, usage.overhead_ms), (1_360, 10.0));
    }

    #[test]
    fn an_answer_that_was_stopped_has_what_was_used_until_then() {
        let attempts = [
            attempt(0, Outcome::Completed, 20),
            attempt(1, Outcome::Cancelled, 30),
        ];
        let usage = answer_usage(&attempts, Duration::from_millis(200), Duration::ZERO);
        assert_eq!((usage.input_tokens, usage.output_tokens), (50, 2));
        assert_eq!((usage.rounds, usage.attempts), (2, 1));
        let mut more = answer_usage(&attempts[..1], Duration::ZERO, Duration::ZERO);
        add_before(&mut more, &usage);
        assert_eq!((more.input_tokens, more.rounds, more.attempts), (70, 3, 1));
        assert_eq!(
            answer_usage(&[], Duration::ZERO, Duration::ZERO),
            AnswerUsage::default()
        );
    }
}
