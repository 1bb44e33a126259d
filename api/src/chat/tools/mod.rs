//! Tools in an answer: the model asks for calls, hears what came of them, and goes on, within bounds; then it answers
//! without. What a tool says is a text of a message of the role `tool`, and changes nothing else.

mod bounds;
pub(super) mod dto;
pub(super) mod earlier;
mod exchange;

use futures::future::join_all;
use shared::{
    catalogue::{Model, Route},
    clients::chat::{Ending, Part, Prompt, Said, Speaker, ToolCall},
    models::message::Failure,
    tools::{Called, Outcome},
};
use tokio::time::Instant;

use self::{
    bounds::{Bounds, Stage},
    dto::ToolNote,
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
                    let results = self.call_all(&mut bounds, &ending.calls).await;
                    self.go_on(&mut prompt, ending.calls, results).await;
                    bounds.look();
                }
                Stage::Forbidden => bounds.insist(),
                Stage::Without if self.tries.speaker.len() > self.before() => return Ok(ending),
                Stage::Without => {
                    let told = "the model went on to call tools instead of answering";
                    return Err(failure("tool_loop", told));
                }
            }
        }
    }

    /// Carries out calls, at once, and tells of them.
    async fn call_all(&self, bounds: &mut Bounds, calls: &[ToolCall]) -> Vec<Called> {
        let until = bounds.until();
        let tools = calls.iter().map(|call| bounds.allow(&call.name));
        let tools: Vec<_> = tools.collect();
        let this = self;
        let calling = calls.iter().zip(tools).map(|(call, tool)| async move {
            this.tries.speaker.note(ToolNote::Started {
                call_id: call.id.clone(),
                name: call.name.clone(),
                arguments: call.arguments.clone(),
            });
            let began = Instant::now();
            let called = match tool {
                Ok(tool) => {
                    let calling = this.app.tools.call(&tool, &call.arguments);
                    let called = tokio::time::timeout_at(until, calling).await;
                    called.unwrap_or_else(|_| Called::unavailable())
                }
                Err(refused) => refused,
            };
            let took = millis(began.elapsed());
            let note = ToolNote::finished(&call.id, &call.name, &called, took);
            this.tries.speaker.note(note);
            called
        });
        let called = join_all(calling).await;
        // The same mistake in one breath is one.
        let mut noted: Vec<(&str, Outcome)> = Vec::with_capacity(calls.len());
        for (call, called) in calls.iter().zip(&called) {
            let one = (call.name.as_str(), called.outcome);
            if !noted.contains(&one) {
                bounds.note(one.0, one.1);
                noted.push(one);
            }
        }
        called
    }

    /// Shows the model what came of its calls, and stores both.
    async fn go_on(&mut self, prompt: &mut Prompt, calls: Vec<ToolCall>, results: Vec<Called>) {
        self.keep_exchange(&calls, &results).await;
        let text = self.tries.speaker.text();
        let said = text.get(self.tries.round..).unwrap_or_default();
        let said = (!said.is_empty()).then(|| Part::Text(said.to_owned()));
        let ids: Vec<String> = calls.iter().map(|call| call.id.clone()).collect();
        let calls = calls.into_iter().map(Part::Call);
        prompt.said.push(Said {
            by: Speaker::Assistant,
            parts: said.into_iter().chain(calls).collect(),
        });
        let results = ids.into_iter().zip(results);
        prompt.said.extend(results.map(|(call_id, called)| Said {
            by: Speaker::Tool,
            parts: vec![Part::Result {
                call_id,
                text: called.text,
            }],
        }));
        self.tries.round = text.len();
        let is_open = text.len() > self.before() && !text.ends_with(char::is_whitespace);
        self.tries.needs_break = is_open;
    }
}
