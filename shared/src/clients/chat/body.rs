//! What is sent to a provider.

use serde::Serialize;
use serde_json::Value;

use super::calls::ToolCall;
use crate::catalogue::{Extra, Quirks};

/// The only kind of tools that there is.
const FUNCTION: &str = "function";

/// What a model is asked.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Prompt {
    /// The model, as the provider names it.
    pub model: String,
    /// What was said, oldest first.
    pub said: Vec<Said>,
    /// How free the answer is, 0 to 2.
    pub temperature: Option<f64>,
    /// Most tokens of the answer.
    pub max_tokens: Option<u32>,
    /// Tools that it may want to be called.
    pub tools: Vec<ToolSpec>,
    /// Whether it may.
    pub tool_use: ToolUse,
}

/// What a model is told of a tool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolSpec {
    /// Its name.
    pub name: String,
    /// What it does.
    pub description: String,
    /// JSON Schema of its arguments.
    pub parameters: Value,
}

/// Whether a model may want tools to be called.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ToolUse {
    /// It decides.
    #[default]
    Auto,
    /// It must answer.
    Forbidden,
}

/// Something that was said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// By whom.
    pub by: Speaker,
    /// Texts and pictures, in order.
    pub parts: Vec<Part>,
}

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Speaker {
    /// The operator of the conversation.
    System,
    /// The person.
    User,
    /// The model.
    Assistant,
    /// A tool that the model wanted to be called.
    Tool,
}

/// A piece of what was said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// A text.
    Text(String),
    /// A picture, as a `data:` URL (RFC 2397).
    Picture(String),
    /// What the model thought before it asked for calls. Only who wants it back is told of it.
    Thoughts(String),
    /// A call that the model asks for.
    Call(ToolCall),
    /// What came of a call: a tool says nothing else.
    Result {
        /// Of the call.
        call_id: String,
        /// What the tool said.
        text: String,
    },
}

impl Said {
    /// A text.
    pub fn text(by: Speaker, text: impl Into<String>) -> Self {
        Self {
            by,
            parts: vec![Part::Text(text.into())],
        }
    }

    /// The texts of it.
    pub fn words(&self) -> String {
        let texts = self.parts.iter().filter_map(|part| match part {
            Part::Text(text) => Some(text.as_str()),
            Part::Picture(_) | Part::Thoughts(_) | Part::Call(_) | Part::Result { .. } => None,
        });
        texts.collect::<Vec<_>>().join("\n")
    }
}

#[derive(Serialize)]
pub(super) struct Body<'a> {
    model: &'a str,
    messages: Vec<Message<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_completion_tokens: Option<u32>,
    stream: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream_options: Option<StreamOptions>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<Tool<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_choice: Option<&'static str>,
}

#[derive(Serialize)]
struct Tool<'a> {
    r#type: &'static str,
    function: Function<'a>,
}

#[derive(Serialize)]
struct Function<'a> {
    name: &'a str,
    description: &'a str,
    parameters: &'a Value,
}

#[derive(Serialize)]
struct StreamOptions {
    include_usage: bool,
}

#[derive(Serialize)]
struct Message<'a> {
    role: Speaker,
    /// Null where there are only calls: some want it to be there.
    content: Option<Content<'a>>,
    /// With calls, for who wants it; nothing where nobody knows what was thought.
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning_content: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<Call<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_call_id: Option<&'a str>,
}

#[derive(Serialize)]
struct Call<'a> {
    id: &'a str,
    r#type: &'static str,
    function: CalledFunction<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    extra_content: Option<&'a Value>,
}

#[derive(Serialize)]
struct CalledFunction<'a> {
    name: &'a str,
    arguments: &'a str,
}

/// A text where there is nothing else: not every model takes lists.
#[derive(Serialize)]
#[serde(untagged)]
enum Content<'a> {
    Text(&'a str),
    Parts(Vec<ContentPart<'a>>),
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum ContentPart<'a> {
    Text { text: &'a str },
    ImageUrl { image_url: ImageUrl<'a> },
}

#[derive(Serialize)]
struct ImageUrl<'a> {
    url: &'a str,
}

/// Words a prompt in the way of a provider.
pub(super) fn body<'a>(prompt: &'a Prompt, quirks: &Quirks) -> Body<'a> {
    let temperature = prompt
        .temperature
        .map(|temperature| temperature.min(quirks.max_temperature));
    let (max_tokens, max_completion_tokens) = if quirks.max_completion_tokens {
        (None, prompt.max_tokens)
    } else {
        (prompt.max_tokens, None)
    };
    Body {
        model: &prompt.model,
        messages: prompt
            .said
            .iter()
            .map(|said| message(said, quirks))
            .collect(),
        temperature,
        max_tokens,
        max_completion_tokens,
        stream: true,
        stream_options: quirks.stream_options.then_some(StreamOptions {
            include_usage: true,
        }),
        tools: prompt.tools.iter().map(tool).collect(),
        tool_choice: (!prompt.tools.is_empty() && prompt.tool_use == ToolUse::Forbidden)
            .then_some("none"),
    }
}

fn tool(spec: &ToolSpec) -> Tool<'_> {
    Tool {
        r#type: FUNCTION,
        function: Function {
            name: &spec.name,
            description: &spec.description,
            parameters: &spec.parameters,
        },
    }
}

fn message<'a>(said: &'a Said, quirks: &Quirks) -> Message<'a> {
    let mut message = Message {
        role: said.by,
        content: None,
        reasoning_content: None,
        tool_calls: Vec::new(),
        tool_call_id: None,
    };
    let mut shown = Vec::with_capacity(said.parts.len());
    let mut thoughts = "";
    for part in &said.parts {
        match part {
            Part::Text(text) => shown.push(ContentPart::Text { text }),
            Part::Picture(url) => shown.push(ContentPart::ImageUrl {
                image_url: ImageUrl { url },
            }),
            Part::Thoughts(text) => thoughts = text,
            Part::Call(call) => message.tool_calls.push(Call {
                id: &call.id,
                r#type: FUNCTION,
                function: CalledFunction {
                    name: &call.name,
                    arguments: &call.arguments,
                },
                extra_content: call.extra.as_ref(),
            }),
            Part::Result { call_id, text } => {
                message.tool_call_id = Some(call_id.as_str());
                shown.push(ContentPart::Text { text });
            }
        }
    }
    if quirks.takes(Extra::Thoughts) && !message.tool_calls.is_empty() {
        message.reasoning_content = Some(thoughts);
    }
    let only = match shown.as_slice() {
        [ContentPart::Text { text }] => Some(*text),
        _ => None,
    };
    message.content = match only {
        Some(text) => Some(Content::Text(text)),
        None if shown.is_empty() && !message.tool_calls.is_empty() => None,
        None => Some(Content::Parts(shown)),
    };
    message
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn thoughts_go_back_with_calls_to_who_wants_them() {
        let call = || Part::Call(ToolCall::default());
        let by = Speaker::Assistant;
        let said = |parts: Vec<Part>| Said { by, parts };
        let prompt = Prompt {
            said: vec![
                said(vec![Part::Thoughts("Cold?".to_owned()), call()]),
                said(vec![call()]),
                said(vec![
                    Part::Thoughts("Done.".to_owned()),
                    Part::Text("Cold.".to_owned()),
                ]),
            ],
            ..Prompt::default()
        };
        let told = |quirks: &Quirks| {
            let body = serde_json::to_value(body(&prompt, quirks)).unwrap();
            let messages = body["messages"].as_array().unwrap().iter();
            let told = messages.map(|message| message.get("reasoning_content").cloned());
            told.collect::<Vec<_>>()
        };
        let wanted = Quirks {
            takes: vec![Extra::Thoughts],
            ..Quirks::default()
        };
        assert_eq!(told(&wanted), [Some(json!("Cold?")), Some(json!("")), None]);
        assert_eq!(told(&Quirks::default()), [None, None, None]);
        let table = crate::catalogue::Catalogue::built_in();
        for provider in table.providers {
            let takes = provider.quirks.takes(Extra::Thoughts);
            assert_eq!(takes, provider.name == "deepseek", "{}", provider.name);
        }
    }

    #[test]
    fn tools_and_what_came_of_them_are_worded_as_providers_want_them() {
        let call = ToolCall {
            id: "a".to_owned(),
            name: "weather".to_owned(),
            arguments: "{\"q\":1}".to_owned(),
            extra: None,
        };
        let prompt = Prompt {
            model: "m".to_owned(),
            said: vec![
                Said::text(Speaker::User, "How is it?"),
                Said {
                    by: Speaker::Assistant,
                    parts: vec![Part::Call(call)],
                },
                Said {
                    by: Speaker::Tool,
                    parts: vec![Part::Result {
                        call_id: "a".to_owned(),
                        text: "Cold.".to_owned(),
                    }],
                },
            ],
            tools: vec![ToolSpec {
                name: "weather".to_owned(),
                description: "Tells.".to_owned(),
                parameters: json!({ "type": "object" }),
            }],
            tool_use: ToolUse::Forbidden,
            ..Prompt::default()
        };
        let body = serde_json::to_value(body(&prompt, &Quirks::default())).unwrap();
        assert_eq!(
            body["messages"],
            json!([
                { "role": "user", "content": "How is it?" },
                { "role": "assistant", "content": null, "tool_calls": [
                    { "id": "a", "type": "function", "function": { "name": "weather", "arguments": "{\"q\":1}" } }] },
                { "role": "tool", "content": "Cold.", "tool_call_id": "a" },
            ])
        );
        assert_eq!(body["tool_choice"], "none");
        assert_eq!(body["tools"][0]["function"]["parameters"]["type"], "object");
        let plain = serde_json::to_value(super::body(&Prompt::default(), &Quirks::default()));
        let plain = plain.unwrap();
        assert!(plain.get("tools").is_none() && plain.get("tool_choice").is_none());
    }
}
