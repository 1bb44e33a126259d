//! Bodies of messages.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use deserr::Deserr;
use serde::Serialize;
use shared::{
    ids::{ConversationId, MessageId},
    models::message::{
        self, AnswerContext, AnswerUsage, Failure, Listed, Part, Rating, Siblings, Status,
    },
};
use utoipa::{IntoParams, ToSchema};

use super::content::{Content, ContentPart};
use crate::{
    extract::{Fields, Rule},
    page::{Cursor, Limit, Page, Pagination},
    text::{Change, Id, Line, Prose},
};

/// Clients write in the name of the person only.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserr)]
#[deserr(error = Fields, try_from(&String) = UserRole::parse -> Rule)]
pub(super) struct UserRole;

impl UserRole {
    fn parse(text: &str) -> Result<Self, Rule> {
        if text == "user" {
            Ok(Self)
        } else {
            Err(Rule::new("must be user: others are not written by clients"))
        }
    }
}

/// A new message by the caller.
#[derive(Debug, Deserr, ToSchema)]
#[deserr(error = Fields, deny_unknown_fields, rename_all = camelCase)]
#[schema(rename_all = "camelCase")]
pub(super) struct CreateMessage {
    /// A text, or a list of parts; up to 5 MiB of text in all.
    #[schema(value_type = ContentInput)]
    pub(super) content: Content,
    /// The message that it follows: by default the current one; null starts a new branch.
    #[deserr(default)]
    #[schema(value_type = Option<MessageId>)]
    pub(super) parent_id: Change<Id<MessageId>>,
    /// An id chosen by the client. If the same content is sent again under it, the existing message is returned instead
    /// of a second one.
    #[deserr(default)]
    #[schema(value_type = Option<String>, min_length = 1, max_length = 128)]
    pub(super) client_id: Option<Line<1, 128>>,
    /// Only `user`.
    #[deserr(default)]
    #[schema(value_type = Option<String>, pattern = "^user$", default = "user")]
    #[expect(dead_code, reason = "it is checked while it is read")]
    role: UserRole,
}

/// What the caller thinks of an answer.
#[derive(Debug, Deserr, ToSchema)]
#[deserr(error = Fields, deny_unknown_fields, rename_all = camelCase)]
#[schema(rename_all = "camelCase")]
pub(super) struct RateMessage {
    /// `up` or `down`.
    #[schema(value_type = Rating)]
    pub(super) rating: RatingWord,
    /// Why.
    #[deserr(default)]
    #[schema(value_type = Option<String>, min_length = 1, max_length = 2_000, example = "It names the right book.")]
    pub(super) reason: Option<Prose<2_000>>,
}

/// `up` or `down`.
#[derive(Debug, Clone, Copy, Deserr)]
#[deserr(error = Fields, try_from(&String) = RatingWord::parse -> Rule)]
pub(super) struct RatingWord(pub(super) Rating);

impl RatingWord {
    fn parse(text: &str) -> Result<Self, Rule> {
        match text {
            "up" => Ok(Self(Rating::Up)),
            "down" => Ok(Self(Rating::Down)),
            _ => Err(Rule::new("must be up or down")),
        }
    }
}

/// The new wording of a message.
#[derive(Debug, Deserr, ToSchema)]
#[deserr(error = Fields, deny_unknown_fields, rename_all = camelCase)]
#[schema(rename_all = "camelCase")]
pub(super) struct EditMessage {
    /// A text, or a list of parts; up to 5 MiB of text in all.
    #[schema(value_type = ContentInput)]
    pub(super) content: Content,
    /// An id chosen by the client, as for a new message.
    #[deserr(default)]
    #[schema(value_type = Option<String>, min_length = 1, max_length = 128)]
    pub(super) client_id: Option<Line<1, 128>>,
}

/// A text, or a list of parts.
#[derive(ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "it documents what Content reads")]
pub(super) enum ContentInput {
    /// One part of text.
    #[schema(example = "What does the picture say?")]
    Text(String),
    /// Up to 50 parts.
    Parts(Vec<ContentPart>),
}

/// A message.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Message {
    id: MessageId,
    conversation_id: ConversationId,
    /// The message that it follows; null for a first message.
    parent_id: Option<MessageId>,
    /// Who speaks.
    #[schema(example = "user", pattern = "^(system|user|assistant|tool)$")]
    role: &'static str,
    /// Empty if it was deleted.
    content: Vec<Part>,
    /// The id chosen by the client.
    client_id: Option<String>,
    /// Tokens of the role and the content, plus 4 for the message.
    token_count: i32,
    /// Set if it was deleted while others follow it.
    deleted_at: Option<DateTime<Utc>>,
    /// Incremented by every change; also the `ETag`.
    version: i32,
    created_at: DateTime<Utc>,
    /// How far it has come. What is written by people is `completed`.
    status: Status,
    /// The model that said it; null for what is written by people.
    #[schema(example = "gpt-4o-mini")]
    model: Option<String>,
    /// Who has the model.
    #[schema(example = "openai")]
    provider: Option<String>,
    /// Why the model stopped: `stop`, `length`, `content_filter`, or the provider's own word.
    #[schema(example = "stop")]
    finish_reason: Option<String>,
    /// Why it could not be made to its end.
    error: Option<Failure>,
    /// What its reader thinks of it.
    feedback: Option<Feedback>,
    /// Tokens and money of an answer.
    usage: Option<AnswerUsage>,
    /// What the model was shown for an answer.
    context: Option<AnswerContext>,
}

/// What a reader thinks of an answer.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Feedback {
    rating: Rating,
    /// Why.
    #[schema(example = "It names the right book.")]
    reason: Option<String>,
}

impl From<message::Model> for Message {
    fn from(row: message::Model) -> Self {
        let message::Model {
            id,
            conversation_id,
            user_id: _,
            parent_id,
            role,
            content,
            size_bytes: _,
            client_id,
            token_count,
            deleted_at,
            is_gone: _,
            version,
            created_at,
            status,
            model,
            provider,
            finish_reason,
            error,
            rating,
            rating_reason,
            figures,
        } = row;
        let (usage, context) = figures
            .map(|figures| (figures.usage, figures.context))
            .unzip();
        Self {
            id,
            conversation_id,
            parent_id,
            role: role.as_str(),
            content: content.0,
            client_id,
            token_count,
            deleted_at,
            version,
            created_at,
            status,
            model,
            provider,
            // Before the end there is none: what is there then is ours.
            finish_reason: finish_reason.filter(|_| status != Status::Streaming),
            error,
            feedback: rating.map(|rating| Feedback {
                rating,
                reason: rating_reason,
            }),
            usage,
            context,
        }
    }
}

/// A message in its tree.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ListedMessage {
    #[serde(flatten)]
    message: Message,
    /// Its position among its siblings, 0 for the oldest; null if it was deleted.
    sibling_index: Option<u64>,
    /// How many messages follow the same one, or answer it, including itself: what tools were asked and said for an answer is
    /// stepped over, and has no siblings. Null if it was deleted.
    sibling_count: Option<u64>,
}

/// Makes a page of messages.
pub(super) fn page(
    listed: Listed,
    mut siblings: HashMap<MessageId, Siblings>,
) -> Page<ListedMessage> {
    let next_cursor = listed.rows.last().filter(|_| listed.has_more).map(|row| {
        let cursor = Cursor {
            at: row.created_at,
            id: row.id.0,
        };
        cursor.encode()
    });
    let data = listed.rows.into_iter().map(|row| {
        let (sibling_index, sibling_count) = siblings
            .remove(&row.id)
            .map(|siblings| (siblings.index, siblings.count))
            .unzip();
        ListedMessage {
            message: row.into(),
            sibling_index,
            sibling_count,
        }
    });
    Page {
        data: data.collect(),
        pagination: Pagination {
            next_cursor,
            has_more: listed.has_more,
        },
    }
}

/// Which messages of a conversation are listed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserr)]
#[deserr(error = Fields, try_from(&String) = Branch::parse -> Rule)]
pub(super) enum Branch {
    /// Those of all branches.
    #[default]
    All,
    /// Those of the branch that is shown.
    Current,
}

impl Branch {
    fn parse(text: &str) -> Result<Self, Rule> {
        match text {
            "all" => Ok(Self::All),
            "current" => Ok(Self::Current),
            _ => Err(Rule::new("must be all or current")),
        }
    }
}

/// Which messages are listed.
#[derive(Debug, Deserr, IntoParams)]
#[deserr(error = Fields, deny_unknown_fields, rename_all = camelCase)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
pub(super) struct ListMessages {
    /// `all` branches, or the `current` one only.
    #[deserr(default)]
    #[param(value_type = Option<String>, default = "all", pattern = "^(all|current)$")]
    pub(super) branch: Branch,
    /// 1 to 100. A page with very long messages may be shorter.
    #[deserr(default)]
    #[param(value_type = Option<u64>, minimum = 1, maximum = 100, default = 50)]
    pub(super) limit: Limit,
    /// `nextCursor` of the previous page.
    #[deserr(default)]
    pub(super) cursor: Option<String>,
}

/// Which siblings are listed.
#[derive(Debug, Deserr, IntoParams)]
#[deserr(error = Fields, deny_unknown_fields, rename_all = camelCase)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
pub(super) struct ListSiblings {
    /// 1 to 100. A page with very long messages may be shorter.
    #[deserr(default)]
    #[param(value_type = Option<u64>, minimum = 1, maximum = 100, default = 50)]
    pub(super) limit: Limit,
    /// `nextCursor` of the previous page.
    #[deserr(default)]
    pub(super) cursor: Option<String>,
}
