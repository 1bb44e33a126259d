//! Messages of a conversation: a tree, of which the conversation shows one branch.
//!
//! A message that is edited or answered anew gets a sibling; nothing that was said is overwritten. Times within a
//! conversation strictly grow, so that an order by time is the order of the branch.

mod answer;
mod content;
mod list;
mod path;
mod whole;
mod write;

use chrono::{DateTime, Utc};
use sea_orm::{ConnectionTrait, FromJsonQueryResult, QuerySelect as _, entity::prelude::*};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub(super) use self::write::written;
pub use self::{
    answer::{
        Asked, Ended, NewAnswer, begin_again, begin_answer, end_answer, find_answer, find_sent,
        hold_client_id, rate,
    },
    content::{Content, Part},
    list::{Listed, Siblings, children, count_siblings, list, list_branch},
    path::{Climbed, Step, climb, find_for_any_user, find_said},
    whole::{Place, Selection, load, outline},
    write::{New, add, delete, newest_leaf},
};
use crate::{
    database::{Error, Result, Tx},
    ids::{AttachmentId, ConversationId, MessageId, UserId},
    models::conversation,
};

/// Who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumIter, DeriveActiveEnum, Serialize, Deserialize)]
#[sea_orm(rs_type = "String", db_type = "Text")]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// The operator of the conversation.
    #[sea_orm(string_value = "system")]
    System,
    /// The person.
    #[sea_orm(string_value = "user")]
    User,
    /// The model.
    #[sea_orm(string_value = "assistant")]
    Assistant,
    /// A tool that the model called.
    #[sea_orm(string_value = "tool")]
    Tool,
}

impl Role {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::User => "user",
            Self::Assistant => "assistant",
            Self::Tool => "tool",
        }
    }
}

/// How far a message has come. Only answers of models are anything but completed.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, EnumIter, DeriveActiveEnum, Serialize, Deserialize, ToSchema,
)]
#[sea_orm(rs_type = "String", db_type = "Text")]
#[serde(rename_all = "lowercase")]
#[schema(as = MessageStatus)]
pub enum Status {
    /// A model is saying it.
    #[sea_orm(string_value = "streaming")]
    Streaming,
    /// It is whole.
    #[sea_orm(string_value = "completed")]
    Completed,
    /// Whoever was making it went away; what was said so far is there.
    #[sea_orm(string_value = "interrupted")]
    Interrupted,
    /// It could not be made to its end; what was said so far is there.
    #[sea_orm(string_value = "failed")]
    Failed,
    /// Its user stopped it; what was said so far is there.
    #[sea_orm(string_value = "cancelled")]
    Cancelled,
}

impl Status {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Streaming => "streaming",
            Self::Completed => "completed",
            Self::Interrupted => "interrupted",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

/// What a reader thinks of a message.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, EnumIter, DeriveActiveEnum, Serialize, Deserialize, ToSchema,
)]
#[sea_orm(rs_type = "String", db_type = "Text")]
#[serde(rename_all = "lowercase")]
pub enum Rating {
    /// Good.
    #[sea_orm(string_value = "up")]
    Up,
    /// Bad.
    #[sea_orm(string_value = "down")]
    Down,
}

/// Why an answer could not be made to its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, FromJsonQueryResult, ToSchema)]
#[schema(as = AnswerProblem)]
pub struct Failure {
    /// For programs; permanent.
    #[schema(example = "provider_failed")]
    pub code: String,
    /// For people.
    #[schema(example = "the answer was cut off")]
    pub detail: String,
    /// Milliseconds after which asking again may help, if that is known.
    #[serde(
        rename = "retryAfterMs",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    #[schema(example = 7_000)]
    pub retry_after_ms: Option<u64>,
}

/// What an answer was made of, and what it cost.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, FromJsonQueryResult)]
pub struct Figures {
    /// Tokens and money.
    pub usage: AnswerUsage,
    /// What the model was shown.
    pub context: AnswerContext,
}

/// Tokens and money of an answer.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AnswerUsage {
    /// Tokens of the question with all that was sent along.
    #[schema(example = 42)]
    pub input_tokens: u32,
    /// Those of `inputTokens` that the provider had already.
    #[schema(example = 0)]
    pub cached_tokens: u32,
    /// Tokens of the answer.
    #[schema(example = 17)]
    pub output_tokens: u32,
    /// Those of `outputTokens` that were thoughts.
    #[schema(example = 0)]
    pub reasoning_tokens: u32,
    /// Whether tokens were counted here, as the provider did not tell.
    pub estimated: bool,
    /// Millionths of a US dollar, all tries together; null if a price is not known.
    #[schema(example = 38)]
    pub cost_microusd: Option<i64>,
    /// The table of prices; null if there is no price.
    #[schema(example = "2026-11-28")]
    pub price_version: Option<String>,
    /// How often providers were asked.
    #[schema(example = 1)]
    pub attempts: u32,
    /// Milliseconds until the first word; null if there was none.
    #[schema(example = 212)]
    pub first_token_ms: Option<u32>,
    /// Milliseconds until the end.
    #[schema(example = 870)]
    pub latency_ms: u32,
    /// Milliseconds of these in which no provider was waited for.
    #[schema(example = 1.4)]
    pub overhead_ms: f64,
}

/// What a model was shown.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AnswerContext {
    /// Tokens of all that was sent, as they are counted here.
    #[schema(example = 40)]
    pub tokens: u32,
    /// Up to how many tokens earlier messages and texts of attachments are sent.
    #[schema(example = 8_000)]
    pub limit: u32,
    /// Messages of the branch that were sent, the question included.
    #[schema(example = 3)]
    pub included: u32,
    /// Messages of the branch, the question included.
    #[schema(example = 3)]
    pub total: u32,
    /// Whether a summary of messages that were not sent went along.
    #[serde(default)]
    pub summarized: bool,
    /// `approaching_limit` from 80 % of the limit on.
    #[serde(default)]
    pub warning: Option<ContextWarning>,
    /// Messages of `included` of which only the beginning was sent.
    #[serde(default)]
    #[schema(example = 0)]
    pub cut: u32,
    /// Whether the question with the instructions alone has more tokens than the limit. It was sent whole, and alone.
    #[serde(default)]
    pub exceeded: bool,
    /// Whether something could not be counted or put together; then tokens are estimated, and messages may be missing.
    #[serde(default)]
    pub estimated: bool,
    /// Attachments that could not be shown, or not whole.
    pub missing: Vec<MissingAttachment>,
}

impl AnswerContext {
    /// Percent of the limit from which on it is told that it is near.
    const NEAR: u64 = 80;

    /// What is to be told of so many tokens.
    pub fn warning(tokens: u32, limit: u32) -> Option<ContextWarning> {
        let is_near = u64::from(tokens) * 100 >= u64::from(limit) * Self::NEAR;
        is_near.then_some(ContextWarning::ApproachingLimit)
    }
}

/// What clients should know of what a model was shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ContextWarning {
    /// Soon, or now, earlier messages are left out.
    ApproachingLimit,
}

/// An attachment that a model did not see whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct MissingAttachment {
    /// Which one.
    pub attachment_id: AttachmentId,
    /// Its name.
    #[schema(example = "scan.png")]
    pub file_name: String,
    /// Why, for people.
    #[schema(example = "it is still being read")]
    pub reason: String,
}

/// A row of `messages`.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "messages")]
pub struct Model {
    /// Its id.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: MessageId,
    /// Where it was said.
    pub conversation_id: ConversationId,
    /// Whose conversation that is.
    pub user_id: UserId,
    /// What it follows; none for a first message.
    pub parent_id: Option<MessageId>,
    /// Who speaks.
    pub role: Role,
    /// What was said and shown.
    #[sea_orm(column_type = "JsonBinary")]
    pub content: Content,
    /// Bytes of its texts.
    pub size_bytes: i32,
    /// The client's own id of it, by which it may be sent again.
    pub client_id: Option<String>,
    /// Tokens of role and content, and 4 for the message.
    pub token_count: i32,
    /// When it was deleted.
    pub deleted_at: Option<DateTime<Utc>>,
    /// Deleted, and nothing that is shown hangs on it.
    pub is_gone: bool,
    /// Grows with every change.
    pub version: i32,
    /// When it was said.
    pub created_at: DateTime<Utc>,
    /// How far it has come.
    pub status: Status,
    /// The model that says it.
    pub model: Option<String>,
    /// Who has the model.
    pub provider: Option<String>,
    /// Why the model stopped: `stop`, `length`, `content_filter`, or the provider's own word.
    pub finish_reason: Option<String>,
    /// Why it could not be made to its end.
    #[sea_orm(column_type = "JsonBinary", nullable)]
    pub error: Option<Failure>,
    /// What its reader thinks of it.
    pub rating: Option<Rating>,
    /// Why.
    pub rating_reason: Option<String>,
    /// What it was made of, and what it cost.
    #[sea_orm(column_type = "JsonBinary", nullable)]
    pub figures: Option<Figures>,
}

/// None that the queries need.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// Gets a message of `user`.
///
/// # Errors
/// [`Error::NotFound`] also when it is another user's, or deleted, or its conversation is.
pub async fn get(db: &impl ConnectionTrait, user: UserId, id: MessageId) -> Result<Model> {
    let row = Entity::find_by_id(id)
        .filter(Column::UserId.eq(user))
        .filter(Column::DeletedAt.is_null())
        .one(db)
        .await?
        .ok_or(Error::NotFound("message"))?;
    match conversation::get(db, user, row.conversation_id).await {
        Err(Error::NotFound(_)) => Err(Error::NotFound("message")),
        found => found.map(|_| row),
    }
}

/// Gets a message of `user`, which nobody else changes until the transaction ends.
///
/// # Errors
/// As [`get`].
pub async fn get_for_update(tx: &mut Tx, user: UserId, id: MessageId) -> Result<Model> {
    get(tx.orm(), user, id).await?;
    let locked = Entity::find_by_id(id)
        .filter(Column::DeletedAt.is_null())
        .lock_exclusive();
    locked
        .one(tx.orm())
        .await?
        .ok_or(Error::NotFound("message"))
}

/// Finds the conversation of a message of `user`, deleted or not.
///
/// # Errors
/// [`Error::NotFound`] also when it is another user's, or its conversation is deleted.
pub async fn find_conversation(
    db: &impl ConnectionTrait,
    user: UserId,
    id: MessageId,
) -> Result<ConversationId> {
    let found: Option<ConversationId> = Entity::find_by_id(id)
        .select_only()
        .column(Column::ConversationId)
        .filter(Column::UserId.eq(user))
        .into_tuple()
        .one(db)
        .await?;
    let id = found.ok_or(Error::NotFound("message"))?;
    match conversation::get(db, user, id).await {
        Err(Error::NotFound(_)) => Err(Error::NotFound("message")),
        found => found.map(|_| id),
    }
}

/// Gets a message of a conversation, deleted or not; whose it is was checked with the conversation.
///
/// # Errors
/// [`Error::NotFound`] also when it is another conversation's.
pub async fn get_of(
    db: &impl ConnectionTrait,
    conversation: ConversationId,
    id: MessageId,
) -> Result<Model> {
    Entity::find_by_id(id)
        .filter(Column::ConversationId.eq(conversation))
        .one(db)
        .await?
        .ok_or(Error::NotFound("message"))
}

/// Finds the message to which a client gave an id.
///
/// # Errors
/// As the database fails.
pub async fn find_by_client_id(
    db: &impl ConnectionTrait,
    conversation: ConversationId,
    client_id: &str,
) -> Result<Option<Model>> {
    Ok(Entity::find()
        .filter(Column::ConversationId.eq(conversation))
        .filter(Column::ClientId.eq(client_id))
        .one(db)
        .await?)
}
