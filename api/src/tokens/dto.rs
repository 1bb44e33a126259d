//! Bodies of counting.

use deserr::Deserr;
use serde::Serialize;
use shared::{models::message::Role, tokens::Encoding};
use utoipa::ToSchema;

use crate::{
    error::{Error, Result},
    extract::{Fields, Rule},
    text::Line,
};

/// Most bytes of text that are counted at once.
pub(super) const TEXT_MAX_BYTES: usize = 5 * 1024 * 1024;
/// Most messages that are counted at once.
const MESSAGES_MAX: usize = 10_000;

/// What is counted: a text or messages.
#[derive(Debug, Deserr, ToSchema)]
#[deserr(error = Fields, deny_unknown_fields, rename_all = camelCase)]
#[schema(rename_all = "camelCase")]
pub(super) struct CountTokens {
    /// The model for which it is counted; left out, or null, for none in particular.
    #[deserr(default)]
    #[schema(value_type = Option<String>, min_length = 1, max_length = 128, example = "gpt-4o-mini")]
    model: Option<Line<1, 128>>,
    /// A text, of up to 5 MiB.
    #[deserr(default)]
    #[schema(example = "What does the picture say?")]
    text: Option<String>,
    /// Or messages, up to 10,000 and of up to 5 MiB in all: each has the tokens of its role and its content, and 4 more.
    #[deserr(default)]
    #[schema(max_items = 10_000)]
    messages: Option<Vec<CountedMessage>>,
}

/// A message that is counted.
#[derive(Debug, Deserr, ToSchema)]
#[deserr(error = Fields, deny_unknown_fields, rename_all = camelCase)]
#[schema(rename_all = "camelCase")]
struct CountedMessage {
    /// Who speaks.
    #[schema(value_type = String, pattern = "^(system|user|assistant|tool)$", example = "user")]
    role: Speaker,
    #[schema(example = "What does the picture say?")]
    content: String,
}

/// Who speaks.
#[derive(Debug, Clone, Copy, Deserr)]
#[deserr(error = Fields, try_from(&String) = Speaker::parse -> Rule)]
struct Speaker(Role);

impl Speaker {
    fn parse(text: &str) -> Result<Self, Rule> {
        let mut roles = [Role::System, Role::User, Role::Assistant, Role::Tool].into_iter();
        let role = roles.find(|role| role.as_str() == text);
        role.map(Self)
            .ok_or_else(|| Rule::new("must be system, user, assistant or tool"))
    }
}

/// What is to be counted.
#[derive(Debug)]
pub(super) enum Counted {
    Text(String),
    /// Roles and texts.
    Messages(Vec<(&'static str, String)>),
}

impl CountTokens {
    /// The model that is named, and the one of text and messages that is there.
    pub(super) fn check(self) -> Result<(Option<String>, Counted)> {
        let counted = match (self.text, self.messages) {
            (Some(text), None) => Counted::Text(text),
            (None, Some(messages)) => {
                if messages.len() > MESSAGES_MAX {
                    let rule = format!("must have at most {MESSAGES_MAX} messages");
                    return Err(Error::field("/messages", rule));
                }
                let messages = messages.into_iter();
                Counted::Messages(
                    messages
                        .map(|message| (message.role.0.as_str(), message.content))
                        .collect(),
                )
            }
            _ => return Err(Error::field("", "must have either text or messages")),
        };
        let bytes: usize = match &counted {
            Counted::Text(text) => text.len(),
            Counted::Messages(messages) => messages.iter().map(|(_, text)| text.len()).sum(),
        };
        if bytes > TEXT_MAX_BYTES {
            return Err(Error::TooLarge {
                limit_bytes: TEXT_MAX_BYTES as u64,
            });
        }
        Ok((self.model.map(|model| model.0), counted))
    }
}

/// How many tokens there are.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct TokenCount {
    /// The model for which it was counted; null where none was named.
    #[schema(example = "gpt-4o-mini")]
    pub(super) model: Option<String>,
    #[schema(example = 6)]
    pub(super) tokens: u32,
    /// What was counted in.
    pub(super) encoding: Encoding,
    /// Whether that is the model's own, so that it counts alike; else it is an estimate.
    #[schema(example = true)]
    pub(super) exact: bool,
    /// What was counted is multiplied by this; see `GET /api/v1/models`.
    #[schema(example = 1.0)]
    pub(super) factor: f64,
}
