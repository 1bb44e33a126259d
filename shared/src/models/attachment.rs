//! Uploaded files.

use chrono::{DateTime, Utc};
use sea_orm::{ActiveValue::Set, Condition, ConnectionTrait, QuerySelect, entity::prelude::*};

use crate::{
    database::{Error, Result, Tx},
    ids::{AttachmentId, ConversationId, MessageId, UserId},
};

/// A row of `attachments`.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "attachments")]
pub struct Model {
    /// Its id.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: AttachmentId,
    /// Whose it is.
    pub user_id: UserId,
    /// The conversation it was sent to.
    pub conversation_id: Option<ConversationId>,
    /// The message it belongs to.
    pub message_id: Option<MessageId>,
    /// `image`.
    pub kind: String,
    /// As the client named it; never used as a path.
    pub file_name: String,
    /// By content, not by name.
    pub media_type: String,
    /// Bytes stored.
    pub size_bytes: i64,
    /// SHA-256 of the content.
    pub sha256: Vec<u8>,
    /// Pixels, as displayed.
    pub width: Option<i32>,
    /// Pixels, as displayed.
    pub height: Option<i32>,
    /// Key in the storage.
    pub storage_key: String,
    /// When it was uploaded.
    pub created_at: DateTime<Utc>,
}

/// None that the queries need.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// What is known of an upload once it is stored.
#[derive(Debug, Clone)]
pub struct New {
    /// Its id.
    pub id: AttachmentId,
    /// Whose it is.
    pub user: UserId,
    /// `image`.
    pub kind: &'static str,
    /// As the client named it.
    pub file_name: String,
    /// By content.
    pub media_type: &'static str,
    /// Bytes stored.
    pub size_bytes: u64,
    /// Of the content.
    pub sha256: [u8; 32],
    /// Width and height in pixels.
    pub size: Option<(u32, u32)>,
    /// Key in the storage.
    pub storage_key: String,
}

/// Records an upload.
///
/// # Errors
/// As the database fails.
pub async fn create(tx: &mut Tx, new: New, now: DateTime<Utc>) -> Result<Model> {
    let (width, height) = new.size.unzip();
    let row = ActiveModel {
        id: Set(new.id),
        user_id: Set(new.user),
        conversation_id: Set(None),
        message_id: Set(None),
        kind: Set(new.kind.to_owned()),
        file_name: Set(new.file_name),
        media_type: Set(new.media_type.to_owned()),
        size_bytes: Set(i64::try_from(new.size_bytes).unwrap_or(i64::MAX)),
        sha256: Set(new.sha256.to_vec()),
        width: Set(width.and_then(|pixels| pixels.try_into().ok())),
        height: Set(height.and_then(|pixels| pixels.try_into().ok())),
        storage_key: Set(new.storage_key),
        created_at: Set(now),
    };
    Ok(row.insert(tx.orm()).await?)
}

/// Gets an attachment of `user`.
///
/// # Errors
/// [`Error::NotFound`] also when it is another user's.
pub async fn get(db: &impl ConnectionTrait, user: UserId, id: AttachmentId) -> Result<Model> {
    Entity::find_by_id(id)
        .filter(Column::UserId.eq(user))
        .one(db)
        .await?
        .ok_or(Error::NotFound("attachment"))
}

/// Which of these attachments are not `user`'s to show in a conversation: unknown ones, other users', and those that
/// belong to another conversation.
///
/// # Errors
/// As the database fails.
pub async fn find_unusable(
    tx: &mut Tx,
    user: UserId,
    conversation: ConversationId,
    ids: &[AttachmentId],
) -> Result<Vec<AttachmentId>> {
    let usable: Vec<AttachmentId> = Entity::find()
        .select_only()
        .column(Column::Id)
        .filter(Column::Id.is_in(ids.iter().copied()))
        .filter(Column::UserId.eq(user))
        .filter(
            Condition::any()
                .add(Column::ConversationId.is_null())
                .add(Column::ConversationId.eq(conversation)),
        )
        .lock_exclusive()
        .into_tuple()
        .all(tx.orm())
        .await?;
    Ok(ids
        .iter()
        .copied()
        .filter(|id| !usable.contains(id))
        .collect())
}

/// Files attachments under the message that shows them first.
///
/// # Errors
/// As the database fails.
pub async fn place(
    tx: &mut Tx,
    ids: &[AttachmentId],
    conversation: ConversationId,
    message: MessageId,
) -> Result<()> {
    if ids.is_empty() {
        return Ok(());
    }
    Entity::update_many()
        .col_expr(Column::ConversationId, Expr::value(conversation))
        .col_expr(Column::MessageId, Expr::value(message))
        .filter(Column::Id.is_in(ids.iter().copied()))
        .filter(Column::MessageId.is_null())
        .exec(tx.orm())
        .await?;
    Ok(())
}

/// Finds an attachment for a job or a signed URL, whose right to it was checked when they were made.
///
/// # Errors
/// As the database fails.
pub async fn find_for_any_user(
    db: &impl ConnectionTrait,
    id: AttachmentId,
) -> Result<Option<Model>> {
    Ok(Entity::find_by_id(id).one(db).await?)
}
