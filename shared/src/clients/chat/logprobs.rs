//! How likely the words of an answer were.

use serde::Serialize;
use serde_json::{
    Value,
    value::{RawValue, to_raw_value},
};

/// What it takes to keep the entry of a token, besides its text.
const ENTRY_BYTES: usize = 48;

/// How likely words were: the entry of each token, as it is in JSON. In any other form one with twenty other tokens beside it
/// takes ten times as much.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Logprobs {
    /// Of the answer, if there is such a list.
    content: Option<Vec<Box<RawValue>>>,
    /// Of why there is none.
    refusal: Option<Vec<Box<RawValue>>>,
}

impl Logprobs {
    /// Reads what a provider says; none where that is no such thing.
    pub fn read(value: &Value) -> Option<Self> {
        let list = |name: &str| -> Option<Vec<Box<RawValue>>> {
            let entries = value[name].as_array()?.iter();
            entries.map(|entry| to_raw_value(entry).ok()).collect()
        };
        let (content, refusal) = (list("content"), list("refusal"));
        (content.is_some() || refusal.is_some()).then_some(Self { content, refusal })
    }

    /// Adds those of the words that follow.
    pub fn add(&mut self, more: Self) {
        let lists = [
            (&mut self.content, more.content),
            (&mut self.refusal, more.refusal),
        ];
        for (known, more) in lists {
            if let Some(more) = more {
                known.get_or_insert_default().extend(more);
            }
        }
    }

    /// About how many bytes they take, kept or written.
    pub fn bytes(&self) -> usize {
        let lists = [&self.content, &self.refusal].into_iter().flatten();
        let entries = lists.flatten();
        entries.map(|entry| ENTRY_BYTES + entry.get().len()).sum()
    }

    fn texts(&self) -> [Option<Vec<&str>>; 2] {
        [&self.content, &self.refusal].map(|list| {
            let entries = list.as_ref()?.iter();
            Some(entries.map(|entry| entry.get()).collect())
        })
    }
}

impl PartialEq for Logprobs {
    fn eq(&self, other: &Self) -> bool {
        self.texts() == other.texts()
    }
}

impl Eq for Logprobs {}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn they_are_written_as_they_came_one_after_the_other() {
        let mut all =
            Logprobs::read(&json!({ "content": [{ "token": "a" }], "refusal": null })).unwrap();
        all.add(Logprobs::read(&json!({ "content": [{ "token": "b" }, 7] })).unwrap());
        let written = serde_json::to_value(&all).unwrap();
        let content = json!([{ "token": "a" }, { "token": "b" }, 7]);
        assert_eq!(written, json!({ "content": content, "refusal": null }));
        all.add(Logprobs::read(&json!({ "refusal": [] })).unwrap());
        let written = serde_json::to_string(&all).unwrap();
        assert_eq!(
            written,
            r#"{"content":[{"token":"a"},{"token":"b"},7],"refusal":[]}"#
        );
        assert_eq!(all.bytes(), 3 * ENTRY_BYTES + 13 + 13 + 1);
    }

    #[test]
    fn what_is_no_list_is_none() {
        for value in [
            Value::Null,
            json!("x"),
            json!({}),
            json!({ "content": { "token": "a" }, "refusal": 7 }),
        ] {
            assert_eq!(Logprobs::read(&value), None, "{value}");
        }
    }
}
