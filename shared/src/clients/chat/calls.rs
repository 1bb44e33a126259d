//! Calls of tools that a model asks for, which come in pieces.

use serde_json::Value;

use crate::keyring::random;

/// Most calls of an answer.
const CALLS_MAX: usize = 32;
/// Longest id and name that are kept.
const NAME_MAX_BYTES: usize = 200;
/// Largest thing of a provider's own that goes with a call.
const EXTRA_MAX_BYTES: usize = 64 << 10;

/// A call of a tool that a model asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ToolCall {
    /// By which its result is known.
    pub id: String,
    /// The tool.
    pub name: String,
    /// JSON, as the model writes it.
    pub arguments: String,
    /// What the provider wants back with it: Gemini its thoughts, sealed.
    pub extra: Option<Value>,
}

/// A piece of a call.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct CallPiece {
    index: Option<u64>,
    id: String,
    name: String,
    arguments: String,
    extra: Option<Value>,
}

/// Calls as far as they have come.
#[derive(Debug, Default)]
pub(super) struct Calls(Vec<(Option<u64>, ToolCall)>);

impl CallPiece {
    /// Those of a piece of an answer, or of a whole one; everything may be of another type than it should be.
    pub(super) fn all_of(delta: &Value) -> Vec<Self> {
        let calls = delta["tool_calls"].as_array().into_iter().flatten();
        calls.map(Self::of).collect()
    }

    fn of(call: &Value) -> Self {
        let text = |value: &Value| value.as_str().unwrap_or_default().replace('\0', "");
        let function = &call["function"];
        let arguments = match &function["arguments"] {
            // Some write what should be a text of JSON as JSON.
            fields @ Value::Object(_) => fields.to_string(),
            other => text(other),
        };
        let extra = &call["extra_content"];
        let is_sound = extra.is_object() && extra.to_string().len() <= EXTRA_MAX_BYTES;
        Self {
            index: call["index"].as_u64(),
            id: text(&call["id"]),
            name: text(&function["name"]),
            arguments,
            extra: is_sound.then(|| extra.clone()),
        }
    }

    /// What it adds to an answer.
    pub(super) fn bytes(&self) -> usize {
        self.id.len() + self.name.len() + self.arguments.len()
    }

    /// Whether it goes on with a call that was begun at the same place. Gemini says the same place of all, and others no id.
    fn continues(&self, index: Option<u64>, call: &ToolCall) -> bool {
        let is_other = if self.id.is_empty() || call.id.is_empty() {
            self.id.is_empty()
                && call.id.is_empty()
                && !self.name.is_empty()
                && !call.name.is_empty()
        } else {
            self.id != call.id
        };
        self.index == index && !is_other
    }
}

impl Calls {
    /// Adds a piece; tells whether there are not too many.
    pub(super) fn add(&mut self, piece: CallPiece) -> bool {
        let mut begun = self.0.iter_mut().rev();
        if let Some((_, call)) = begun.find(|(index, call)| piece.continues(*index, call)) {
            call.arguments.push_str(&piece.arguments);
            if call.id.is_empty() {
                call.id = piece.id;
            }
            if call.name.is_empty() {
                call.name = piece.name;
            }
            call.extra = piece.extra.or(call.extra.take());
            return true;
        }
        let call = ToolCall {
            id: piece.id,
            name: piece.name,
            arguments: piece.arguments,
            extra: piece.extra,
        };
        self.0.push((piece.index, call));
        self.0.len() <= CALLS_MAX
    }

    /// All of them, each with an id.
    pub(super) fn take(&mut self) -> Vec<ToolCall> {
        let calls = std::mem::take(&mut self.0).into_iter();
        calls
            .map(|(_, mut call)| {
                if call.id.is_empty() || call.id.len() > NAME_MAX_BYTES {
                    call.id = format!("call_{}", hex::encode(random::<12>()));
                }
                let end = call.name.floor_char_boundary(NAME_MAX_BYTES);
                call.name.truncate(end);
                call
            })
            .filter(|call| !call.name.is_empty())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(deltas: &[Value]) -> Vec<(String, String, String)> {
        let mut calls = Calls::default();
        for delta in deltas {
            for piece in CallPiece::all_of(delta) {
                assert!(calls.add(piece));
            }
        }
        let calls = calls.take().into_iter();
        calls
            .map(|call| (call.id, call.name, call.arguments))
            .collect()
    }

    fn call(id: &str, name: &str, arguments: &str) -> (String, String, String) {
        (id.to_owned(), name.to_owned(), arguments.to_owned())
    }

    #[test]
    fn pieces_come_together_by_their_place() {
        let told = read(&[
            json!({ "tool_calls": [{ "index": 0, "id": "a", "type": "function", "function": { "name": "weather", "arguments": "" } }] }),
            json!({ "tool_calls": [{ "index": 0, "function": { "arguments": "{\"q\"" } }] }),
            json!({ "tool_calls": [{ "index": 1, "id": "b", "function": { "name": "news", "arguments": "{" } }] }),
            json!({ "tool_calls": [{ "index": 0, "function": { "arguments": ":1}" } }, { "index": 1, "function": { "arguments": "}" } }] }),
        ]);
        assert_eq!(
            told,
            [call("a", "weather", "{\"q\":1}"), call("b", "news", "{}")]
        );
    }

    #[test]
    fn whole_calls_at_one_place_are_told_apart() {
        let whole = |id: &str, name: &str| json!({ "tool_calls": [{ "index": 0, "id": id, "function": { "name": name, "arguments": "{}" } }] });
        let told = read(&[whole("a", "weather"), whole("b", "weather")]);
        assert_eq!(
            told,
            [call("a", "weather", "{}"), call("b", "weather", "{}")]
        );
        let told = read(&[whole("", "weather"), whole("", "news")]);
        assert_eq!(
            (told[0].1.as_str(), told[1].1.as_str()),
            ("weather", "news")
        );
        assert!(told[0].0.starts_with("call_") && told[0].0 != told[1].0);
        let told = read(&[json!({ "tool_calls": [
            { "id": "a", "function": { "name": "weather", "arguments": { "q": 1 } } },
            { "id": "b", "function": { "name": "news", "arguments": "{}" } }] })]);
        assert_eq!(
            told,
            [call("a", "weather", "{\"q\":1}"), call("b", "news", "{}")]
        );
    }

    #[test]
    fn nonsense_is_no_call_and_many_are_too_many() {
        assert!(read(&[json!({ "tool_calls": [7, {}, { "function": "x" }] })]).is_empty());
        assert!(read(&[json!({ "tool_calls": "x" }), json!(null)]).is_empty());
        let mut calls = Calls::default();
        let piece = |index: u64| CallPiece {
            index: Some(index),
            ..CallPiece::default()
        };
        assert!((0..CALLS_MAX as u64).all(|index| calls.add(piece(index))));
        assert!(!calls.add(piece(u64::MAX)));
    }

    #[test]
    fn what_a_provider_wants_back_is_kept() {
        let mut calls = Calls::default();
        let extra = json!({ "google": { "thought_signature": "abc" } });
        let delta = json!({ "tool_calls": [{ "index": 0, "id": "a", "extra_content": extra,
                            "function": { "name": "weather", "arguments": "{}" } }] });
        for piece in CallPiece::all_of(&delta) {
            calls.add(piece);
        }
        assert_eq!(calls.take()[0].extra, Some(extra));
    }
}
