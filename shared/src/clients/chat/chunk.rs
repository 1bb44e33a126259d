//! What comes from a provider: nothing but what is used is read, and everything may be absent.

use serde::Deserialize;
use serde_json::Value;

use super::cut;
use crate::tokens::TokenCounts;

/// Most bytes of a reason to stop that are kept.
const MAX_FINISH_BYTES: usize = 32;

/// One event of a stream, or a whole answer.
#[derive(Debug, Deserialize)]
pub(super) struct Chunk {
    #[serde(default)]
    choices: Option<Vec<Choice>>,
    #[serde(default)]
    usage: Option<Counts>,
    #[serde(default)]
    x_groq: Option<Groq>,
    #[serde(default)]
    error: Option<Value>,
}

#[derive(Debug, Deserialize)]
struct Choice {
    #[serde(default)]
    index: u32,
    #[serde(default)]
    delta: Option<Delta>,
    /// Of a whole answer.
    #[serde(default)]
    message: Option<Delta>,
    /// Moonshot's place for figures.
    #[serde(default)]
    usage: Option<Counts>,
    #[serde(default)]
    finish_reason: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Delta {
    #[serde(default)]
    content: Option<Value>,
    #[serde(default)]
    refusal: Option<String>,
    /// Thoughts, as `DeepSeek` and others call them.
    #[serde(default)]
    reasoning_content: Option<String>,
    /// Thoughts, as Groq and `OpenRouter` call them.
    #[serde(default)]
    reasoning: Option<String>,
}

/// Groq's own place for figures.
#[derive(Debug, Deserialize)]
struct Groq {
    #[serde(default)]
    usage: Option<Counts>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
struct Counts {
    #[serde(default)]
    prompt_tokens: Option<f64>,
    #[serde(default)]
    completion_tokens: Option<f64>,
    #[serde(default)]
    prompt_tokens_details: Option<InputDetails>,
    #[serde(default)]
    completion_tokens_details: Option<OutputDetails>,
    /// `DeepSeek`'s.
    #[serde(default)]
    prompt_cache_hit_tokens: Option<f64>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
struct InputDetails {
    #[serde(default)]
    cached_tokens: Option<f64>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
struct OutputDetails {
    #[serde(default)]
    reasoning_tokens: Option<f64>,
}

/// What an event says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Said {
    /// More of the answer.
    pub(super) text: String,
    /// What the model thought meanwhile.
    pub(super) thoughts: String,
    /// Why there is no more.
    pub(super) finish: Option<String>,
    /// What was counted.
    pub(super) usage: Option<TokenCounts>,
    /// What went wrong, and its status, if it has one.
    pub(super) error: Option<(String, Option<u16>)>,
}

impl From<Chunk> for Said {
    fn from(chunk: Chunk) -> Self {
        let mut said = Self {
            usage: chunk
                .usage
                .or(chunk.x_groq.and_then(|groq| groq.usage))
                .and_then(Counts::told),
            error: chunk.error.filter(|error| !error.is_null()).map(|error| {
                let reason = reason_in(&error);
                let code = ["code", "status"]
                    .iter()
                    .find_map(|name| status_in(&error[*name]));
                (
                    reason.unwrap_or_else(|| "it says that something went wrong".to_owned()),
                    code,
                )
            }),
            ..Self::default()
        };
        // More than one was not asked for.
        let choices = chunk.choices.into_iter().flatten();
        for choice in choices.filter(|choice| choice.index == 0) {
            said.usage = said.usage.or(choice.usage.and_then(Counts::told));
            if let Some(delta) = choice.delta.or(choice.message) {
                let thoughts = delta.reasoning_content.or(delta.reasoning);
                said.thoughts.push_str(&thoughts.unwrap_or_default());
                said.text.push_str(&text_of(delta.content.as_ref()));
                said.text.push_str(&delta.refusal.unwrap_or_default());
            }
            if let Some(mut reason) = choice.finish_reason.filter(|reason| !reason.is_empty()) {
                reason.retain(|c| !c.is_control());
                reason.truncate(reason.floor_char_boundary(MAX_FINISH_BYTES));
                said.finish = Some(reason);
            }
        }
        said
    }
}

/// A text, or the texts of a list of parts.
fn text_of(content: Option<&Value>) -> String {
    match content {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(parts)) => parts
            .iter()
            .filter_map(|part| part["text"].as_str())
            .collect(),
        _ => String::new(),
    }
}

impl Counts {
    /// Nothing but zeros tells nothing.
    fn told(self) -> Option<TokenCounts> {
        let counts = TokenCounts::from(self);
        (counts != TokenCounts::default()).then_some(counts)
    }
}

impl From<Counts> for TokenCounts {
    fn from(counts: Counts) -> Self {
        let (input, output) = (count(counts.prompt_tokens), count(counts.completion_tokens));
        let cached = counts
            .prompt_tokens_details
            .and_then(|details| details.cached_tokens)
            .or(counts.prompt_cache_hit_tokens);
        let reasoning = counts
            .completion_tokens_details
            .and_then(|details| details.reasoning_tokens);
        Self {
            input,
            cached: count(cached).min(input),
            output,
            reasoning: count(reasoning).min(output),
        }
    }
}

/// A number of tokens; nonsense is none.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a float is cut to what fits"
)]
fn count(number: Option<f64>) -> u32 {
    number.unwrap_or_default() as u32
}

/// A status of HTTP, as a number or in a text.
fn status_in(value: &Value) -> Option<u16> {
    let number = match value {
        Value::Number(number) => number.as_u64()?,
        Value::String(text) => text.parse().ok()?,
        _ => return None,
    };
    u16::try_from(number)
        .ok()
        .filter(|code| (400..600).contains(code))
}

/// What a body that is no success says, as far as it says something.
pub(super) fn reason_of(body: &[u8]) -> Option<String> {
    match serde_json::from_slice::<Value>(body) {
        // Gemini puts its errors into a list.
        Ok(Value::Array(errors)) => errors.first().and_then(reason_in),
        Ok(value) => reason_in(&value),
        Err(_) => {
            let text = String::from_utf8_lossy(body);
            let text = text.trim();
            // A page for people says nothing to us.
            (!text.is_empty() && !text.starts_with('<')).then(|| cut(text))
        }
    }
}

/// The code of an error, where it is a word.
pub(super) fn code_of(body: &[u8]) -> Option<String> {
    let body: Value = serde_json::from_slice(body).ok()?;
    let error = body.get(0).unwrap_or(&body).get("error")?;
    Some(
        error["code"]
            .as_str()
            .or(error["type"].as_str())?
            .to_owned(),
    )
}

/// The message of an error, wherever it is.
fn reason_in(value: &Value) -> Option<String> {
    let error = value.get("error").unwrap_or(value);
    let message = error
        .as_str()
        .or_else(|| error["message"].as_str())
        .or_else(|| value["detail"].as_str())
        .or_else(|| value["message"].as_str())?;
    Some(cut(message))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(json: &str) -> Said {
        serde_json::from_str::<Chunk>(json).unwrap().into()
    }

    #[test]
    fn texts_finishes_and_figures_are_read_wherever_they_are() {
        let first = said(r#"{"choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}"#);
        assert_eq!(first, Said::default());
        let more =
            said(r#"{"choices":[{"delta":{"content":"Hi"},"finish_reason":null}],"usage":null}"#);
        assert_eq!(more.text, "Hi");
        let whole = said(
            r#"{"choices":[{"message":{"content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]},
                "finish_reason":"stop"}],"usage":{"prompt_tokens":9,"completion_tokens":2,
                "prompt_tokens_details":{"cached_tokens":4},"completion_tokens_details":{"reasoning_tokens":7}}}"#,
        );
        assert_eq!(
            (whole.text.as_str(), whole.finish.as_deref()),
            ("ab", Some("stop"))
        );
        let usage = TokenCounts {
            input: 9,
            cached: 4,
            output: 2,
            reasoning: 2,
        };
        assert_eq!(whole.usage, Some(usage));
        let groq =
            said(r#"{"choices":[],"x_groq":{"usage":{"prompt_tokens":5,"completion_tokens":-1}}}"#);
        assert_eq!(
            groq.usage,
            Some(TokenCounts {
                input: 5,
                ..TokenCounts::default()
            })
        );
        let deepseek =
            said(r#"{"choices":[],"usage":{"prompt_tokens":5,"prompt_cache_hit_tokens":3}}"#);
        assert_eq!(deepseek.usage.unwrap().cached, 3);
    }

    #[test]
    fn errors_say_why() {
        for (body, reason) in [
            (
                r#"{"error":{"message":"no money","code":402}}"#,
                Some("no money"),
            ),
            (r#"{"error":"busy"}"#, Some("busy")),
            (r#"[{"error":{"message":"quota"}}]"#, Some("quota")),
            (r#"{"detail":"gone"}"#, Some("gone")),
            ("plain\nwords", Some("plain words")),
            ("<html>", None),
            ("", None),
            ("{}", None),
        ] {
            assert_eq!(reason_of(body.as_bytes()).as_deref(), reason, "{body}");
        }
        let late = said(r#"{"choices":[],"error":{"code":502}}"#);
        let told = ("it says that something went wrong".to_owned(), Some(502));
        assert_eq!(late.error, Some(told));
        assert_eq!(said(r#"{"error":null}"#), Said::default());
    }
}
