//! A round of calls: what a model wants of tools at once, and what is known so far of what came of it.

use std::{iter, sync::OnceLock, time::Duration};

use shared::{
    clients::chat::{Part, Said, Speaker, ToolCall},
    context::Size,
    ids::MessageId,
    models::message::{self, Content, Role, ToolMessage},
    tokens::Measures,
    tools::{ARGUMENTS_MAX_BYTES, Called},
};
use tokio::time::Instant;

use super::super::prompt::sized;

/// How a call has ended of which nobody knows what came.
pub(super) const UNKNOWN: &str = "unknown";
/// What a model is told of it.
const STOPPED: &str = "The call was stopped; what came of it is not known.";
/// What a model hears whose arguments are too long.
const TOO_LONG: &str = "The arguments are not valid: they are too long.";
/// What stands for such arguments: they are neither kept nor sent back.
const LEFT_OUT: &str = r#"{"leftOut":"These arguments were too long."}"#;
/// Tokens that a result takes at least, however much of it is cut.
const RESULT_LEAST: u32 = 32;

/// A round of calls.
pub(in crate::chat) struct Round {
    /// The message that has the calls.
    id: MessageId,
    /// What the model thought before it asked for them. It is shown that again, and nobody else is.
    thoughts: String,
    pub(super) calls: Vec<Call>,
    /// When they were begun, and how long they took.
    began: OnceLock<Instant>,
    took: OnceLock<Duration>,
}

/// A call of a round.
pub(super) struct Call {
    /// The message that has its result.
    id: MessageId,
    pub(super) asked: ToolCall,
    is_too_long: bool,
    /// What came of it, once that is known.
    pub(super) result: OnceLock<Called>,
}

impl Call {
    fn new(mut call: ToolCall) -> Self {
        let is_too_long = call.arguments.len() > ARGUMENTS_MAX_BYTES;
        if is_too_long {
            LEFT_OUT.clone_into(&mut call.arguments);
        }
        Self {
            id: MessageId::new(),
            asked: call,
            is_too_long,
            result: OnceLock::new(),
        }
    }

    /// Why it is not carried out, whatever its tool is.
    pub(super) fn refusal(&self) -> Option<Called> {
        self.is_too_long.then(|| Called::invalid(TOO_LONG))
    }

    /// What the model is told of it.
    fn output(&self) -> &str {
        self.result
            .get()
            .map_or(STOPPED, |called| called.text.as_str())
    }

    fn status(&self) -> &'static str {
        self.result
            .get()
            .map_or(UNKNOWN, |called| called.outcome.as_str())
    }
}

impl Round {
    pub(super) fn new(calls: Vec<ToolCall>, thoughts: String) -> Self {
        let id = MessageId::new();
        Self {
            id,
            thoughts,
            calls: calls.into_iter().map(Call::new).collect(),
            began: OnceLock::new(),
            took: OnceLock::new(),
        }
    }

    /// Its calls are begun.
    pub(super) fn begin(&self) {
        _ = self.began.set(Instant::now());
    }

    /// All of its calls have ended.
    pub(super) fn end(&self) {
        _ = self.took.set(self.time());
    }

    /// How long its calls took until now.
    pub(super) fn time(&self) -> Duration {
        let took = self.took.get().copied();
        let until_now = || self.began.get().map(Instant::elapsed);
        took.or_else(until_now).unwrap_or_default()
    }

    /// Those that were begun, and of which nobody knows what came.
    pub(super) fn unknown(&self) -> impl Iterator<Item = &ToolCall> {
        let is_begun = self.began.get().is_some();
        let unknown = self
            .calls
            .iter()
            .filter(move |one| is_begun && one.result.get().is_none());
        unknown.map(|one| &one.asked)
    }

    /// Tokens of its calls, as they are stored.
    pub(super) async fn tokens(&self, tokens: &Measures) -> u32 {
        let texts = self
            .calls
            .iter()
            .map(|one| [&*one.asked.name, &*one.asked.arguments]);
        let text = texts.flatten().collect::<Vec<_>>().join("\n");
        tokens.count_message(Role::Assistant.as_str(), text).await
    }

    /// Tokens that its results take at least.
    pub(super) fn least(&self) -> u32 {
        let calls = u32::try_from(self.calls.len()).unwrap_or(u32::MAX);
        calls.saturating_mul(RESULT_LEAST)
    }

    /// Cuts what tools said, the longest first, so that all of it has room for so many tokens, and tells how many these are.
    pub(super) async fn fit(&mut self, tokens: &Measures, room: u32) -> u32 {
        let role = Role::Tool.as_str();
        let mut sizes = Vec::with_capacity(self.calls.len());
        for one in &self.calls {
            sizes.push(tokens.count_message(role, one.output().to_owned()).await);
        }
        let most = share(&sizes, room);
        let mut sum = 0_u32;
        for (one, whole) in self.calls.iter_mut().zip(sizes) {
            let mut size = whole;
            if whole > most
                && let Some(called) = one.result.get_mut()
            {
                // Copied: who is stopped meanwhile keeps all of it.
                let text = called.text.clone();
                called.text = sized(tokens.fallback(), text, Size::Cut(most)).await;
                size = tokens.count_message(role, called.text.clone()).await;
            }
            sum = sum.saturating_add(size);
        }
        sum
    }

    /// As it is stored: a message of the model with its calls, and one of each tool.
    pub(super) async fn messages(&self, tokens: &Measures) -> Vec<ToolMessage> {
        let asked = self.calls.iter().map(|one| message::Part::ToolCall {
            call_id: one.asked.id.clone(),
            name: one.asked.name.clone(),
            arguments: one.asked.arguments.clone(),
        });
        let mut messages = vec![ToolMessage {
            id: self.id,
            role: Role::Assistant,
            content: Content(asked.collect()),
            token_count: self.tokens(tokens).await,
        }];
        for one in &self.calls {
            let output = one.output().to_owned();
            let result = message::Part::ToolResult {
                call_id: one.asked.id.clone(),
                name: one.asked.name.clone(),
                status: one.status().to_owned(),
                output: output.clone(),
            };
            let role = Role::Tool;
            messages.push(ToolMessage {
                id: one.id,
                role,
                content: Content(vec![result]),
                token_count: tokens.count_message(role.as_str(), output).await,
            });
        }
        messages
    }

    /// As the model is shown it, after what it thought, and said before its calls.
    pub(super) fn said(self, before: &str) -> Vec<Said> {
        let Self {
            calls, thoughts, ..
        } = self;
        let before = (!before.is_empty()).then(|| Part::Text(before.to_owned()));
        let results: Vec<Said> = calls
            .iter()
            .map(|one| Said {
                by: Speaker::Tool,
                parts: vec![Part::Result {
                    call_id: one.asked.id.clone(),
                    text: one.output().to_owned(),
                }],
            })
            .collect();
        let calls = calls.into_iter().map(|one| Part::Call(one.asked));
        let thoughts = iter::once(Part::Thoughts(thoughts));
        let asked = Said {
            by: Speaker::Assistant,
            parts: thoughts.chain(before).chain(calls).collect(),
        };
        [asked].into_iter().chain(results).collect()
    }
}

/// The size to which the longest of some texts are cut, so that there is room for all; none is cut that is not longer.
fn share(sizes: &[u32], room: u32) -> u32 {
    let mut sizes = sizes.to_vec();
    sizes.sort_unstable();
    let (mut left, mut waiting) = (room, u32::try_from(sizes.len()).unwrap_or(u32::MAX));
    for size in sizes {
        let share = left / waiting;
        if size > share {
            return share;
        }
        left -= size;
        waiting -= 1;
    }
    u32::MAX
}

#[cfg(test)]
mod tests {
    use serde_json::Value;
    use shared::{context::CUT_MARK, tokens::Encoding, tools::Outcome};

    use super::*;

    fn call(id: &str, arguments: &str) -> ToolCall {
        ToolCall {
            id: id.to_owned(),
            name: "weather".to_owned(),
            arguments: arguments.to_owned(),
            extra: None,
        }
    }

    fn completed(text: &str) -> Called {
        Called {
            text: text.to_owned(),
            outcome: Outcome::Completed,
            is_cached: false,
        }
    }

    #[test]
    fn the_longest_texts_share_what_the_others_leave() {
        assert_eq!(share(&[], 0), u32::MAX);
        assert_eq!(share(&[10, 20, 30], 60), u32::MAX);
        assert_eq!(share(&[30, 10, 20], 50), 20);
        assert_eq!(share(&[1_000, 10, 2_000], 110), 50);
        assert_eq!(share(&[7, 9], 0), 0);
    }

    #[tokio::test]
    async fn what_tools_said_has_the_room_that_there_is() {
        let measures = Measures::new(Encoding::O200k);
        let calls = vec![call("a", "{}"), call("b", "{}"), call("c", "{}")];
        let mut round = Round::new(calls, String::new());
        let long = "नमस्ते दुनिया hello ".repeat(500);
        for (one, text) in round
            .calls
            .iter()
            .zip(["Cold.", long.as_str(), long.as_str()])
        {
            one.result.set(completed(text)).unwrap();
        }
        let tokens = round.fit(&measures, 400).await;
        assert!((300..=400).contains(&tokens), "{tokens}");
        assert_eq!(round.calls[0].output(), "Cold.");
        for one in &round.calls[1..] {
            let kept = one.output().strip_suffix(CUT_MARK).unwrap();
            assert!(long.starts_with(kept) && !kept.is_empty());
        }
        let counted: u32 = round
            .messages(&measures)
            .await
            .iter()
            .skip(1)
            .map(|one| one.token_count)
            .sum();
        assert_eq!(counted, tokens);
        // What has room stays as it is.
        assert_eq!(round.fit(&measures, 400).await, tokens);
    }

    #[test]
    fn a_model_is_shown_what_it_thought_and_said_before_its_calls() {
        let round = || Round::new(vec![call("a", "{}")], "Cold?".to_owned());
        let thoughts = || Part::Thoughts("Cold?".to_owned());
        let asked = || Part::Call(call("a", "{}"));
        let said = round().said("Wait.");
        let before = Part::Text("Wait.".to_owned());
        assert_eq!(said[0].parts, [thoughts(), before, asked()]);
        assert_eq!(said[1].by, Speaker::Tool);
        assert_eq!(round().said("")[0].parts, [thoughts(), asked()]);
    }

    #[test]
    fn long_arguments_are_left_out_and_refused() {
        let long = format!(r#"{{"location":"{}"}}"#, "x".repeat(ARGUMENTS_MAX_BYTES));
        let calls = vec![call("a", &long), call("b", r#"{"location":"x"}"#)];
        let round = Round::new(calls, String::new());
        let [first, second] = &round.calls[..] else {
            panic!("there are two");
        };
        assert_eq!(first.refusal().unwrap().outcome, Outcome::Invalid);
        let left: Value = serde_json::from_str(&first.asked.arguments).unwrap();
        assert!(left.is_object());
        assert!(second.refusal().is_none());
        assert_eq!(second.asked.arguments, r#"{"location":"x"}"#);
    }

    #[tokio::test]
    async fn of_a_call_that_was_stopped_nobody_knows_what_came() {
        let measures = Measures::new(Encoding::O200k);
        let calls = vec![call("a", "{}"), call("b", "{}")];
        let round = Round::new(calls, String::new());
        assert_eq!(round.unknown().count(), 0, "nothing was begun");
        round.begin();
        round.calls[0].result.set(completed("Cold.")).unwrap();
        let unknown: Vec<&str> = round.unknown().map(|call| call.id.as_str()).collect();
        assert_eq!(unknown, ["b"]);
        let messages = round.messages(&measures).await;
        let results: Vec<(&str, &str)> = messages
            .iter()
            .filter_map(|one| match &one.content.0[0] {
                message::Part::ToolResult { status, output, .. } => {
                    Some((status.as_str(), output.as_str()))
                }
                _ => None,
            })
            .collect();
        assert_eq!(results, [("completed", "Cold."), (UNKNOWN, STOPPED)]);
        // Told again, they are the same messages.
        let again = round.messages(&measures).await;
        let ids = |messages: &[ToolMessage]| -> Vec<MessageId> {
            messages.iter().map(|one| one.id).collect()
        };
        assert_eq!(ids(&messages), ids(&again));
    }
}
