//! What a provider says, as it comes.

use shared::{
    clients::chat::{Answer, AnswerError, AskError, Ending, Piece, ToolCallPart},
    models::usage::Outcome,
    providers::Picked,
};
use tokio::time::Instant;

use super::{CameTo, NoAnswer, Tries};
use crate::chat::attempt::Counted;

/// Between what a model says before and after a call of tools.
const BREAK: &str = "\n\n";

impl Tries {
    /// Reads an answer, if there is one. `begun` is called with its first word: from then on nobody else is asked.
    pub(in crate::chat) async fn read_asked(
        &mut self,
        asked: Result<Answer, AskError>,
        picked: &Picked,
        begun: impl FnOnce() + Send,
    ) -> Result<Ending, NoAnswer> {
        let answer = asked.map_err(NoAnswer::Refused)?;
        let read = self.read(answer, picked, begun).await;
        read.map_err(NoAnswer::Broken)
    }

    /// Says what a provider says. Its attempt is accounted for, whatever comes of it.
    async fn read(
        &mut self,
        mut answer: Answer,
        picked: &Picked,
        begun: impl FnOnce() + Send,
    ) -> Result<Ending, AnswerError> {
        let mut is_first = true;
        let mut begun = Some(begun);
        let read = loop {
            let piece = answer.next().await;
            if is_first && matches!(piece, Ok(Some(_))) {
                is_first = false;
                self.app.providers.answered(picked).await;
            }
            match piece {
                Ok(Some(Piece::End(ending))) => break Ok(ending),
                Ok(Some(piece)) => {
                    self.hear(piece);
                    if self.is_begun()
                        && let Some(begun) = begun.take()
                    {
                        begun();
                    }
                }
                Ok(None) => break Err(AnswerError::Cut),
                Err(error) => break Err(error),
            }
        };
        let counted = Counted {
            tokens: match &read {
                Ok(ending) => ending.usage,
                Err(_) => answer.usage(),
            },
            cost_microusd: answer.cost_microusd(),
        };
        match &read {
            Ok(_) => {
                self.close_attempt(Outcome::Completed, None, counted).await;
                self.tell(picked, CameTo::Answered).await;
                self.app.tasks.spawn(answer.drain());
            }
            // It says that it did nothing.
            Err(AnswerError::Said(reason, _)) if is_first => self.fail_attempt(reason.clone()),
            Err(error) => {
                let reason = Some(error.to_string());
                self.close_attempt(Outcome::Failed, reason, counted).await;
            }
        }
        read
    }

    /// Says what comes; who hears all of it gets it as it is. Then all of it counts as said: it has left.
    pub(in crate::chat) fn hear(&mut self, piece: Piece) {
        match &piece {
            Piece::Text(text) | Piece::Refusal(text) => {
                self.note_first();
                self.say(text);
            }
            Piece::Thought(text) => self.think(text),
            Piece::Call(call) => {
                self.note_first();
                self.call(call);
            }
            Piece::Logprobs(_) | Piece::End(_) => {}
        }
        if let Some(hearer) = &self.hearer {
            // Whoever has gone is noticed elsewhere.
            _ = hearer.send(piece);
        }
    }

    fn note_first(&mut self) {
        if let Some((_, first)) = &mut self.asking {
            first.get_or_insert_with(Instant::now);
        }
    }

    fn think(&mut self, text: &str) {
        if self.hearer.is_some() {
            self.speaker.say(text);
        } else {
            self.thoughts.push_str(text);
        }
    }

    fn call(&mut self, call: &ToolCallPart) {
        if let Some((_, name)) = &call.begun {
            self.think(name);
        }
        self.think(&call.arguments);
    }

    /// Says more; what comes after a call begins anew.
    pub(in crate::chat) fn say(&mut self, text: &str) {
        if text.is_empty() {
            return;
        }
        if std::mem::take(&mut self.needs_break) {
            self.speaker.say(BREAK);
        }
        self.speaker.say(text);
    }
}
