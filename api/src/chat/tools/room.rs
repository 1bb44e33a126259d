//! How much room tools have in what a model is asked: what it is told of them, the calls, and what they say.

use shared::{
    catalogue::{Extra, Model, Route},
    clients::chat::{Prompt, ToolCall},
    context::count,
    models::message::AnswerContext,
};

use super::{
    super::{answer::Making, place::most_sent},
    round::Round,
};

/// Least tokens for which tools are called: less says nothing.
const LEAST_ROOM: u32 = 256;
/// Most of what a model takes, as a part of it, that is told of tools; and that is left to what they say where more could go
/// along with the question.
const TOLD_SHARE: u32 = 2;
const SAID_SHARE: u32 = 4;

impl Making {
    /// Most tokens that the model can be sent, as they are stored: it needs room for its answer.
    pub(super) fn most_stored(&self, model: &Model) -> u32 {
        let most = most_sent(model, self.options.max_tokens);
        self.asked.measure.stored_of(most)
    }

    /// Counts what the model is told of tools, before it is decided what goes along with the question. It is told of as many
    /// as have room, the first ones.
    pub(in crate::chat) async fn weigh_tools(&mut self, model: &Model) {
        if self.tools.is_empty() {
            return;
        }
        let most = self.most_stored(model);
        let question = count::of_stored(self.asked.question.token_count);
        let beside = question.saturating_add(LEAST_ROOM);
        let room = (most / TOLD_SHARE).min(most.saturating_sub(beside));
        let encoding = self.app.tokens.fallback();
        let (mut tokens, mut told) = (0_u32, 0);
        for tool in &self.tools {
            let more = tokens.saturating_add(tool.tokens(encoding).await);
            if more > room {
                break;
            }
            tokens = more;
            told += 1;
        }
        if told < self.tools.len() {
            tracing::info!(
                model = model.id,
                offered = self.tools.len(),
                told,
                "a model has no room to be told of all tools"
            );
            self.tools.truncate(told);
        }
        let asked = &mut self.asked;
        asked.with_tools = !self.tools.is_empty();
        if !asked.with_tools {
            return;
        }
        asked.tool_tokens = tokens;
        // As much as is not free anyway, as less may go along than the model takes.
        let limit = asked.measure.stored_of(asked.limits.tokens);
        asked.reserved = (most / SAID_SHARE).saturating_sub(most.saturating_sub(limit));
    }

    /// Whether there is room for anything that tools would say.
    pub(super) fn has_room(&self, most: u32) -> bool {
        self.left(most) >= LEAST_ROOM
    }

    fn left(&self, most: u32) -> u32 {
        most.saturating_sub(self.tries.stored_tokens)
    }

    /// Whether anybody who may be asked wants back what the model thought before its calls.
    pub(super) fn takes_thoughts(&self, routes: &[Route]) -> bool {
        let catalogue = &self.app.config.common.ai.catalogue;
        routes.iter().any(|route| {
            let provider = catalogue.provider(&route.provider);
            provider.is_some_and(|provider| provider.quirks.takes(Extra::Thoughts))
        })
    }

    /// Begins a round of calls; false where there is no room for them, for what was thought and said before them, and for
    /// what tools would say.
    pub(super) async fn begin_round(
        &mut self,
        calls: Vec<ToolCall>,
        thoughts: String,
        most: u32,
    ) -> bool {
        let measures = &self.app.tokens;
        let before = self.said_before();
        let mut tokens = 0_u32;
        for text in [&thoughts, &before] {
            if !text.is_empty() {
                tokens = tokens.saturating_add(measures.count_text(text.clone()).await);
            }
        }
        let round = Round::new(calls, thoughts);
        tokens = tokens.saturating_add(round.tokens(measures).await);
        let needed = tokens.saturating_add(round.least().max(LEAST_ROOM));
        if self.left(most) < needed {
            return false;
        }
        self.send_more(tokens);
        // What the model took until now is known to the end.
        let live = self.app.chat.live();
        live.note(self.row.id, &self.tries.attempts);
        self.open = Some(round);
        true
    }

    /// Ends the round that is open: what tools said is cut to the room that there is, stored, and shown to the model.
    pub(super) async fn end_round(&mut self, prompt: &mut Prompt, most: u32) {
        let room = self.left(most);
        let measures = self.app.tokens.clone();
        let tokens = match &mut self.open {
            Some(round) => round.fit(&measures, room).await,
            None => 0,
        };
        self.send_more(tokens);
        let is_known = self.keep_round().await;
        self.is_doubtful |= !is_known;
        let before = self.said_before();
        if let Some(round) = self.open.take() {
            self.tools_time += round.time();
            prompt.said.extend(round.said(&before));
        }
        self.turn_over();
    }

    /// What the model said since it was asked last.
    fn said_before(&self) -> String {
        let text = self.tries.speaker.text();
        text.get(self.tries.round..).unwrap_or_default().to_owned()
    }

    /// Counts what is sent from now on in addition.
    fn send_more(&mut self, tokens: u32) {
        let tokens = self.tries.stored_tokens.saturating_add(tokens);
        self.tries.stored_tokens = tokens;
        let context = &mut self.context;
        context.tokens = self.asked.measure.of_stored(tokens);
        context.warning = AnswerContext::warning(context.tokens, context.limit);
        context.exceeded |= context.tokens > context.limit;
    }
}
