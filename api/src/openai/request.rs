//! A question, as it comes.

use serde_json::{Map, Value};
use shared::ids::ConversationId;

use super::{
    fault::{Fault, Result},
    parameters,
};

/// Those that may go along with a `conversation_id`: the conversation decides on all else.
const WITH_CONVERSATION: [&str; 31] = [
    "conversation_id",
    "max_completion_tokens",
    "max_tokens",
    "messages",
    "model",
    "n",
    "modalities",
    "stream",
    "stream_options",
    "temperature",
    // These change nothing there. Clients send them always, and an answer without them is one all the same.
    "frequency_penalty",
    "include_reasoning",
    "logit_bias",
    "metadata",
    "parallel_tool_calls",
    "prediction",
    "presence_penalty",
    "prompt_cache_key",
    "prompt_cache_options",
    "prompt_cache_retention",
    "reasoning_effort",
    "reasoning_format",
    "safety_identifier",
    "seed",
    "service_tier",
    "stop",
    "store",
    "top_logprobs",
    "top_p",
    "user",
    "verbosity",
];
/// Tiers at which an answer costs what the table of prices says.
const PRICED_TIERS: [&str; 2] = ["auto", "default"];

/// A question.
#[derive(Debug)]
pub(super) struct Request {
    /// Who shall answer.
    pub(super) model: Option<String>,
    /// What is said.
    pub(super) messages: Vec<Value>,
    /// All other parameters that are handed on.
    pub(super) fields: Map<String, Value>,
    /// The conversation that it is a turn of, if it is to be kept.
    pub(super) conversation: Option<ConversationId>,
    /// Whether the answer comes as a stream.
    pub(super) is_stream: bool,
    /// Whether a stream tells in the end what it took.
    pub(super) wants_usage: bool,
    /// Whether it costs what the table says.
    pub(super) is_priced: bool,
}

impl Request {
    /// Reads a body.
    ///
    /// # Errors
    /// As a parameter is wrong.
    pub(super) fn read(body: Value) -> Result<Self> {
        let Value::Object(mut fields) = body else {
            return Err(Fault::invalid("", "The body must be a JSON object.").into());
        };
        // As if they were not there.
        fields.retain(|_, value| !value.is_null());
        for (name, value) in &fields {
            parameters::check(name, value)?;
        }
        let Some(Value::Array(messages)) = fields.remove("messages") else {
            return Err(Fault::missing("messages").into());
        };
        let is = |value: Option<Value>| value == Some(Value::Bool(true));
        let conversation = conversation(fields.get("conversation_id"))?;
        if conversation.is_some() {
            let is_strange = |(name, value): &(&String, &Value)| {
                !WITH_CONVERSATION.contains(&name.as_str()) && !says_nothing(name, value)
            };
            if let Some((name, _)) = fields.iter().find(is_strange) {
                let message = format!("'{name}' cannot be used with 'conversation_id'.");
                return Err(Fault::unsupported(name, message).into());
            }
        }
        if fields.remove("n").is_some_and(|n| n != 1) {
            let message = "Only one answer can be had: 'n' must be 1.";
            return Err(Fault::unsupported("n", message).into());
        }
        if let Some(modalities) = fields.remove("modalities")
            && modalities != serde_json::json!(["text"])
        {
            let message = "Models answer in text only.";
            return Err(Fault::unsupported("modalities", message).into());
        }
        if fields.contains_key("max_tokens") && fields.contains_key("max_completion_tokens") {
            let message = "'max_tokens' and 'max_completion_tokens' cannot both be set.";
            return Err(Fault::invalid("max_tokens", message).into());
        }
        let is_stream = is(fields.remove("stream"));
        let options = fields.remove("stream_options");
        if options.is_some() && !is_stream {
            let message = "'stream_options' is only allowed when 'stream' is set.";
            return Err(Fault::invalid("stream_options", message).into());
        }
        let tier = fields.get("service_tier").and_then(Value::as_str);
        Ok(Self {
            is_priced: tier.is_none_or(|tier| PRICED_TIERS.contains(&tier)),
            model: match fields.remove("model") {
                Some(Value::String(model)) => Some(parameters::model(model)?),
                _ => None,
            },
            wants_usage: options.is_some_and(|options| options["include_usage"] == true),
            conversation,
            is_stream,
            messages,
            fields: without(fields, "conversation_id"),
        })
    }

    /// Most tokens of the answer.
    pub(super) fn max_tokens(&self) -> Option<u32> {
        let of = |name: &str| self.fields.get(name)?.as_u64();
        let most = of("max_completion_tokens").or(of("max_tokens"))?;
        Some(u32::try_from(most).unwrap_or(u32::MAX))
    }

    /// How free the answer is.
    pub(super) fn temperature(&self) -> Option<f64> {
        self.fields.get("temperature")?.as_f64()
    }
}

/// Whether a parameter wants what would be anyway.
fn says_nothing(name: &str, value: &Value) -> bool {
    match name {
        "logprobs" => value.as_bool() == Some(false),
        "response_format" => value["type"] == "text",
        _ => false,
    }
}

fn conversation(value: Option<&Value>) -> Result<Option<ConversationId>> {
    let Some(text) = value.and_then(Value::as_str) else {
        return Ok(None);
    };
    let id = text.parse().map_err(|_| {
        let message = "Invalid value for 'conversation_id': expected the UUID of a conversation.";
        Fault::invalid("conversation_id", message)
    })?;
    Ok(Some(id))
}

fn without(mut fields: Map<String, Value>, name: &str) -> Map<String, Value> {
    fields.remove(name);
    fields
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::openai::fault::Error;

    fn refused(body: Value) -> Value {
        match Request::read(body) {
            Err(Error::Fault(fault)) => fault.body()["error"].clone(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_question_is_taken_apart() {
        let request = Request::read(json!({
            "model": "gpt-4o", "messages": [{ "role": "user", "content": "Hi" }], "stream": true, "top_p": null,
            "stream_options": { "include_usage": true }, "max_completion_tokens": 9, "seed": 1, "n": 1,
            "service_tier": "flex",
        }))
        .unwrap();
        assert_eq!(request.model.as_deref(), Some("gpt-4o"));
        assert!(request.is_stream && request.wants_usage && !request.is_priced);
        assert_eq!(request.max_tokens(), Some(9));
        let names: Vec<&String> = request.fields.keys().collect();
        assert_eq!(names, ["max_completion_tokens", "seed", "service_tier"]);
    }

    #[test]
    fn what_changes_nothing_may_go_along_with_a_conversation() {
        let request = Request::read(json!({
            "messages": [{ "role": "user", "content": "Hi" }], "conversation_id": uuid::Uuid::nil(), "temperature": 1,
            "stop": ["END"], "top_p": 1, "seed": 7, "reasoning_effort": "low", "user": "ana", "frequency_penalty": 0,
            "presence_penalty": 0, "logit_bias": {}, "parallel_tool_calls": true, "service_tier": "auto",
            "verbosity": "low", "logprobs": false, "response_format": { "type": "text" },
        }));
        assert!(request.unwrap().conversation.is_some());
    }

    #[test]
    fn what_is_wrong_is_told_by_its_parameter() {
        let messages = json!([{ "role": "user", "content": "Hi" }]);
        for (name, value, code) in [
            ("frobnicate", json!(1), "unknown_parameter"),
            ("n", json!(2), "unsupported_value"),
            ("modalities", json!(["audio"]), "unsupported_value"),
            ("stream_options", json!({}), "invalid_value"),
            ("conversation_id", json!("x"), "invalid_value"),
            ("messages", json!("Hi"), "invalid_value"),
        ] {
            let mut body = json!({ "model": "gpt-4o", "messages": messages });
            body[name] = value;
            let error = refused(body);
            assert_eq!(
                (&error["param"], &error["code"]),
                (&json!(name), &json!(code))
            );
        }
        for (name, value) in [
            ("response_format", json!({ "type": "json_object" })),
            ("tools", json!([])),
            ("tool_choice", json!("none")),
            ("logprobs", json!(true)),
        ] {
            let mut body = json!({ "messages": messages, "conversation_id": uuid::Uuid::nil() });
            body[name] = value;
            assert_eq!(refused(body)["param"], name);
        }
        assert_eq!(
            refused(json!({ "model": "x" }))["code"],
            "missing_required_parameter"
        );
        assert_eq!(refused(json!([]))["type"], "invalid_request_error");
    }
}
