//! Storing what tools were asked and said: messages before the answer, calls never without their results.

use std::time::Duration;

use shared::{
    clients::chat::ToolCall,
    database::{self, Tx},
    models::message::{self, AnswerContext, Content, Exchanged, Part, Role, ToolMessage},
    tokens::Measures,
    tools::Called,
};

use super::super::answer::Making;

/// Pause between tries to store, and how often it is tried: the answer goes on without.
const AGAIN: Duration = Duration::from_millis(500);
const TRIES: u32 = 10;

impl Making {
    /// Stores calls and their results. An answer is not given up for it.
    pub(super) async fn keep_exchange(&mut self, calls: &[ToolCall], results: &[Called]) {
        let said = messages(&self.app.tokens, calls, results).await;
        let tokens = said.iter().map(|one| one.token_count);
        let tokens = tokens.fold(self.tries.stored_tokens, u32::saturating_add);
        self.tries.stored_tokens = tokens;
        let context = &mut self.context;
        context.tokens = self.asked.measure.of_stored(tokens);
        context.warning = AnswerContext::warning(context.tokens, context.limit);
        for attempt in 1..=TRIES {
            match self.store_exchange(said.clone()).await {
                Ok(Some(exchanged)) => {
                    self.row = exchanged.answer;
                    self.exchange.extend(exchanged.said);
                }
                Ok(None) => {
                    tracing::debug!(messageId = %self.row.id, "what tools said has no place");
                }
                Err(error) if attempt < TRIES && error.is_away() => {
                    tokio::time::sleep(AGAIN).await;
                    continue;
                }
                Err(error) => {
                    let error = anyhow::Error::new(error);
                    tracing::warn!(error = %format!("{error:#}"), "what tools said is not stored");
                }
            }
            return;
        }
    }

    async fn store_exchange(&self, said: Vec<ToolMessage>) -> database::Result<Option<Exchanged>> {
        let (app, now) = (&self.app, self.app.clock.now());
        let mut tx = Tx::begin(&app.db, &app.redis, self.origin.clone()).await?;
        let exchanged = message::add_exchange(&mut tx, &self.row, said, now).await?;
        tx.commit().await?;
        Ok(exchanged)
    }
}

/// A message of the model with its calls, and one of each tool.
async fn messages(tokens: &Measures, calls: &[ToolCall], results: &[Called]) -> Vec<ToolMessage> {
    let asked: Vec<Part> = calls
        .iter()
        .map(|call| Part::ToolCall {
            call_id: call.id.clone(),
            name: call.name.clone(),
            arguments: call.arguments.clone(),
        })
        .collect();
    let texts = calls.iter().map(|call| [&*call.name, &*call.arguments]);
    let text = texts.flatten().collect::<Vec<_>>().join("\n");
    let role = Role::Assistant;
    let mut said = vec![ToolMessage {
        role,
        content: Content(asked),
        token_count: tokens.count_message(role.as_str(), text).await,
    }];
    for (call, called) in calls.iter().zip(results) {
        let role = Role::Tool;
        let result = Part::ToolResult {
            call_id: call.id.clone(),
            name: call.name.clone(),
            status: called.outcome.as_str().to_owned(),
            output: called.text.clone(),
        };
        said.push(ToolMessage {
            role,
            content: Content(vec![result]),
            token_count: tokens
                .count_message(role.as_str(), called.text.clone())
                .await,
        });
    }
    said
}
