//! Ending an answer: what came of it is stored with what it cost, once.

use std::time::Duration;

use shared::{
    database::{self, Tx},
    models::{
        generation,
        message::{self, AnswerUsage, Ended, Figures, Role, Status},
        turn::{self, EndedTurn},
        usage::{self, Attempt, Kind, Outcome, Purpose},
    },
    queue::{self, Wanted},
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
        let mut usage = answer_usage(&self.tries.attempts, self.began.elapsed());
        if self.asked.begun.is_some()
            && let Some(before) = &self.row.figures
        {
            // What was said before is part of the answer, and was paid for.
            let before = &before.usage;
            usage.attempts = usage.attempts.saturating_add(before.attempts);
            let costs = usage.cost_microusd.zip(before.cost_microusd);
            usage.cost_microusd = costs.map(|(one, other)| one.saturating_add(other));
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
        let mut tx = Tx::begin(&app.db, &app.redis, self.origin.clone()).await?;
        if generation::take(&mut tx, self.tries.id).await?.is_none() {
            return Ok(None);
        }
        usage::record(&mut tx, Kind::Chat, purpose, &self.tries.attempts).await?;
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
        tx.commit().await?;
        Ok(row)
    }
}

/// Tokens and money of all attempts: tokens of the last, money of all.
pub(super) fn answer_usage(attempts: &[Attempt], took: Duration) -> AnswerUsage {
    let Some((last, spent)) = attempts
        .last()
        .and_then(|last| Some((last, last.spent.as_ref()?)))
    else {
        return AnswerUsage::default();
    };
    let waited: f64 = attempts
        .iter()
        .filter_map(|attempt| attempt.spent.as_ref())
        .map(|spent| f64::from(spent.latency_ms))
        .sum();
    let overhead = (took.as_secs_f64() * 1_000.0 - waited).max(0.0);
    AnswerUsage {
        input_tokens: spent.tokens.input,
        cached_tokens: spent.tokens.cached,
        output_tokens: spent.tokens.output,
        reasoning_tokens: spent.tokens.reasoning,
        estimated: spent.is_estimated,
        cost_microusd: attempts.iter().map(Attempt::cost_microusd).sum(),
        price_version: last.price_version(),
        attempts: u32::try_from(attempts.len()).unwrap_or(u32::MAX),
        first_token_ms: spent.first_token_ms,
        latency_ms: millis(took),
        overhead_ms: (overhead * 10.0).round() / 10.0,
    }
}
