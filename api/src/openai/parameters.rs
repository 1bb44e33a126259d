//! Parameters of questions: those that `OpenAI` knows, and what they may be.
//!
//! What a provider makes of them is its own affair: only what is surely wrong is refused here, so that who asks hears of it
//! at once and in `OpenAI`'s words.

use serde_json::Value;
use shared::catalogue::ID_MAX;

use super::fault::{Fault, Result};

/// What a parameter may be.
#[derive(Debug, Clone, Copy)]
pub(super) enum Shape {
    Text,
    Switch,
    /// From, to.
    Number(f64, f64),
    /// From, to.
    Whole(i64, i64),
    List,
    Object,
    /// A word, or an object.
    Choice,
    /// A text, or up to four of them.
    Texts,
}

use Shape::{Choice, List, Number, Object, Switch, Text, Texts, Whole};

/// Most tokens of an answer that one may want.
const TOKENS: Shape = Whole(1, 1 << 31);
const PENALTY: Shape = Number(-2.0, 2.0);

/// All that are handed on. Source: `OpenAI`'s reference of `POST /chat/completions`, read in November 2026.
const KNOWN: [(&str, Shape); 36] = [
    ("conversation_id", Text),
    ("frequency_penalty", PENALTY),
    ("logit_bias", Object),
    ("logprobs", Switch),
    ("max_completion_tokens", TOKENS),
    ("max_tokens", TOKENS),
    ("messages", List),
    ("metadata", Object),
    ("modalities", List),
    ("model", Text),
    ("moderation", Object),
    ("n", Whole(1, 128)),
    ("parallel_tool_calls", Switch),
    ("prediction", Object),
    ("presence_penalty", PENALTY),
    ("prompt_cache_key", Text),
    ("prompt_cache_options", Object),
    ("prompt_cache_retention", Text),
    ("reasoning_effort", Text),
    ("response_format", Object),
    ("safety_identifier", Text),
    ("seed", Whole(i64::MIN, i64::MAX)),
    ("service_tier", Text),
    ("stop", Texts),
    ("store", Switch),
    ("stream", Switch),
    ("stream_options", Object),
    ("temperature", Number(0.0, 2.0)),
    ("tool_choice", Choice),
    ("tools", List),
    ("top_logprobs", Whole(0, 20)),
    ("top_p", Number(0.0, 1.0)),
    ("user", Text),
    ("verbosity", Text),
    // For models that reason, by what Groq and others call it.
    ("reasoning_format", Text),
    ("include_reasoning", Switch),
];

/// Those that `OpenAI` knows and nobody has here, and what would do instead.
const UNSUPPORTED: [(&str, &str); 4] = [
    ("audio", "answers in sounds are not supported"),
    (
        "web_search_options",
        "searching the web by the model is not supported; offer it a tool",
    ),
    ("functions", "is not supported any more; use 'tools'"),
    (
        "function_call",
        "is not supported any more; use 'tool_choice'",
    ),
];

/// Checks a parameter.
///
/// # Errors
/// As it is wrong, or not there at all.
pub(super) fn check(name: &str, value: &Value) -> Result<()> {
    if let Some((_, why)) = UNSUPPORTED.iter().find(|(known, _)| *known == name) {
        return Err(Fault::unsupported(name, format!("'{name}' {why}.")).into());
    }
    let Some((_, shape)) = KNOWN.iter().find(|(known, _)| *known == name) else {
        return Err(Fault::unknown(name).into());
    };
    if let ("tools", Value::Array(tools)) = (name, value) {
        return check_tools(tools);
    }
    let wanted = match shape {
        Text if !value.is_string() => "a string".to_owned(),
        Switch if !value.is_boolean() => "a boolean".to_owned(),
        List if !value.is_array() => "an array".to_owned(),
        Object if !value.is_object() => "an object".to_owned(),
        Choice if !value.is_string() && !value.is_object() => "a string or an object".to_owned(),
        Texts if !are_texts(value) => "a string or an array of up to 4 strings".to_owned(),
        Number(from, to) if !value.as_f64().is_some_and(|it| (*from..=*to).contains(&it)) => {
            format!("a number between {from} and {to}")
        }
        Whole(from, to) if !value.as_i64().is_some_and(|it| (*from..=*to).contains(&it)) => {
            if *from == i64::MIN {
                "an integer".to_owned()
            } else {
                format!("an integer between {from} and {to}")
            }
        }
        _ => return Ok(()),
    };
    let message = format!("Invalid value for '{name}': expected {wanted}.");
    Err(Fault::invalid(name, message).into())
}

/// Functions, and nothing else: calls of other tools would be lost.
fn check_tools(tools: &[Value]) -> Result<()> {
    for (index, tool) in tools.iter().enumerate() {
        let param = format!("tools[{index}].type");
        match tool["type"].as_str() {
            Some("function") => {}
            Some(_) => {
                let message = "Only tools of the type 'function' are supported.";
                return Err(Fault::unsupported(param, message).into());
            }
            None => return Err(Fault::missing(param).into()),
        }
    }
    Ok(())
}

/// The name of a model, which may not be longer than any that is known.
pub(super) fn model(name: String) -> Result<String> {
    if name.chars().nth(ID_MAX).is_some() {
        let message = format!("Invalid value for 'model': expected at most {ID_MAX} characters.");
        return Err(Fault::invalid("model", message).into());
    }
    Ok(name)
}

fn are_texts(value: &Value) -> bool {
    match value {
        Value::String(_) => true,
        Value::Array(texts) => texts.len() <= 4 && texts.iter().all(Value::is_string),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_openai_takes_is_taken_and_nothing_else() {
        for (name, value, is_good) in [
            ("temperature", json!(2), true),
            ("temperature", json!(2.1), false),
            ("temperature", json!("hot"), false),
            ("max_tokens", json!(0), false),
            ("max_tokens", json!(1.5), false),
            ("max_completion_tokens", json!(64), true),
            ("stop", json!(["a", "b"]), true),
            ("stop", json!(["a", "b", "c", "d", "e"]), false),
            ("stop", json!("a"), true),
            ("seed", json!(-7), true),
            ("tool_choice", json!("auto"), true),
            ("tool_choice", json!({ "type": "function" }), true),
            ("tool_choice", json!(1), false),
            ("logit_bias", json!([]), false),
            ("moderation", json!({ "model": "m" }), true),
            ("moderation", json!("m"), false),
            ("prompt_cache_options", json!({ "ttl": "30m" }), true),
            ("prompt_cache_options", json!(30), false),
            ("stream", json!("yes"), false),
            ("tools", json!([]), true),
            ("tools", json!([{ "type": "function" }]), true),
            (
                "tools",
                json!([{ "type": "function" }, { "type": "custom" }]),
                false,
            ),
            ("tools", json!([{ "name": "look" }]), false),
            ("tools", json!([7]), false),
            ("tools", json!({}), false),
            ("functions", json!([]), false),
            ("frobnicate", json!(1), false),
        ] {
            assert_eq!(check(name, &value).is_ok(), is_good, "{name}: {value}");
        }
    }

    #[test]
    fn names_of_models_are_as_long_as_those_that_are_known() {
        assert!(model("م".repeat(ID_MAX)).is_ok());
        assert!(model("x".repeat(ID_MAX + 1)).is_err());
    }
}
