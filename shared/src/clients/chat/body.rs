//! What is sent to a provider.

use serde::Serialize;

use crate::catalogue::Quirks;

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
}

/// A piece of what was said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// A text.
    Text(String),
    /// A picture, as a `data:` URL (RFC 2397).
    Picture(String),
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
            Part::Picture(_) => None,
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
}

#[derive(Serialize)]
struct StreamOptions {
    include_usage: bool,
}

#[derive(Serialize)]
struct Message<'a> {
    role: Speaker,
    content: Content<'a>,
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
        messages: prompt.said.iter().map(message).collect(),
        temperature,
        max_tokens,
        max_completion_tokens,
        stream: true,
        stream_options: quirks.stream_options.then_some(StreamOptions {
            include_usage: true,
        }),
    }
}

fn message(said: &Said) -> Message<'_> {
    let content = match said.parts.as_slice() {
        [Part::Text(text)] => Content::Text(text),
        parts => Content::Parts(parts.iter().map(content_part).collect()),
    };
    Message {
        role: said.by,
        content,
    }
}

fn content_part(part: &Part) -> ContentPart<'_> {
    match part {
        Part::Text(text) => ContentPart::Text { text },
        Part::Picture(url) => ContentPart::ImageUrl {
            image_url: ImageUrl { url },
        },
    }
}
