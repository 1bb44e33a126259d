//! Which tools an answer may use, and what is told of their calls.

use std::{sync::Arc, time::Duration};

use deserr::{Deserr, IntoValue, Value, ValuePointerRef};
use futures::future::join_all;
use serde::{Deserialize, Serialize};
use shared::{
    clients::chat::ToolCall,
    tools::{Called, NotOffered, Tool},
};
use utoipa::ToSchema;

use super::{super::attempt::millis, round::UNKNOWN};
use crate::{
    app::App,
    error::{Error, FieldProblem, Result},
    extract::{Fields, Rule},
    text::{Line, refuse},
};

/// Most tools that one answer may name.
const NAMES_MAX: usize = 32;

/// Which tools a model may call.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::chat) enum ToolsWanted {
    /// None.
    #[default]
    Nothing,
    /// All that are offered, as far as providers take so many.
    Auto,
    /// These.
    Named(Vec<String>),
}

/// `auto`, `none`, or a list of names.
#[derive(ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "it documents what ToolsWanted reads")]
pub(in crate::chat) enum ToolsInput {
    /// All tools that are offered (the first 128, and 64 KiB of their schemas), or none.
    #[schema(example = "auto")]
    Word(String),
    /// Names of up to 32 tools of `GET /api/v1/tools`.
    Names(Vec<String>),
}

impl Deserr<Fields> for ToolsWanted {
    fn deserialize_from_value<V: IntoValue>(
        value: Value<V>,
        location: ValuePointerRef<'_>,
    ) -> std::result::Result<Self, Fields> {
        match value {
            Value::Null => Ok(Self::Nothing),
            Value::String(word) if word == "auto" => Ok(Self::Auto),
            Value::String(word) if word == "none" => Ok(Self::Nothing),
            Value::Sequence(_) => {
                let names = Vec::<Line<1, 64>>::deserialize_from_value(value, location)?;
                if names.len() > NAMES_MAX {
                    let rule = Rule::new(format!("must have at most {NAMES_MAX} names"));
                    return Err(refuse(rule, location));
                }
                Ok(Self::Named(names.into_iter().map(|name| name.0).collect()))
            }
            _ => Err(refuse(
                Rule::new("must be auto, none, or a list of names of tools"),
                location,
            )),
        }
    }
}

impl ToolsWanted {
    /// Whether there is one that a model may call.
    pub(in crate::chat) fn may_be_called(&self, app: &App) -> bool {
        match self {
            Self::Nothing => false,
            Self::Auto => !app.tools.offered().is_empty(),
            Self::Named(names) => !names.is_empty(),
        }
    }

    /// The tools themselves, each once. A server that may have one is waited for, some seconds at most.
    ///
    /// # Errors
    /// [`Error::Invalid`] where one is not offered, [`Error::ToolsAway`] where nobody knows.
    pub(in crate::chat) async fn find(&self, app: &App) -> Result<Vec<Arc<Tool>>> {
        let names = match self {
            Self::Nothing => return Ok(Vec::new()),
            Self::Auto => return Ok(app.tools.automatic()),
            Self::Named(names) => names,
        };
        let finding = names.iter().map(|name| app.tools.find(name));
        let mut found: Vec<Arc<Tool>> = Vec::with_capacity(names.len());
        let (mut problems, mut away) = (Vec::new(), None);
        for (index, tool) in join_all(finding).await.into_iter().enumerate() {
            match tool {
                Ok(tool) if found.iter().any(|known| known.name == tool.name) => {}
                Ok(tool) => found.push(tool),
                Err(NotOffered::Unknown) => problems.push(FieldProblem {
                    pointer: format!("/tools/{index}"),
                    detail: "is no tool that is offered: see GET /api/v1/tools".to_owned(),
                }),
                Err(NotOffered::Away(server)) => away = Some(server),
            }
        }
        if !problems.is_empty() {
            return Err(Error::Invalid(problems));
        }
        match away {
            Some(server) => Err(Error::ToolsAway { server }),
            None => Ok(found),
        }
    }
}

/// What is told of a call while an answer is made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub(in crate::chat) enum ToolNote {
    /// `tool.started`.
    #[serde(rename_all = "camelCase")]
    Started {
        call_id: String,
        name: String,
        /// JSON, as the model writes it.
        arguments: String,
    },
    /// `tool.finished`.
    #[serde(rename_all = "camelCase")]
    Finished {
        call_id: String,
        name: String,
        /// `completed`, `failed`, `invalid`, `unavailable`, or `unknown` where nobody knows what came of it.
        status: String,
        /// Whether the result was remembered; of tools whose questions may say something of people, this is never told.
        cached: bool,
        duration_ms: u32,
    },
}

impl ToolNote {
    /// What came of a call.
    pub(in crate::chat) fn finished(
        call_id: &str,
        name: &str,
        called: &Called,
        duration_ms: u32,
    ) -> Self {
        Self::Finished {
            call_id: call_id.to_owned(),
            name: name.to_owned(),
            status: called.outcome.as_str().to_owned(),
            cached: called.is_cached,
            duration_ms,
        }
    }

    /// A call that was stopped.
    pub(in crate::chat) fn unknown(call: &ToolCall, took: Duration) -> Self {
        Self::Finished {
            call_id: call.id.clone(),
            name: call.name.clone(),
            status: UNKNOWN.to_owned(),
            cached: false,
            duration_ms: millis(took),
        }
    }

    /// The name of the event.
    pub(in crate::chat) fn event(&self) -> &'static str {
        match self {
            Self::Started { .. } => "tool.started",
            Self::Finished { .. } => "tool.finished",
        }
    }
}
