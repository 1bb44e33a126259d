//! How providers differ.

use serde::Deserialize;

/// How a provider differs from the others.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Quirks {
    /// Whether it is asked for figures at the end of a stream; others refuse the question, or tell them anyway.
    pub stream_options: bool,
    /// Whether the longest answer is `max_completion_tokens`, and not `max_tokens`.
    pub max_completion_tokens: bool,
    /// Highest temperature that it takes.
    pub max_temperature: f64,
    /// Whether `x-ratelimit-remaining-requests` counts the requests of a day; elsewhere it counts those of a minute.
    pub daily_request_headers: bool,
    /// Parameters of a question that it does not take: it gets them from nobody. `messages.name` are the names of messages,
    /// and so on for all that messages have, down to `messages.tool_calls.extra_content`.
    pub strips: Vec<String>,
    /// What it takes that others do not.
    pub takes: Vec<Extra>,
}

/// What some providers take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Extra {
    /// The role `developer`; others are told `system`.
    DeveloperRole,
    /// That vectors are wanted as base64, which is shorter.
    Base64Embeddings,
    /// What the model thought before it asked for calls of tools, back with these: without it, all that follows is refused.
    Thoughts,
}

impl Default for Quirks {
    fn default() -> Self {
        Self {
            stream_options: true,
            max_completion_tokens: false,
            max_temperature: 2.0,
            daily_request_headers: false,
            strips: Vec::new(),
            takes: Vec::new(),
        }
    }
}

impl Quirks {
    /// Whether a parameter of a question is left out.
    pub fn strips(&self, parameter: &str) -> bool {
        self.strips.iter().any(|known| known == parameter)
    }

    /// Whether a field of messages is left out, like `name` or `tool_calls.extra_content`.
    pub fn strips_of_messages(&self, field: &str) -> bool {
        let is_it = |known: &String| known.strip_prefix("messages.") == Some(field);
        self.strips.iter().any(is_it)
    }

    /// Whether it takes something that others do not.
    pub fn takes(&self, extra: Extra) -> bool {
        self.takes.contains(&extra)
    }
}
