//! Messages of a conversation: a tree, of which the conversation shows one branch.
//!
//! A message that is edited or answered anew gets a sibling; nothing that was said is overwritten. Times within a
//! conversation strictly grow, so that an order by time is the order of the branch.

mod list;
mod whole;
mod write;

use chrono::{DateTime, Utc};
use sea_orm::{ConnectionTrait, FromJsonQueryResult, QuerySelect as _, entity::prelude::*};
use serde::{Deserialize, Serialize};

pub use self::{
    list::{Listed, Siblings, children, count_siblings, list, list_branch},
    whole::{Place, Selection, load, outline},
    write::{New, add, delete, newest_leaf},
};
use crate::{
    database::{Error, Result},
    ids::{AttachmentId, ConversationId, MessageId, UserId},
    models::conversation,
};

/// Who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumIter, DeriveActiveEnum)]
#[sea_orm(rs_type = "String", db_type = "Text")]
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

/// A piece of a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    tag = "type",
    rename_all = "lowercase",
    rename_all_fields = "camelCase"
)]
pub enum Part {
    /// What was said.
    Text {
        /// Any text but U+0000.
        text: String,
    },
    /// What was shown.
    Attachment {
        /// An upload of the same user.
        attachment_id: AttachmentId,
    },
}

/// What a message consists of, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, FromJsonQueryResult)]
#[serde(transparent)]
pub struct Content(pub Vec<Part>);

impl Content {
    /// Everything that was said.
    pub fn text(&self) -> String {
        let texts = self.0.iter().filter_map(|part| match part {
            Part::Text { text } => Some(text.as_str()),
            Part::Attachment { .. } => None,
        });
        texts.collect::<Vec<_>>().join("\n")
    }

    /// Everything that was shown.
    pub fn attachments(&self) -> Vec<AttachmentId> {
        let ids = self.0.iter().filter_map(|part| match part {
            Part::Text { .. } => None,
            Part::Attachment { attachment_id } => Some(*attachment_id),
        });
        ids.collect()
    }

    /// Bytes of everything that was said.
    pub fn size_bytes(&self) -> usize {
        let sizes = self.0.iter().map(|part| match part {
            Part::Text { text } => text.len(),
            Part::Attachment { .. } => 0,
        });
        sizes.sum()
    }
}

/// A row of `messages`.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
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
