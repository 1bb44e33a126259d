//! Bodies of answers: what is asked, what is answered, and the events of a stream.

use std::sync::Arc;

use deserr::Deserr;
use serde::Serialize;
use shared::{
    ids::{AttachmentId, ConversationId, MessageId, ProjectId},
    models::message::{self, AnswerContext, AnswerUsage, Failure},
};
use utoipa::{IntoParams, ToSchema};

use super::{
    told::At,
    tools::dto::{ToolsInput, ToolsWanted},
};
use crate::{
    extract::{Fields, Rule},
    messages::dto::Message,
    text::{Change, Id, Line, Prose},
};

/// Longest message, in characters.
pub(super) const MESSAGE_MAX: usize = 200_000;
/// Most attachments of a message.
const ATTACHMENTS_MAX: usize = 20;

/// A number within 0 and 2.
#[derive(Debug, Clone, Copy, PartialEq, Deserr)]
#[deserr(error = Fields, try_from(f64) = Temperature::parse -> Rule)]
pub(super) struct Temperature(pub(super) f64);

impl Temperature {
    fn parse(number: f64) -> Result<Self, Rule> {
        if (0.0..=2.0).contains(&number) {
            Ok(Self(number))
        } else {
            Err(Rule::new("must be 0 to 2"))
        }
    }
}

/// A number of tokens, at least one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserr)]
#[deserr(error = Fields, try_from(u32) = MaxTokens::parse -> Rule)]
pub(super) struct MaxTokens(pub(super) u32);

impl MaxTokens {
    fn parse(number: u32) -> Result<Self, Rule> {
        if number > 0 {
            Ok(Self(number))
        } else {
            Err(Rule::new("must be at least 1"))
        }
    }
}

/// Attachments of a message.
#[derive(Debug, Clone, Default, Deserr)]
#[deserr(error = Fields, try_from(Vec<Id<AttachmentId>>) = AttachmentIds::parse -> Rule)]
pub(super) struct AttachmentIds(pub(super) Vec<AttachmentId>);

impl AttachmentIds {
    fn parse(ids: Vec<Id<AttachmentId>>) -> Result<Self, Rule> {
        if ids.len() > ATTACHMENTS_MAX {
            return Err(Rule::new(format!(
                "must have at most {ATTACHMENTS_MAX} attachments"
            )));
        }
        let mut known = Vec::with_capacity(ids.len());
        for id in ids {
            if !known.contains(&id.0) {
                known.push(id.0);
            }
        }
        Ok(Self(known))
    }
}

/// A message to a model.
#[derive(Debug, Deserr, ToSchema)]
#[deserr(error = Fields, deny_unknown_fields, rename_all = camelCase)]
#[schema(rename_all = "camelCase")]
pub(super) struct CreateChatCompletion {
    /// What is said, in up to 200,000 characters. It may be empty if there are attachments.
    #[deserr(default)]
    #[schema(max_length = 200_000, example = "What does the picture say?")]
    pub(super) message: String,
    /// The conversation; null, or left out, to begin a new one.
    #[deserr(default)]
    #[schema(value_type = Option<ConversationId>)]
    pub(super) conversation_id: Option<Id<ConversationId>>,
    /// The model that answers: by default that of the conversation, or that of the deployment. A conversation that is
    /// begun keeps it.
    #[deserr(default)]
    #[schema(value_type = Option<String>, min_length = 1, max_length = 128)]
    pub(super) model: Option<Line<1, 128>>,
    /// The instructions given to the model: by default those of the conversation, its project, or the deployment. A
    /// conversation that is begun keeps them.
    #[deserr(default)]
    #[schema(value_type = Option<String>, min_length = 1, max_length = 32_000)]
    pub(super) system_prompt: Option<Prose<32_000>>,
    /// How free the answer is.
    #[deserr(default)]
    #[schema(value_type = Option<f64>, minimum = 0, maximum = 2)]
    pub(super) temperature: Option<Temperature>,
    /// Most tokens of the answer.
    #[deserr(default)]
    #[schema(value_type = Option<u32>, minimum = 1)]
    pub(super) max_tokens: Option<MaxTokens>,
    /// Tools that the model may call before it answers: `auto` for all of `GET /api/v1/tools`, or their names.
    #[deserr(default)]
    #[schema(value_type = Option<ToolsInput>)]
    pub(super) tools: ToolsWanted,
    /// The project of a conversation that is begun.
    #[deserr(default)]
    #[schema(value_type = Option<ProjectId>)]
    pub(super) project_id: Option<Id<ProjectId>>,
    /// Uploads of the caller that the message shows: their texts, and pictures for models that see, are sent along.
    #[deserr(default)]
    #[schema(value_type = Vec<AttachmentId>, max_items = 20)]
    pub(super) attachment_ids: AttachmentIds,
    /// The message that it follows: by default the current one; null starts a new branch.
    #[deserr(default)]
    #[schema(value_type = Option<MessageId>)]
    pub(super) parent_id: Change<Id<MessageId>>,
    /// Whether the answer comes as server-sent events.
    #[deserr(default)]
    #[schema(default = false)]
    pub(super) stream: bool,
    /// An id chosen by the client. If the same message is sent again under it, the first answer is returned, or its stream
    /// goes on. An `Idempotency-Key` stands in for it.
    #[deserr(default)]
    #[schema(value_type = Option<String>, min_length = 1, max_length = 128)]
    pub(super) client_id: Option<Line<1, 128>>,
}

/// How a message is answered anew, or an answer goes on.
#[derive(Debug, Default, Deserr, ToSchema)]
#[deserr(error = Fields, deny_unknown_fields, rename_all = camelCase)]
#[schema(rename_all = "camelCase")]
pub(super) struct AnswerAgain {
    /// The model that answers: by default that of the conversation, or that of the deployment.
    #[deserr(default)]
    #[schema(value_type = Option<String>, min_length = 1, max_length = 128)]
    pub(super) model: Option<Line<1, 128>>,
    /// How free the answer is.
    #[deserr(default)]
    #[schema(value_type = Option<f64>, minimum = 0, maximum = 2)]
    pub(super) temperature: Option<Temperature>,
    /// Most tokens of the answer.
    #[deserr(default)]
    #[schema(value_type = Option<u32>, minimum = 1)]
    pub(super) max_tokens: Option<MaxTokens>,
    /// Tools that the model may call before it answers: `auto` for all of `GET /api/v1/tools`, or their names.
    #[deserr(default)]
    #[schema(value_type = Option<ToolsInput>)]
    pub(super) tools: ToolsWanted,
    /// Whether the answer comes as server-sent events.
    #[deserr(default)]
    #[schema(default = false)]
    pub(super) stream: bool,
}

/// Another wording of a message, which is answered.
#[derive(Debug, Deserr, ToSchema)]
#[deserr(error = Fields, deny_unknown_fields, rename_all = camelCase)]
#[schema(rename_all = "camelCase")]
pub(super) struct ResendMessage {
    /// What is said, in up to 200,000 characters. It may be empty if there are attachments.
    #[schema(max_length = 200_000, example = "What does the second line say?")]
    pub(super) message: String,
    /// Uploads that the message shows: by default those of the first wording.
    #[deserr(default)]
    #[schema(value_type = Option<Vec<AttachmentId>>, max_items = 20)]
    pub(super) attachment_ids: Option<AttachmentIds>,
    /// The model that answers: by default that of the conversation, or that of the deployment.
    #[deserr(default)]
    #[schema(value_type = Option<String>, min_length = 1, max_length = 128)]
    pub(super) model: Option<Line<1, 128>>,
    /// How free the answer is.
    #[deserr(default)]
    #[schema(value_type = Option<f64>, minimum = 0, maximum = 2)]
    pub(super) temperature: Option<Temperature>,
    /// Most tokens of the answer.
    #[deserr(default)]
    #[schema(value_type = Option<u32>, minimum = 1)]
    pub(super) max_tokens: Option<MaxTokens>,
    /// Tools that the model may call before it answers: `auto` for all of `GET /api/v1/tools`, or their names.
    #[deserr(default)]
    #[schema(value_type = Option<ToolsInput>)]
    pub(super) tools: ToolsWanted,
    /// Whether the answer comes as server-sent events.
    #[deserr(default)]
    #[schema(default = false)]
    pub(super) stream: bool,
    /// An id chosen by the client, as for a new message.
    #[deserr(default)]
    #[schema(value_type = Option<String>, min_length = 1, max_length = 128)]
    pub(super) client_id: Option<Line<1, 128>>,
}

/// From where a stream is read.
#[derive(Debug, Deserr, IntoParams)]
#[deserr(error = Fields, deny_unknown_fields, rename_all = camelCase)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
pub(super) struct ReadStream {
    /// The `id` of the last event that was seen; `Last-Event-ID` stands in for it. By default the stream is read from its
    /// beginning.
    #[deserr(default)]
    #[param(value_type = Option<String>, pattern = "^[0-9]+([.][0-9]+)?$", example = "12")]
    pub(super) after: Option<EventId>,
}

/// The id of an event.
#[derive(Debug, Clone, Copy, Deserr)]
#[deserr(error = Fields, try_from(&String) = EventId::parse -> Rule)]
pub(super) struct EventId(pub(super) At);

impl EventId {
    fn parse(text: &str) -> Result<Self, Rule> {
        text.parse::<At>()
            .map(Self)
            .map_err(|_| Rule::new("must be the id of an event, as 12 or 12.1"))
    }
}

/// An answer of a model.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ChatCompletion {
    /// The answer.
    message: Message,
    conversation_id: ConversationId,
    /// Tokens and money; also in `message`.
    usage: AnswerUsage,
    /// What the model was shown; also in `message`.
    context: AnswerContext,
}

impl From<message::Model> for ChatCompletion {
    fn from(row: message::Model) -> Self {
        let figures = row.figures.clone();
        let (usage, context) = figures
            .map(|figures| (figures.usage, figures.context))
            .unwrap_or_default();
        Self {
            conversation_id: row.conversation_id,
            message: row.into(),
            usage,
            context,
        }
    }
}

/// The data of `message.started`.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Started {
    /// The answer.
    pub(super) message_id: MessageId,
    /// Where it is.
    pub(super) conversation_id: ConversationId,
    /// The message that is answered.
    pub(super) parent_id: Option<MessageId>,
    /// The model that answers.
    #[schema(example = "gpt-4o-mini")]
    pub(super) model: Option<String>,
}

impl From<&message::Model> for Started {
    fn from(row: &message::Model) -> Self {
        Self {
            message_id: row.id,
            conversation_id: row.conversation_id,
            parent_id: row.parent_id,
            model: row.model.clone(),
        }
    }
}

/// The data of `message.delta`.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Delta<'a> {
    /// More of the answer.
    #[schema(example = "It says")]
    pub(super) delta: &'a str,
}

/// The data of `error`: the answer was not made to its end.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct AnswerError {
    /// Permanent.
    #[schema(example = "provider_failed")]
    code: String,
    /// For people.
    #[schema(example = "the answer was cut off")]
    detail: String,
    /// Milliseconds after which asking again may help, if that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = 7_000)]
    retry_after_ms: Option<u64>,
    /// The answer, with what was said of it.
    message: Message,
}

/// What the last event of a stream tells.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum Last {
    /// `message.completed`.
    Completed(Box<ChatCompletion>),
    /// `error`.
    Error(Box<AnswerError>),
}

impl Last {
    /// What is told of an answer that has ended.
    pub(super) fn of(row: &Arc<message::Model>) -> Self {
        let row = message::Model::clone(row);
        match row.status {
            message::Status::Failed | message::Status::Interrupted => {
                let Failure {
                    code,
                    detail,
                    retry_after_ms,
                    // It stands in the message.
                    provider_status: _,
                } = failure(&row);
                Self::Error(Box::new(AnswerError {
                    code,
                    detail,
                    retry_after_ms,
                    message: row.into(),
                }))
            }
            _ => Self::Completed(Box::new(row.into())),
        }
    }

    /// The name of the event.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Completed(_) => "message.completed",
            Self::Error(_) => "error",
        }
    }
}

/// Why an answer was not made to its end.
pub(super) fn failure(row: &message::Model) -> Failure {
    row.error.clone().unwrap_or_else(|| Failure {
        code: "interrupted".to_owned(),
        detail: "the answer was interrupted".to_owned(),
        retry_after_ms: None,
        provider_status: None,
    })
}
