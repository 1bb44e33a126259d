//! Uploaded files.

mod deleting;

use chrono::{DateTime, Utc};
use sea_orm::{
    ActiveValue::Set,
    Condition, ConnectionTrait, QueryOrder as _, QuerySelect as _,
    entity::prelude::*,
    sea_query::{LockType, SimpleExpr},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub(super) use self::deleting::cancel_job;
pub use self::deleting::{delete, delete_some_of_conversation, delete_some_of_user};
use crate::{
    database::{Error, Result, Tx},
    events::{self, AttachmentSummary, Event},
    ids::{AttachmentId, ConversationId, MessageId, UserId},
    models::{pending_object, recognition, user},
};

const NOT_FOUND: Error = Error::NotFound("attachment");

/// What a file is.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, EnumIter, DeriveActiveEnum, Serialize, Deserialize, ToSchema,
)]
#[sea_orm(rs_type = "String", db_type = "Text")]
#[serde(rename_all = "lowercase")]
#[schema(as = AttachmentKind)]
pub enum Kind {
    /// A picture: PNG, JPEG, WebP or GIF.
    #[sea_orm(string_value = "image")]
    Image,
    /// A PDF.
    #[sea_orm(string_value = "document")]
    Document,
    /// Sound: MP3, WAV, Ogg, `WebM` or M4A.
    #[sea_orm(string_value = "audio")]
    Audio,
}

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
    /// What it is, by content.
    pub kind: Kind,
    /// As the client named it; never used as a path.
    pub file_name: String,
    /// By content, not by name.
    pub media_type: String,
    /// Bytes stored.
    pub size_bytes: i64,
    /// SHA-256 of the content.
    pub sha256: Vec<u8>,
    /// Pixels of a picture, as stored in the file.
    pub width: Option<i32>,
    /// Pixels of a picture, as stored in the file.
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
    /// The conversation it is sent to; the caller has checked that it is the user's.
    pub conversation: Option<ConversationId>,
    /// What it is, by content.
    pub kind: Kind,
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

/// Records an upload, whose object was noted by [`pending_object::begin`], and tells of it.
///
/// # Errors
/// When the object is not pending any more; [`Error::NotFound`] when the account was deleted while it came; or as the database
/// fails.
pub async fn create(tx: &mut Tx, new: New, now: DateTime<Utc>) -> Result<Model> {
    if !user::hold(tx, new.user).await? {
        return Err(Error::NotFound("user"));
    }
    pending_object::claim(tx, &new.storage_key).await?;
    let (width, height) = new.size.unzip();
    let row = ActiveModel {
        id: Set(new.id),
        user_id: Set(new.user),
        conversation_id: Set(new.conversation),
        message_id: Set(None),
        kind: Set(new.kind),
        file_name: Set(new.file_name),
        media_type: Set(new.media_type.to_owned()),
        size_bytes: Set(i64::try_from(new.size_bytes).unwrap_or(i64::MAX)),
        sha256: Set(new.sha256.to_vec()),
        width: Set(width.and_then(|pixels| pixels.try_into().ok())),
        height: Set(height.and_then(|pixels| pixels.try_into().ok())),
        storage_key: Set(new.storage_key),
        created_at: Set(now),
    };
    let row = row.insert(tx.orm()).await?;
    let event = Event::AttachmentCreated(AttachmentSummary::from(&row));
    events::emit(tx, row.user_id, &event, now).await?;
    Ok(row)
}

/// Gets an attachment of `user`.
///
/// # Errors
/// [`Error::NotFound`] also when it is another user's.
pub async fn get(db: &impl ConnectionTrait, user: UserId, id: AttachmentId) -> Result<Model> {
    shown_to(user, id).one(db).await?.ok_or(NOT_FOUND)
}

/// Gets an attachment of `user`, and keeps it until the end of the transaction, so that rows can be made that need it.
///
/// # Errors
/// [`Error::NotFound`] also when it is another user's.
pub async fn hold(tx: &mut Tx, user: UserId, id: AttachmentId) -> Result<Model> {
    let held = shown_to(user, id).lock(LockType::KeyShare);
    held.one(tx.orm()).await?.ok_or(NOT_FOUND)
}

/// Gets an attachment of `user`, and keeps others from making or deleting variants of it until the end of the transaction.
///
/// # Errors
/// [`Error::NotFound`] also when it is another user's.
pub async fn hold_variants(tx: &mut Tx, user: UserId, id: AttachmentId) -> Result<Model> {
    let held = shown_to(user, id).lock(LockType::NoKeyUpdate);
    held.one(tx.orm()).await?.ok_or(NOT_FOUND)
}

fn shown_to(user: UserId, id: AttachmentId) -> Select<Entity> {
    Entity::find_by_id(id)
        .filter(Column::UserId.eq(user))
        .filter(is_shown())
}

/// Nobody sees what belongs to a deleted conversation; its job removes it after some time.
///
/// `OFFSET 0` makes it one probe for each row: as a join it reads all conversations for those that are deleted.
fn is_shown() -> SimpleExpr {
    Expr::cust(
        "NOT EXISTS (SELECT FROM conversations c WHERE c.id = attachments.conversation_id AND c.deleted_at IS NOT NULL OFFSET 0)",
    )
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

/// Which attachments are listed.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Only of this kind.
    pub kind: Option<Kind>,
    /// Only of this conversation.
    pub conversation: Option<ConversationId>,
    /// Only those whose latest reading or transcription has come this far.
    pub status: Option<recognition::Status>,
    /// Only those older than this one.
    pub before: Option<(DateTime<Utc>, AttachmentId)>,
}

/// Lists attachments of `user`, newest first.
///
/// # Errors
/// As the database fails.
pub async fn list(
    db: &impl ConnectionTrait,
    user: UserId,
    filter: &Filter,
    limit: u64,
) -> Result<Vec<Model>> {
    Ok(listing(user, filter, limit).all(db).await?)
}

/// The statement of [`list`], for the test that looks at its plan.
pub fn listing(user: UserId, filter: &Filter, limit: u64) -> Select<Entity> {
    let mut query = Entity::find()
        .filter(Column::UserId.eq(user))
        .filter(is_shown());
    if let Some(kind) = filter.kind {
        query = query.filter(Column::Kind.eq(kind));
    }
    if let Some(conversation) = filter.conversation {
        query = query.filter(Column::ConversationId.eq(conversation));
    }
    if let Some(status) = filter.status {
        // `OFFSET 0` as in `is_shown`: one probe for each row.
        query = query.filter(Expr::cust_with_values(
            "(EXISTS (SELECT FROM recognitions r WHERE r.attachment_id = attachments.id AND r.status = $1 OFFSET 0)
              OR EXISTS (SELECT FROM transcriptions t WHERE t.attachment_id = attachments.id AND t.status = $1 OFFSET 0))",
            [status],
        ));
    }
    if let Some((created_at, id)) = filter.before {
        query = query.filter(Expr::cust_with_values(
            "(attachments.created_at, attachments.id) < ($1, $2)",
            [created_at.into(), sea_orm::Value::from(id)],
        ));
    }
    query
        .order_by_desc(Column::CreatedAt)
        .order_by_desc(Column::Id)
        .limit(limit)
}

/// Finds an attachment for a signed URL, whose right to it was checked when it was made.
///
/// # Errors
/// As the database fails.
pub async fn find_for_signed_url(
    db: &impl ConnectionTrait,
    id: AttachmentId,
) -> Result<Option<Model>> {
    // Without an account nobody has a right to it, though a job has not removed it yet.
    let of_somebody = Expr::cust(
        "NOT EXISTS (SELECT FROM users u WHERE u.id = attachments.user_id AND u.deleted_at IS NOT NULL)",
    );
    let row = Entity::find_by_id(id).filter(is_shown());
    Ok(row.filter(of_somebody).one(db).await?)
}

/// Finds an attachment for a job, whose right to it was checked when it was made; those of deleted conversations too.
///
/// # Errors
/// As the database fails.
pub async fn find_for_any_user(
    db: &impl ConnectionTrait,
    id: AttachmentId,
) -> Result<Option<Model>> {
    Ok(Entity::find_by_id(id).one(db).await?)
}

/// Whether there still is such an attachment, whoever's it is.
///
/// # Errors
/// As the database fails.
pub async fn exists(db: &impl ConnectionTrait, id: AttachmentId) -> Result<bool> {
    Ok(Entity::find_by_id(id).exists(db).await?)
}

/// Finds those of these attachments that are `user`'s, in no order.
///
/// # Errors
/// As the database fails.
pub async fn find_all(
    db: &impl ConnectionTrait,
    user: UserId,
    ids: &[AttachmentId],
) -> Result<Vec<Model>> {
    Ok(Entity::find()
        .filter(Column::Id.is_in(ids.iter().copied()))
        .filter(Column::UserId.eq(user))
        .filter(is_shown())
        .all(db)
        .await?)
}
