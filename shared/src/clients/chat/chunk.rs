//! What comes from a provider: nothing but what is used is read, and everything may be absent, or of another type than it
//! should be.

use serde::Deserialize;
use serde_json::Value;

use super::{AskError, Logprobs, calls::CallPiece, cut, refusal};
use crate::tokens::TokenCounts;

/// Most bytes of a reason to stop that are kept.
const MAX_FINISH_BYTES: usize = 32;
/// Most dollars that an answer may cost; more is nonsense.
const MAX_COST: f64 = 1_000.0;
/// Most tokens of a question, or of an answer; more is nonsense. No model reads more than some millions, and 2,048 texts of
/// 8,192 tokens become vectors at once.
const MAX_TOKENS: f64 = 20_000_000.0;

/// One event of a stream, or a whole answer.
#[derive(Debug, Deserialize)]
pub(super) struct Chunk {
    #[serde(default)]
    choices: Value,
    #[serde(default)]
    usage: Value,
    /// Groq's own place for figures.
    #[serde(default)]
    x_groq: Value,
    #[serde(default)]
    error: Value,
}

/// What an event says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Said {
    /// More of the answer.
    pub(super) text: String,
    /// More of why it does not answer.
    pub(super) refusal: String,
    /// What the model thought meanwhile.
    pub(super) thoughts: String,
    /// How likely its words were.
    pub(super) logprobs: Option<Logprobs>,
    /// Pieces of calls of tools.
    pub(super) calls: Vec<CallPiece>,
    /// Why there is no more.
    pub(super) finish: Option<String>,
    /// What was counted.
    pub(super) usage: Option<TokenCounts>,
    /// What was charged, in millionths of a dollar.
    pub(super) cost_microusd: Option<i64>,
    /// What went wrong, and what it means for the key and the question, if it tells.
    pub(super) error: Option<(String, Option<AskError>)>,
}

impl From<Chunk> for Said {
    fn from(chunk: Chunk) -> Self {
        let mut said = Self {
            usage: told(&chunk.usage).or_else(|| told(&chunk.x_groq["usage"])),
            cost_microusd: cost(&chunk.usage),
            error: error_in(&chunk.error),
            ..Self::default()
        };
        // More than one was not asked for.
        let choices = chunk.choices.as_array().into_iter().flatten();
        for choice in choices.filter(|choice| count(&choice["index"]) == Some(0)) {
            // Moonshot's place for figures.
            said.usage = said.usage.or_else(|| told(&choice["usage"]));
            // Of a stream, or of a whole answer.
            let delta = match &choice["delta"] {
                delta @ Value::Object(_) => delta,
                _ => &choice["message"],
            };
            // Thoughts, as `DeepSeek` and others call them, or as Groq and `OpenRouter` do.
            let thoughts = ["reasoning_content", "reasoning"]
                .iter()
                .find_map(|name| delta[*name].as_str().filter(|text| !text.is_empty()));
            said.thoughts.push_str(thoughts.unwrap_or_default());
            said.text.push_str(&text_of(&delta["content"]));
            said.refusal
                .push_str(delta["refusal"].as_str().unwrap_or_default());
            said.logprobs = Logprobs::read(&choice["logprobs"]);
            said.calls.extend(CallPiece::all_of(delta));
            let finish = choice["finish_reason"].as_str();
            if let Some(finish) = finish.filter(|reason| !reason.is_empty()) {
                let mut finish = finish.replace(char::is_control, "");
                finish.truncate(finish.floor_char_boundary(MAX_FINISH_BYTES));
                said.finish = Some(finish);
            }
        }
        said
    }
}

/// A text, or the texts of a list of parts.
fn text_of(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts
            .iter()
            .filter_map(|part| part["text"].as_str())
            .collect(),
        _ => String::new(),
    }
}

/// What is counted; nothing but zeros tells nothing, and who tells nonsense has not counted.
fn told(usage: &Value) -> Option<TokenCounts> {
    let input = count(&usage["prompt_tokens"])?;
    let output = count(&usage["completion_tokens"])?;
    let cached = match &usage["prompt_tokens_details"]["cached_tokens"] {
        // `DeepSeek`'s place.
        Value::Null => &usage["prompt_cache_hit_tokens"],
        cached => cached,
    };
    let reasoning = &usage["completion_tokens_details"]["reasoning_tokens"];
    let counts = TokenCounts {
        input,
        cached: count(cached).unwrap_or_default().min(input),
        output,
        reasoning: count(reasoning).unwrap_or_default().min(output),
    };
    (counts != TokenCounts::default()).then_some(counts)
}

/// What was charged, in millionths of a dollar, rounded up: `OpenRouter` tells it in its credits, which are dollars
/// (<https://openrouter.ai/docs/use-cases/usage-accounting>, read in November 2026). Nonsense is none.
pub(super) fn cost(usage: &Value) -> Option<i64> {
    let dollars = number(&usage["cost"]).filter(|cost| (0.0..=MAX_COST).contains(cost))?;
    // What floats add to a whole number of them is no further one.
    let millionths = (dollars * 1e6 - 1e-6).ceil().max(0.0);
    #[expect(
        clippy::cast_possible_truncation,
        reason = "it is far less than what fits"
    )]
    let millionths = millionths as i64;
    Some(millionths)
}

/// A number, also in a text.
fn number(value: &Value) -> Option<f64> {
    let number = match value {
        Value::Number(number) => number.as_f64()?,
        Value::String(text) => text.trim().parse().ok()?,
        _ => return None,
    };
    number.is_finite().then_some(number)
}

/// A number of tokens: 0 where there is none, and none where it is nonsense.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "it is within what fits"
)]
pub(super) fn count(value: &Value) -> Option<u32> {
    let number = number(value).unwrap_or_default();
    (0.0..=MAX_TOKENS)
        .contains(&number)
        .then_some(number as u32)
}

/// What went wrong, and what it means for the key and the question, if it has a status.
pub(super) fn error_in(error: &Value) -> Option<(String, Option<AskError>)> {
    if error.is_null() {
        return None;
    }
    let status = ["code", "status"]
        .iter()
        .find_map(|name| status_in(&error[*name]));
    let reason = reason_in(error);
    let reason = reason.unwrap_or_else(|| "it says that something went wrong".to_owned());
    let refusal = status.and_then(|status| refusal::within(error, status, &reason));
    Some((reason, refusal))
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

/// As much of the message of an error as is worth keeping.
fn reason_in(value: &Value) -> Option<String> {
    message_in(value).map(cut)
}

/// The message of an error, wherever it is.
pub(super) fn message_in(value: &Value) -> Option<&str> {
    let error = value.get("error").unwrap_or(value);
    error
        .as_str()
        .or_else(|| error["message"].as_str())
        .or_else(|| value["detail"].as_str())
        .or_else(|| value["message"].as_str())
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
            said(r#"{"choices":[],"x_groq":{"usage":{"prompt_tokens":5,"completion_tokens":0}}}"#);
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
    fn what_has_another_type_is_as_if_it_were_absent() {
        let odd = said(
            r#"{"choices":[7,{"index":null,"delta":{"content":"Hi","reasoning":{},"reasoning_content":[],"refusal":1},
                "finish_reason":{}}],"usage":"none","x_groq":[1]}"#,
        );
        assert_eq!(odd.text, "Hi");
        assert_eq!((odd.thoughts.as_str(), odd.finish), ("", None));
        assert_eq!((odd.refusal.as_str(), odd.logprobs), ("", None));
        assert_eq!(odd.usage, None);
        let texts = said(
            r#"{"choices":{},"usage":{"prompt_tokens":"12","completion_tokens":"many","prompt_tokens_details":"x"}}"#,
        );
        let usage = TokenCounts {
            input: 12,
            ..TokenCounts::default()
        };
        assert_eq!(texts.usage, Some(usage));
        let message =
            said(r#"{"choices":[{"delta":null,"message":{"content":"a","reasoning":"b"}}]}"#);
        assert_eq!(
            (message.text.as_str(), message.thoughts.as_str()),
            ("a", "b")
        );
        assert_eq!(
            said(r#"{"choices":null,"usage":null,"x_groq":null}"#),
            Said::default()
        );
    }

    #[test]
    fn who_counts_nonsense_has_not_counted() {
        for count in ["-1", "1e300", "20000001", "\"1e9\""] {
            for name in ["prompt_tokens", "completion_tokens"] {
                let json = format!(
                    r#"{{"choices":[],"usage":{{"prompt_tokens":5,"completion_tokens":5,"{name}":{count}}}}}"#
                );
                let value: Value = serde_json::from_str(&json).unwrap();
                assert_eq!(said(&value.to_string()).usage, None, "{json}");
            }
        }
        let most = said(r#"{"choices":[],"usage":{"prompt_tokens":20000000}}"#);
        assert_eq!(most.usage.unwrap().input, 20_000_000);
        // What is told besides counts only as far as it can be true.
        let odd = said(
            r#"{"choices":[],"usage":{"prompt_tokens":5,"prompt_tokens_details":{"cached_tokens":-7}}}"#,
        );
        assert_eq!(odd.usage.unwrap().cached, 0);
    }

    #[test]
    fn what_was_charged_is_read_in_millionths() {
        for (cost, expected) in [
            ("0.95", Some(950_000)),
            ("0.000014", Some(14)),
            ("1.23e-5", Some(13)),
            ("0.00000001", Some(1)),
            ("0", Some(0)),
            ("\"0.5\"", Some(500_000)),
            ("-0.1", None),
            ("1001", None),
            ("null", None),
            ("{}", None),
        ] {
            let json = format!(r#"{{"choices":[],"usage":{{"cost":{cost}}}}}"#);
            assert_eq!(said(&json).cost_microusd, expected, "{cost}");
        }
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
        let told = "it says that something went wrong".to_owned();
        assert_eq!(late.error, Some((told, None)));
        let poor = said(r#"{"choices":[],"error":{"code":"402","message":"no credits"}}"#);
        let reason = "no credits".to_owned();
        let refusal = AskError::Key {
            status: 402,
            reason: reason.clone(),
        };
        assert_eq!(poor.error, Some((reason, Some(refusal))));
        assert_eq!(said(r#"{"error":null}"#), Said::default());
    }
}
