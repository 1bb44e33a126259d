//! Tools in an answer: the model asks for calls, hears what came of them, and goes on, within bounds; then it answers
//! without. What a tool says is a text of a message of the role `tool`, and changes nothing else.

mod bounds;
pub(super) mod dto;
pub(super) mod earlier;
mod exchange;
mod room;
mod round;
mod worded;

use futures::future::join_all;
use shared::{
    catalogue::{Model, Route},
    clients::chat::{Ending, Prompt},
    models::message::Failure,
    tools::{Called, Outcome},
};
use tokio::time::Instant;

pub(super) use self::round::Round;
use self::{
    bounds::{Bounds, Stage},
    dto::ToolNote,
    worded::worded,
};
use super::{answer::Making, attempt::millis, failure::failure};

impl Making {
    /// Asks a model until it answers: where it may, it has tools called before.
    pub(super) async fn converse(
        &mut self,
        model: &Model,
        routes: &[Route],
        mut prompt: Prompt,
    ) -> Result<Ending, Failure> {
        let tools = std::mem::take(&mut self.tools);
        if tools.is_empty() {
            // Boxed, as the state of a call with its connection is large.
            let asking = self.tries.ask_all(&model.id, routes, &mut prompt);
            return Box::pin(asking).await;
        }
        let most = self.most_stored(model);
        let has_thoughts = self.takes_thoughts(routes);
        let mut bounds = Bounds::new(tools);
        loop {
            bounds.tell(&mut prompt);
            // Boxed, as the state of a call with its connection is large.
            let asking = self.tries.ask_all(&model.id, routes, &mut prompt);
            let ending = Box::pin(asking).await?;
            if ending.calls.is_empty() {
                return Ok(ending);
            }
            match bounds.stage() {
                Stage::Free => {
                    let thoughts = if has_thoughts {
                        ending.thoughts
                    } else {
                        String::new()
                    };
                    let has_called = self.begin_round(ending.calls, thoughts, most).await;
                    if has_called {
                        // Before anything is called that may do something.
                        self.keep_round().await;
                        if let Some(round) = &self.open {
                            self.call_all(&mut bounds, round).await;
                        }
                        self.end_round(&mut prompt, most).await;
                    } else {
                        self.turn_over();
                    }
                    if !(has_called && self.has_room(most)) {
                        bounds.forbid();
                    }
                    bounds.look();
                }
                Stage::Forbidden => {
                    bounds.insist();
                    self.turn_over();
                    // Without tools, nothing may be said of calls of any.
                    prompt.said = worded(std::mem::take(&mut prompt.said));
                    let tokens = self.tries.stored_tokens;
                    self.tries.stored_tokens = tokens.saturating_sub(self.asked.tool_tokens);
                }
                Stage::Without if self.tries.speaker.len() > self.before() => return Ok(ending),
                Stage::Without => {
                    let told = "the model went on to call tools instead of answering";
                    return Err(failure("tool_loop", told));
                }
            }
        }
    }

    /// Carries out the calls of a round, at once, and tells of them. Each has its time limit, and is never left: what came of
    /// it is noted in the round.
    async fn call_all(&self, bounds: &mut Bounds, round: &Round) {
        let until = bounds.until();
        let is_late = Instant::now() >= until;
        let allowed = round
            .calls
            .iter()
            .map(|one| bounds.allow(&one.asked.name))
            .collect::<Vec<_>>();
        round.begin();
        let this = self;
        let calling = round
            .calls
            .iter()
            .zip(allowed)
            .map(|(one, allowed)| async move {
                let call = &one.asked;
                this.tries.speaker.note(ToolNote::Started {
                    call_id: call.id.clone(),
                    name: call.name.clone(),
                    arguments: call.arguments.clone(),
                });
                let began = Instant::now();
                let called = match (allowed, one.refusal()) {
                    (Err(refused), _) | (Ok(_), Some(refused)) => refused,
                    (Ok(_), None) if is_late => too_late(),
                    (Ok(tool), None) => this.app.tools.call(&tool, &call.arguments).await,
                };
                let took = millis(began.elapsed());
                let note = ToolNote::finished(&call.id, &call.name, &called, took);
                // Nobody else tells what came of it.
                _ = one.result.set(called);
                this.tries.speaker.note(note);
            });
        join_all(calling).await;
        round.end();
        // The same mistake in one breath is one.
        let mut noted: Vec<(&str, Outcome)> = Vec::with_capacity(round.calls.len());
        for one in &round.calls {
            let Some(called) = one.result.get() else {
                continue;
            };
            let known = (one.asked.name.as_str(), called.outcome);
            if !noted.contains(&known) {
                bounds.note(known.0, known.1);
                noted.push(known);
            }
        }
    }

    /// What is said next is said by a model that was asked anew.
    fn turn_over(&mut self) {
        let text = self.tries.speaker.text();
        self.tries.round = text.len();
        self.tries.number += 1;
        let is_open = text.len() > self.before() && !text.ends_with(char::is_whitespace);
        self.tries.needs_break = is_open;
    }
}

/// What a model hears that has thought for too long between its calls.
fn too_late() -> Called {
    Called {
        text: "Not called: the time for calls is over.".to_owned(),
        ..Called::unavailable()
    }
}
