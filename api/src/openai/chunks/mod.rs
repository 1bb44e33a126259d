//! Pieces of answers, as `OpenAI` words them: whole ones, and those of a stream.

#[cfg(test)]
mod tests;
mod whole;

use serde::Serialize;
use serde_json::{Map, Value, json};
use shared::{
    clients::chat::{Ending, Logprobs, Piece, ToolCallPart},
    ids::{ConversationId, MessageId},
    models::message::AnswerUsage,
};

pub(super) use self::whole::{Said, Whole};
use super::fault::Fault;

/// Ends a stream that is whole.
pub(super) const DONE: &str = "data: [DONE]\n\n";
/// Keeps a connection open.
pub(super) const KEEP_ALIVE: &str = ": keep-alive\n\n";
/// Bytes of likelihoods that wait for the words that they go along with.
const WAITING_BYTES: usize = 64 << 10;

/// What all pieces of an answer have in common.
#[derive(Debug, Clone)]
pub(super) struct Chunks {
    id: String,
    created: i64,
    model: String,
    /// Where it is kept, if it is.
    conversation: Option<ConversationId>,
    /// Whether a stream tells in the end what it took: then every piece has a place for it.
    pub(super) wants_usage: bool,
    /// How likely the next words were.
    logprobs: Option<Logprobs>,
}

/// A piece of a stream, or a whole answer.
#[derive(Debug, Serialize)]
struct Body<C> {
    id: String,
    object: &'static str,
    created: i64,
    model: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    conversation_id: Option<ConversationId>,
    choices: C,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Value>,
}

/// What a piece of a stream adds.
#[derive(Debug, Serialize)]
struct Choice<'a> {
    index: u8,
    delta: &'a Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    logprobs: Option<Logprobs>,
    finish_reason: Option<&'a str>,
}

impl Chunks {
    pub(super) fn new(id: MessageId, created: i64, model: String) -> Self {
        Self {
            id: format!("chatcmpl-{}", id.0.simple()),
            created,
            model,
            conversation: None,
            wants_usage: false,
            logprobs: None,
        }
    }

    /// The same, for an answer that is kept.
    #[must_use]
    pub(super) fn of_conversation(mut self, conversation: ConversationId) -> Self {
        self.conversation = Some(conversation);
        self
    }

    fn body<C>(&self, object: &'static str, choices: C, usage: Option<Value>) -> Body<C> {
        Body {
            id: self.id.clone(),
            object,
            created: self.created,
            model: self.model.clone(),
            conversation_id: self.conversation,
            choices,
            usage,
        }
    }

    fn event(&self, choices: &[Choice<'_>], usage: Value) -> String {
        let usage = self.wants_usage.then_some(usage);
        event(&self.body("chat.completion.chunk", choices, usage))
    }

    fn delta(&mut self, delta: &Value, finish: Option<&str>) -> String {
        let choice = Choice {
            index: 0,
            delta,
            logprobs: self.logprobs.take(),
            finish_reason: finish,
        };
        self.event(&[choice], Value::Null)
    }

    /// Says who speaks; comes first, and once.
    pub(super) fn role(&mut self) -> String {
        self.delta(&json!({ "role": "assistant", "content": "" }), None)
    }

    /// A piece; nothing where it goes along with the next one.
    pub(super) fn piece(&mut self, piece: Piece) -> Option<String> {
        let delta = match piece {
            Piece::Text(text) => json!({ "content": text }),
            Piece::Refusal(text) => json!({ "refusal": text }),
            Piece::Thought(text) => json!({ "reasoning_content": text }),
            Piece::Call(part) => return Some(self.call(part)),
            Piece::Logprobs(logprobs) => {
                merge(&mut self.logprobs, logprobs);
                let waiting = self.logprobs.as_ref().map_or(0, Logprobs::bytes);
                if waiting < WAITING_BYTES {
                    return None;
                }
                json!({})
            }
            Piece::End(_) => return None,
        };
        Some(self.delta(&delta, None))
    }

    /// A piece of a call. What begins one has an id and a name and no arguments yet, as `OpenAI` does it.
    fn call(&mut self, mut part: ToolCallPart) -> String {
        let arguments = match &part.begun {
            Some(_) => std::mem::take(&mut part.arguments),
            None => String::new(),
        };
        let mut events = self.delta(&json!({ "tool_calls": [call_part(&part)] }), None);
        if !arguments.is_empty() {
            let rest = ToolCallPart {
                place: part.place,
                begun: None,
                arguments,
                extra: None,
            };
            events.push_str(&self.delta(&json!({ "tool_calls": [call_part(&rest)] }), None));
        }
        events
    }

    /// Says why there is no more, and what it took, if that is wanted.
    pub(super) fn end(&mut self, finish: &str, usage: &AnswerUsage) -> String {
        let mut events = self.delta(&json!({}), Some(finish));
        if self.wants_usage {
            events.push_str(&self.event(&[], usage_of(usage)));
        }
        events.push_str(DONE);
        events
    }

    /// A whole answer.
    pub(super) fn whole(&self, said: Said, finish: &'static str, usage: &AnswerUsage) -> Whole {
        Whole::new(said, finish, |choices| {
            self.body("chat.completion", choices, Some(usage_of(usage)))
        })
    }
}

/// An event of a stream; JSON has no line breaks of its own.
fn event(data: &impl Serialize) -> String {
    let data = serde_json::to_string(data).expect("it is made of texts, numbers and JSON");
    format!("data: {data}\n\n")
}

/// What a stream ends with that breaks off.
pub(super) fn broken(fault: &Fault) -> String {
    event(&fault.body())
}

/// Adds likelihoods of words to those before.
fn merge(known: &mut Option<Logprobs>, more: Logprobs) {
    match known {
        Some(known) => known.add(more),
        None => *known = Some(more),
    }
}

fn call_part(part: &ToolCallPart) -> Value {
    let mut call = Map::new();
    let mut function = Map::new();
    call.insert("index".to_owned(), json!(part.place));
    if let Some((id, name)) = &part.begun {
        call.insert("id".to_owned(), json!(id));
        call.insert("type".to_owned(), json!("function"));
        function.insert("name".to_owned(), json!(name));
    }
    function.insert("arguments".to_owned(), json!(part.arguments));
    call.insert("function".to_owned(), Value::Object(function));
    if let Some(extra) = &part.extra {
        call.insert("extra_content".to_owned(), extra.clone());
    }
    Value::Object(call)
}

fn usage_of(usage: &AnswerUsage) -> Value {
    json!({
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens.saturating_add(usage.output_tokens),
        "prompt_tokens_details": { "cached_tokens": usage.cached_tokens, "audio_tokens": 0 },
        "completion_tokens_details": {
            "reasoning_tokens": usage.reasoning_tokens.min(usage.output_tokens), "audio_tokens": 0,
            "accepted_prediction_tokens": 0, "rejected_prediction_tokens": 0,
        },
    })
}

/// Why an answer has ended, in one of `OpenAI`'s words: its clients know no others.
pub(super) fn finish(ending: &Ending) -> &'static str {
    let word = ending.finish.to_lowercase();
    match word.as_str() {
        "length"
        | "max_tokens"
        | "max_output_tokens"
        | "model_length"
        | "insufficient_system_resource" => "length",
        "content_filter" | "safety" | "recitation" | "blocklist" | "prohibited_content"
        | "spii" => "content_filter",
        // Some say `stop` all the same, and clients look at this to see whether they must call something.
        _ if !ending.calls.is_empty() => "tool_calls",
        _ => "stop",
    }
}
