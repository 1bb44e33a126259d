//! Pieces of answers, as `OpenAI` words them: whole ones, and those of a stream.

#[cfg(test)]
mod tests;

use serde_json::{Map, Value, json};
use shared::{
    clients::chat::{Ending, Piece, ToolCall, ToolCallPart},
    ids::{ConversationId, MessageId},
    models::message::AnswerUsage,
};

use super::fault::Fault;

/// Ends a stream that is whole.
pub(super) const DONE: &str = "data: [DONE]\n\n";
/// Keeps a connection open.
pub(super) const KEEP_ALIVE: &str = ": keep-alive\n\n";

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
    logprobs: Option<Value>,
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

    fn head(&self, object: &str) -> Map<String, Value> {
        let mut head = Map::new();
        head.insert("id".to_owned(), json!(self.id));
        head.insert("object".to_owned(), json!(object));
        head.insert("created".to_owned(), json!(self.created));
        head.insert("model".to_owned(), json!(self.model));
        if let Some(conversation) = self.conversation {
            head.insert("conversation_id".to_owned(), json!(conversation));
        }
        head
    }

    fn event(&self, choices: Value, usage: Value) -> String {
        let mut chunk = self.head("chat.completion.chunk");
        chunk.insert("choices".to_owned(), choices);
        if self.wants_usage {
            chunk.insert("usage".to_owned(), usage);
        }
        event(&Value::Object(chunk))
    }

    fn delta(&mut self, delta: &Value, finish: Option<&str>) -> String {
        let logprobs = self.logprobs.take();
        let choice = json!({
            "index": 0, "delta": delta, "logprobs": logprobs, "finish_reason": finish,
        });
        self.event(json!([choice]), Value::Null)
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
                return None;
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
            events.push_str(&self.event(json!([]), usage_of(usage)));
        }
        events.push_str(DONE);
        events
    }

    /// A whole answer.
    pub(super) fn whole(&self, said: Said, finish: &str, usage: &AnswerUsage) -> Value {
        let Said {
            text,
            refusal,
            thoughts,
            logprobs,
            calls,
        } = said;
        let is_empty = text.is_empty() && (!calls.is_empty() || refusal.is_some());
        let mut message = Map::new();
        message.insert("role".to_owned(), json!("assistant"));
        let content = (!is_empty).then_some(text);
        message.insert("content".to_owned(), json!(content));
        message.insert("refusal".to_owned(), json!(refusal));
        if !thoughts.is_empty() {
            message.insert("reasoning_content".to_owned(), json!(thoughts));
        }
        if !calls.is_empty() {
            let calls: Vec<Value> = calls.iter().map(whole_call).collect();
            message.insert("tool_calls".to_owned(), json!(calls));
        }
        let mut answer = self.head("chat.completion");
        let choice = json!({
            "index": 0, "message": message, "logprobs": logprobs, "finish_reason": finish,
        });
        answer.insert("choices".to_owned(), json!([choice]));
        answer.insert("usage".to_owned(), usage_of(usage));
        Value::Object(answer)
    }
}

/// An event of a stream; JSON has no line breaks of its own.
fn event(data: &Value) -> String {
    format!("data: {data}\n\n")
}

/// What a stream ends with that breaks off.
pub(super) fn broken(fault: &Fault) -> String {
    event(&fault.body())
}

/// What was said, for an answer in one piece.
#[derive(Debug, Default)]
pub(super) struct Said {
    text: String,
    refusal: Option<String>,
    thoughts: String,
    logprobs: Option<Value>,
    pub(super) calls: Vec<ToolCall>,
}

impl Said {
    /// Words, and nothing else.
    pub(super) fn of_text(text: String) -> Self {
        Self {
            text,
            ..Self::default()
        }
    }

    /// Adds a piece.
    pub(super) fn add(&mut self, piece: Piece) {
        match piece {
            Piece::Text(text) => self.text.push_str(&text),
            Piece::Refusal(text) => self.refusal.get_or_insert_default().push_str(&text),
            Piece::Thought(text) => self.thoughts.push_str(&text),
            Piece::Logprobs(logprobs) => merge(&mut self.logprobs, logprobs),
            // They come whole with the end.
            Piece::Call(_) | Piece::End(_) => {}
        }
    }
}

/// Adds likelihoods of words to those before.
fn merge(known: &mut Option<Value>, more: Value) {
    let Some(known) = known else {
        *known = Some(more);
        return;
    };
    for name in ["content", "refusal"] {
        let Value::Array(more) = &more[name] else {
            continue;
        };
        match &mut known[name] {
            Value::Array(list) => list.extend(more.iter().cloned()),
            list => *list = json!(more),
        }
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

fn whole_call(call: &ToolCall) -> Value {
    let mut whole = json!({
        "id": call.id, "type": "function",
        "function": { "name": call.name, "arguments": call.arguments },
    });
    if let Some(extra) = &call.extra {
        whole["extra_content"] = extra.clone();
    }
    whole
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
