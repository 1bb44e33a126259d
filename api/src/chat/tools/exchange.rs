//! Storing what tools were asked and said: messages before the answer, calls never without their results.
//!
//! A round is stored before its calls are made, with results of which nobody knows yet, and again when they are known. So
//! whatever becomes of this process, there is a trace of each call, as it may have done something.

use std::time::Duration;

use shared::{
    database::{self, Tx},
    models::{
        generation,
        message::{self, Exchanged, ToolMessage},
    },
};

use super::{super::answer::Making, dto::ToolNote};

/// Pause between tries to store, and how often it is tried: the answer goes on without.
const AGAIN: Duration = Duration::from_millis(500);
const TRIES: u32 = 10;

impl Making {
    /// Stores the round that is open, as far as it is known, and tells whether it is known what is stored. An answer is not
    /// given up for it.
    pub(super) async fn keep_round(&mut self) -> bool {
        let Some(round) = &self.open else {
            return true;
        };
        let said = round.messages(&self.app.tokens).await;
        for attempt in 1..=TRIES {
            match self.store_exchange(said.clone()).await {
                Ok(Some(exchanged)) => {
                    self.row = exchanged.answer;
                    let is_other = |one: &message::Model| said.iter().all(|new| new.id != one.id);
                    self.exchange.retain(is_other);
                    self.exchange.extend(exchanged.said);
                    return true;
                }
                Ok(None) => {
                    tracing::debug!(messageId = %self.row.id, "what tools said has no place");
                    return true;
                }
                // Where it was written, and only the news of that was lost, this is seen by its ids.
                Err(database::Error::Unavailable(_)) if attempt < TRIES => {
                    tokio::time::sleep(AGAIN).await;
                }
                Err(error) => {
                    let error = anyhow::Error::new(error);
                    tracing::warn!(error = %format!("{error:#}"), "what tools said is not stored");
                    return false;
                }
            }
        }
        false
    }

    async fn store_exchange(&self, said: Vec<ToolMessage>) -> database::Result<Option<Exchanged>> {
        let (app, now) = (&self.app, self.app.clock.now());
        let making = self.tries.id;
        let mut tx = Tx::begin(&app.db, &app.redis, self.origin.clone()).await?;
        let exchanged = message::add_exchange(&mut tx, making, &self.row, said, now).await?;
        // With what the model took until now: if this process dies, another one accounts for that.
        generation::note(tx.orm(), making, &self.tries.attempts).await?;
        tx.commit().await?;
        Ok(exchanged)
    }

    /// Leaves a round, if one is open: what is known of it is stored. Nobody waits for the others any more.
    pub(in crate::chat) async fn leave_round(&mut self) {
        if self.open.is_none() {
            return;
        }
        let is_known = self.keep_round().await;
        self.is_doubtful |= !is_known;
        let Some(round) = self.open.take() else {
            return;
        };
        let took = round.time();
        self.tools_time += took;
        for call in round.unknown() {
            self.tries.speaker.note(ToolNote::unknown(call, took));
        }
    }

    /// Looks how the answer is stored, where that is not known.
    pub(in crate::chat) async fn look_again(&mut self) {
        if self.is_doubtful
            && let Ok(row) =
                message::get_of(&self.app.db, self.row.conversation_id, self.row.id).await
        {
            self.row = row;
        }
    }
}
