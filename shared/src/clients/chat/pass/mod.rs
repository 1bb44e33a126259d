//! Questions in `OpenAI`'s own words, which are handed on as they came.
//!
//! Only what a provider calls otherwise is called otherwise, and what it does not take is left out (see [`Quirks`]). An
//! answer is asked for as a stream, whatever its client wants. Source: `OpenAI`'s reference of `POST /chat/completions` and
//! what the providers say of theirs, read in November 2026.

mod messages;

use std::borrow::Cow;

use secrecy::SecretString;
use serde::{Serialize, Serializer};
use serde_json::{Map, Value, json};

use self::messages::{Shown, messages};
use super::{Answer, AskError, Models};
use crate::{catalogue::Quirks, config::ProviderConfig};

/// Most tokens of an answer, by its two names.
const MAX_TOKENS: &str = "max_tokens";
const MAX_COMPLETION_TOKENS: &str = "max_completion_tokens";
/// What is said here, whatever its client says: one answer, as a stream, with figures.
const OURS: [&str; 4] = ["model", "n", "stream", "stream_options"];

/// A question in `OpenAI`'s own words.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Passed {
    /// The model, as the provider names it.
    pub model: String,
    /// All other parameters, checked by whoever passes them on.
    pub fields: Map<String, Value>,
}

impl Models {
    /// Asks a provider with one of its keys, like [`Models::ask`].
    ///
    /// # Errors
    /// See [`AskError`].
    pub async fn pass(
        &self,
        provider: &ProviderConfig,
        key: &SecretString,
        passed: &Passed,
    ) -> Result<Answer, AskError> {
        let quirks = &provider.quirks;
        let body = Body { passed, quirks };
        let response = self.post(provider, key, "chat/completions", &body).await?;
        Ok(Answer::read(response, self.silence))
    }
}

/// A question, as one provider wants it.
struct Body<'a> {
    passed: &'a Passed,
    quirks: &'a Quirks,
}

impl<'a> Body<'a> {
    /// The parameters; a question may be large, so what stays as it is is not copied.
    fn fields(&self) -> Vec<(&'a str, Shown<'a>)> {
        let (passed, quirks) = (self.passed, self.quirks);
        let mut fields = vec![
            ("model", Shown::own(json!(passed.model))),
            ("stream", Shown::own(json!(true))),
        ];
        if quirks.stream_options {
            let options = json!({ "include_usage": true });
            fields.push(("stream_options", Shown::own(options)));
        }
        for (name, value) in &passed.fields {
            let name = name.as_str();
            if OURS.contains(&name) || quirks.strips(name) {
                continue;
            }
            fields.push(match name {
                MAX_TOKENS | MAX_COMPLETION_TOKENS => {
                    let name = if quirks.max_completion_tokens {
                        MAX_COMPLETION_TOKENS
                    } else {
                        MAX_TOKENS
                    };
                    (name, Shown::same(value))
                }
                "temperature" => (name, Shown::Whole(temperature(value, quirks))),
                "messages" => (name, messages(value, quirks)),
                _ => (name, Shown::same(value)),
            });
        }
        fields
    }
}

impl Serialize for Body<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.fields())
    }
}

fn temperature<'a>(value: &'a Value, quirks: &Quirks) -> Cow<'a, Value> {
    match value.as_f64() {
        Some(number) if number > quirks.max_temperature => {
            Cow::Owned(json!(quirks.max_temperature))
        }
        _ => Cow::Borrowed(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::Catalogue;

    fn body(provider: &str, fields: Value) -> Value {
        let Value::Object(fields) = fields else {
            panic!("an object");
        };
        let passed = Passed {
            model: "theirs".to_owned(),
            fields,
        };
        let catalogue = Catalogue::built_in();
        let quirks = &catalogue.provider(provider).unwrap().quirks;
        let passed = &passed;
        serde_json::to_value(Body { passed, quirks }).unwrap()
    }

    #[test]
    fn what_a_provider_takes_is_handed_on_as_it_came() {
        let fields = json!({
            "model": "ours", "n": 1, "stream": false, "stream_options": { "include_usage": false },
            "messages": [{ "role": "developer", "name": "Ana", "content": [{ "type": "text", "text": "Hi" }] }],
            "max_tokens": 5, "temperature": 2, "logit_bias": { "1": -100 }, "logprobs": true, "top_logprobs": 2,
            "response_format": { "type": "json_object" }, "reasoning_effort": "low", "tools": [{ "type": "function" }],
        });
        let openai = body("openai", fields.clone());
        assert_eq!(openai["model"], "theirs");
        assert_eq!(openai["stream"], true);
        assert_eq!(openai["stream_options"]["include_usage"], true);
        assert_eq!(openai["max_completion_tokens"], 5);
        assert!(openai.get("max_tokens").is_none() && openai.get("n").is_none());
        for name in [
            "messages",
            "logit_bias",
            "logprobs",
            "top_logprobs",
            "response_format",
            "reasoning_effort",
            "tools",
        ] {
            assert_eq!(openai[name], fields[name], "{name}");
        }
        let groq = body("groq", fields.clone());
        for name in ["logit_bias", "logprobs", "top_logprobs"] {
            assert!(groq.get(name).is_none(), "{name}");
        }
        assert_eq!(
            groq["messages"],
            json!([{ "role": "system", "content": [{ "type": "text", "text": "Hi" }] }])
        );
        let openrouter = body("openrouter", fields);
        assert!(openrouter.get("stream_options").is_none());
        assert_eq!(openrouter["max_tokens"], 5);
        assert_eq!(
            (
                &openrouter["messages"][0]["role"],
                &openrouter["messages"][0]["name"]
            ),
            (&json!("system"), &json!("Ana"))
        );
    }

    #[test]
    fn an_answer_that_is_sent_back_is_put_as_each_provider_takes_it() {
        let question = json!({ "role": "user", "content": "How is it?" });
        let (seal, result) = (
            json!({ "google": { "thought_signature": "sealed" } }),
            json!({ "role": "tool", "tool_call_id": "a", "content": "hot" }),
        );
        let answer = json!({
            "role": "assistant", "content": null, "refusal": null, "audio": null, "function_call": null, "annotations": [],
            "parsed": null, "reasoning_content": "Hm.",
            "tool_calls": [{ "id": "a", "type": "function", "extra_content": seal, "index": null,
                             "function": { "name": "look", "arguments": "{}", "parsed_arguments": { "a": 1 } } }],
        });
        let call = json!({ "id": "a", "type": "function", "function": { "name": "look", "arguments": "{}" } });
        let mut sealed = call.clone();
        sealed["extra_content"] = seal;
        for (provider, more, call) in [
            ("groq", json!({}), &call),
            ("gemini", json!({}), &sealed),
            ("openai", json!({ "annotations": [] }), &call),
            ("deepseek", json!({ "reasoning_content": "Hm." }), &call),
        ] {
            let mut expected =
                json!({ "role": "assistant", "content": null, "tool_calls": [call] });
            let fields = expected.as_object_mut().unwrap();
            fields.extend(more.as_object().unwrap().clone());
            let asked = body(provider, json!({ "messages": [question, answer, result] }));
            assert_eq!(
                asked["messages"],
                json!([question, expected, result]),
                "{provider}"
            );
        }
    }

    #[test]
    fn a_refusal_is_what_was_said_where_it_has_no_place_of_its_own() {
        let refused = json!({ "role": "assistant", "content": null, "refusal": "I cannot." });
        let said = |provider: &str| {
            let asked = body(provider, json!({ "messages": [refused] }));
            asked["messages"][0].clone()
        };
        assert_eq!(said("openai"), refused);
        let plain = json!({ "role": "assistant", "content": "I cannot." });
        assert_eq!(said("groq"), plain);
        assert_eq!(said("gemini"), plain);
    }

    #[test]
    fn calls_have_thoughts_where_they_must() {
        let call = json!({ "id": "a", "type": "function", "function": { "name": "look", "arguments": "{}" } });
        let answer = |thoughts: Value| json!({ "role": "assistant", "content": null, "reasoning_content": thoughts, "tool_calls": [call] });
        let thoughtless = json!({ "role": "assistant", "content": null, "tool_calls": [call] });
        let plain = json!({ "role": "assistant", "content": "Hi" });
        let none = json!({ "role": "assistant", "content": "Hi", "tool_calls": [] });
        let fields = json!({ "messages": [
            thoughtless, answer(json!("Look.")), answer(Value::Null), answer(json!(7)), plain, none,
        ] });
        let asked = body("deepseek", fields.clone());
        assert_eq!(
            asked["messages"],
            json!([
                answer(json!("")),
                answer(json!("Look.")),
                answer(json!("")),
                answer(json!("")),
                plain,
                none
            ])
        );
        let asked = body("openai", fields);
        assert_eq!(
            asked["messages"],
            json!([
                thoughtless,
                thoughtless,
                thoughtless,
                thoughtless,
                plain,
                none
            ])
        );
    }

    #[test]
    fn a_temperature_is_no_higher_than_a_provider_takes() {
        let value = json!(1.5);
        let quirks = Quirks {
            max_temperature: 1.0,
            ..Quirks::default()
        };
        assert_eq!(*temperature(&value, &quirks), json!(1.0));
        assert_eq!(*temperature(&value, &Quirks::default()), value);
        let null = Value::Null;
        assert_eq!(*temperature(&null, &quirks), null);
    }
}
