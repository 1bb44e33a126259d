//! Messages of a question, as one provider wants them.
//!
//! Clients send back what was answered to them as it came, with all that was in it, so what a provider does not take is left
//! out. There may be pictures in messages, so what stays as it is is not copied.

use std::borrow::Cow;

use serde::{Serialize, Serializer};
use serde_json::{Map, Value, json};

use crate::catalogue::{Extra, Quirks};

/// What the SDKs' own helpers add to answers that they read.
const OF_HELPERS: [&str; 2] = ["parsed", "parsed_arguments"];
/// What a model thought before it answered, or asked for calls.
const THOUGHTS: &str = "reasoning_content";

/// A value, of which something may be left out.
pub(super) enum Shown<'a> {
    /// As it came, or worded otherwise.
    Whole(Cow<'a, Value>),
    List(Vec<Self>),
    Fields(Vec<(&'a str, Self)>),
}

impl<'a> Shown<'a> {
    /// Worded otherwise.
    pub(super) fn own(value: Value) -> Self {
        Self::Whole(Cow::Owned(value))
    }

    /// As it came.
    pub(super) fn same(value: &'a Value) -> Self {
        Self::Whole(Cow::Borrowed(value))
    }
}

impl Serialize for Shown<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Whole(value) => value.serialize(serializer),
            Self::List(values) => serializer.collect_seq(values),
            Self::Fields(fields) => {
                serializer.collect_map(fields.iter().map(|(name, value)| (name, value)))
            }
        }
    }
}

/// All messages of a question.
pub(super) fn messages<'a>(value: &'a Value, quirks: &Quirks) -> Shown<'a> {
    match value {
        Value::Array(all) => Shown::List(all.iter().map(|one| message(one, quirks)).collect()),
        other => Shown::same(other),
    }
}

fn message<'a>(value: &'a Value, quirks: &Quirks) -> Shown<'a> {
    let Value::Object(fields) = value else {
        return Shown::same(value);
    };
    // Where why it was not answered has no place of its own, it is what was said.
    let refusal = fields
        .get("refusal")
        .filter(|refusal| refusal.is_string() && quirks.strips_of_messages("refusal"))
        .filter(|_| fields.get("content").is_none_or(Value::is_null));
    let is_thoughtless = is_thoughtless(fields, quirks);
    let mut kept = Vec::with_capacity(fields.len());
    if let Some(refusal) = refusal {
        kept.push(("content", Shown::same(refusal)));
    }
    if is_thoughtless {
        kept.push((THOUGHTS, Shown::own(json!(""))));
    }
    for (name, value) in fields {
        let name = name.as_str();
        let is_out = match name {
            "content" => refusal.is_some(),
            THOUGHTS if is_thoughtless => true,
            _ => is_for_nobody(name, value) || quirks.strips_of_messages(name),
        };
        if is_out {
            continue;
        }
        let shown = match (name, value) {
            ("role", role) if role == "developer" && !quirks.takes(Extra::DeveloperRole) => {
                Shown::own(json!("system"))
            }
            ("tool_calls", Value::Array(calls)) => {
                Shown::List(calls.iter().map(|one| call(one, quirks)).collect())
            }
            (_, value) => Shown::same(value),
        };
        kept.push((name, shown));
    }
    Shown::Fields(kept)
}

/// Whether it has calls without what the model thought before them, where that must be there: its client may know nothing of
/// it.
fn is_thoughtless(fields: &Map<String, Value>, quirks: &Quirks) -> bool {
    let calls = fields.get("tool_calls").and_then(Value::as_array);
    quirks.takes(Extra::Thoughts)
        && calls.is_some_and(|calls| !calls.is_empty())
        && fields
            .get(THOUGHTS)
            .is_none_or(|thoughts| !thoughts.is_string())
}

/// A call that the model has asked for.
fn call<'a>(value: &'a Value, quirks: &Quirks) -> Shown<'a> {
    let Value::Object(fields) = value else {
        return Shown::same(value);
    };
    let kept = fields.iter().filter(|(name, value)| {
        !is_for_nobody(name, value) && !quirks.strips_of_messages(&format!("tool_calls.{name}"))
    });
    let shown = kept.map(|(name, value)| match name.as_str() {
        "function" => ("function", function(value)),
        name => (name, Shown::same(value)),
    });
    Shown::Fields(shown.collect())
}

fn function(value: &Value) -> Shown<'_> {
    let Value::Object(fields) = value else {
        return Shown::same(value);
    };
    let kept = fields
        .iter()
        .filter(|(name, value)| !is_for_nobody(name, value));
    let shown = kept.map(|(name, value)| (name.as_str(), Shown::same(value)));
    Shown::Fields(shown.collect())
}

/// Gemini refuses null wherever there need not be anything.
fn is_for_nobody(name: &str, value: &Value) -> bool {
    value.is_null() || OF_HELPERS.contains(&name)
}
