//! Messages of a conversation: a tree, of which the conversation shows one branch.
//!
//! A message that is edited or answered anew gets a sibling; nothing that was said is overwritten. Times within a
//! conversation strictly grow, so that an order by time is the order of the branch.

mod answer;
mod content;
mod exchange;
mod figures;
mod list;
mod path;
mod siblings;
mod whole;
mod write;

use chrono::{DateTime, Utc};
use sea_orm::{ConnectionTrait, QuerySelect as _, entity::prelude::*};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use self::{
    answer::{
        Asked, Ended, NewAnswer, begin_again, begin_answer, check_followed, end_answer,
        find_answer, find_sent, hold_client_id, rate,
    },
    content::{Content, Part},
    exchange::{Exchanged, ToolMessage, add_exchange, get_question},
    figures::{AnswerContext, AnswerUsage, ContextWarning, Failure, Figures, MissingAttachment},
    list::{Listed, list, list_branch},
    path::{Climbed, Step, climb, find_for_any_user, find_said},
    siblings::{Siblings, count_siblings, list_siblings},
    whole::{Place, Selection, load, outline},
    write::{New, add, delete, newest_leaf},
};
pub(super) use self::{
    answer::{WITH_TOOLS, told_of},
    write::written,
};
use crate::{
    database::{Error, Result, Tx},
    ids::{ConversationId, MessageId, UserId},
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
    /// Why the model stopped: `stop`, `length`, `content_filter`, or the provider's own word. Until then `tools` says that some
    /// may be called.
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
