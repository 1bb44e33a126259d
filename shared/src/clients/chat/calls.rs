//! Calls of tools that a model asks for, which come in pieces.

use serde_json::Value;

use crate::keyring::random;

/// Most calls of an answer, where nobody says less: as many as a client of `OpenAI` may tell of tools.
const CALLS_MAX: usize = 128;
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

/// What has come of a call while an answer is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolCallPart {
    /// Which one of the answer, from 0 on.
    pub place: usize,
    /// Its id and its name, whole, in the first part.
    pub begun: Option<(String, String)>,
    /// More of its arguments.
    pub arguments: String,
    /// What the provider wants back with it, with the first part that came after it.
    pub extra: Option<Value>,
}

/// Calls as far as they have come.
#[derive(Debug)]
pub(super) struct Calls {
    entries: Vec<Entry>,
    /// More are too many.
    most: usize,
}

/// A call that has begun.
#[derive(Debug)]
struct Entry {
    index: Option<u64>,
    call: ToolCall,
    told: Option<Told>,
}

/// What was told of a call.
#[derive(Debug)]
struct Told {
    place: usize,
    id: String,
    /// Bytes of its arguments.
    arguments: usize,
    has_extra: bool,
}

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

impl Default for Calls {
    fn default() -> Self {
        Self::at_most(CALLS_MAX)
    }
}

impl Calls {
    pub(super) fn at_most(most: usize) -> Self {
        Self {
            entries: Vec::new(),
            most,
        }
    }

    /// Adds a piece; tells whether there are not too many.
    pub(super) fn add(&mut self, piece: CallPiece) -> bool {
        let mut begun = self.entries.iter_mut().rev();
        if let Some(Entry { call, .. }) =
            begun.find(|entry| piece.continues(entry.index, &entry.call))
        {
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
        self.entries.push(Entry {
            index: piece.index,
            call,
            told: None,
        });
        self.entries.len() <= self.most
    }

    /// What has come since this was asked last. Nothing of a call is told before its name is known.
    pub(super) fn news(&mut self) -> Vec<ToolCallPart> {
        let mut begun = self
            .entries
            .iter()
            .filter(|entry| entry.told.is_some())
            .count();
        let mut news = Vec::new();
        for Entry { call, told, .. } in &mut self.entries {
            let first = told.is_none() && !call.name.is_empty();
            if first {
                *told = Some(Told {
                    place: begun,
                    id: known_id(&call.id),
                    arguments: 0,
                    has_extra: false,
                });
                begun += 1;
            }
            let Some(told) = told else { continue };
            let is_more = call.arguments.len() > told.arguments;
            let extra = call.extra.as_ref().filter(|_| !told.has_extra).cloned();
            if first || is_more || extra.is_some() {
                told.has_extra |= extra.is_some();
                let arguments = call.arguments[told.arguments..].to_owned();
                told.arguments = call.arguments.len();
                news.push(ToolCallPart {
                    place: told.place,
                    begun: first.then(|| (told.id.clone(), known_name(&call.name).to_owned())),
                    arguments,
                    extra,
                });
            }
        }
        news
    }

    /// All of them, each with an id.
    pub(super) fn take(&mut self) -> Vec<ToolCall> {
        let entries = std::mem::take(&mut self.entries).into_iter();
        entries
            .map(|Entry { mut call, told, .. }| {
                call.id = told.map_or_else(|| known_id(&call.id), |told| told.id);
                call.name = known_name(&call.name).to_owned();
                call
            })
            .filter(|call| !call.name.is_empty())
            .collect()
    }
}

/// The id of a call: one of our own, where there is none or a strange one.
fn known_id(id: &str) -> String {
    if id.is_empty() || id.len() > NAME_MAX_BYTES {
        format!("call_{}", hex::encode(random::<12>()))
    } else {
        id.to_owned()
    }
}

/// As much of a name as is kept.
fn known_name(name: &str) -> &str {
    &name[..name.floor_char_boundary(NAME_MAX_BYTES)]
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
    fn a_call_is_told_with_its_name_first_and_then_as_it_comes() {
        let mut calls = Calls::default();
        let mut told = |delta: Value| {
            for piece in CallPiece::all_of(&delta) {
                assert!(calls.add(piece));
            }
            calls.news()
        };
        let one = |call: Value| json!({ "tool_calls": [call] });
        assert!(told(one(json!({ "index": 0, "function": { "arguments": "{" } }))).is_empty());
        let first = told(one(
            json!({ "index": 0, "function": { "name": "weather", "arguments": "\"q\"" } }),
        ));
        let (id, name) = first[0].begun.clone().unwrap();
        assert_eq!(
            (name.as_str(), first[0].arguments.as_str(), first[0].place),
            ("weather", "{\"q\"", 0)
        );
        let more = told(one(
            json!({ "index": 0, "function": { "arguments": ":1}" } }),
        ));
        assert_eq!((&more[0].begun, more[0].arguments.as_str()), (&None, ":1}"));
        let second = told(one(
            json!({ "index": 1, "id": "b", "function": { "name": "news" } }),
        ));
        assert_eq!((second.len(), second[0].place), (1, 1));
        assert!(told(json!({})).is_empty());
        let all = calls.take();
        assert_eq!((all[0].id.as_str(), all[1].id.as_str()), (id.as_str(), "b"));
        assert_eq!(all[0].arguments, "{\"q\":1}");
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
        assert!((0..128).all(|index| calls.add(piece(index))));
        assert!(!calls.add(piece(128)));
        let mut few = Calls::at_most(1);
        assert!(few.add(piece(0)) && !few.add(piece(1)));
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
