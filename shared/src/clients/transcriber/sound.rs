//! A sound that somebody wants to be written down just so.

use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

/// Longest sound that is believed, in seconds: a day. One of 25 MB has ten hours in the poorest quality.
const LONGEST_SECONDS: f64 = 86_400.0;

/// A sound, and how it is to be heard.
#[derive(Debug, Clone, Copy)]
pub struct Sound<'a> {
    /// The file, of at most 25 MB. Servers go by the ending of its name.
    pub file: &'a Path,
    /// Its type.
    pub media_type: &'a str,
    /// About how long it is, for the ledger: a server that tells knows better.
    pub seconds: f64,
    /// What is spoken, as an ISO 639-1 code, if that is known.
    pub language: Option<&'a str>,
    /// Words that may come, or what was said before.
    pub prompt: Option<&'a str>,
    /// How free the server is, 0 to 1.
    pub temperature: Option<f64>,
    /// Whether the times of single words are wanted.
    pub words: bool,
}

/// What a server wrote down, in its own words.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub struct Transcribed {
    /// All that was said.
    pub text: String,
    /// What it was said in: a name, or a code.
    #[serde(default)]
    pub language: Option<String>,
    /// Length of the sound in seconds, as a number or as a text.
    #[serde(default)]
    duration: Value,
    /// What the server is paid by, in its own words.
    #[serde(default)]
    pub usage: Value,
    /// Segments, as the server wrote them.
    #[serde(default)]
    pub segments: Option<Vec<Value>>,
    /// Words, as the server wrote them.
    #[serde(default)]
    pub words: Option<Vec<Value>>,
}

impl Transcribed {
    /// Length of the sound, if the server tells one that can be.
    pub fn seconds(&self) -> Option<f64> {
        let seconds = match &self.duration {
            Value::Number(number) => number.as_f64()?,
            Value::String(text) => text.trim().parse().ok()?,
            _ => return None,
        };
        (0.0..=LONGEST_SECONDS)
            .contains(&seconds)
            .then_some(seconds)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_length_is_read_whatever_its_form() {
        for (duration, seconds) in [
            (json!(2.5), Some(2.5)),
            (json!("8.47"), Some(8.47)),
            (json!(-1), None),
            (json!(86_400), Some(86_400.0)),
            (json!(86_401), None),
            (json!(1e300), None),
            (json!("inf"), None),
            (json!("NaN"), None),
            (json!("long"), None),
            (Value::Null, None),
        ] {
            let answer = json!({ "text": "Hi", "duration": duration });
            let read: Transcribed = serde_json::from_value(answer).unwrap();
            assert_eq!(read.seconds(), seconds);
        }
        let plain: Transcribed = serde_json::from_value(json!({ "text": "Hi" })).unwrap();
        assert_eq!((plain.seconds(), plain.segments), (None, None));
    }
}
