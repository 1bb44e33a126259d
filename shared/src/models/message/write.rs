//! Adding and deleting messages. The conversation's row is locked, and tells of its messages in the same transaction.

use chrono::{DateTime, TimeDelta, Utc};
use sea_orm::{
    ActiveValue::Set, ConnectionTrait, DbBackend, FromQueryResult, IntoActiveModel as _,
    QueryOrder, QuerySelect as _, Statement, entity::prelude::*,
};

use super::{ActiveModel, Column, Content, Entity, Model, Role, Status, exchange};
use crate::{
    database::{Refusal, Result, Tx},
    events::{self, Event, MessageSummary},
    ids::{ConversationId, MessageId, UserId},
    models::{attachment, conversation, event},
};

/// A message to add.
#[derive(Debug, Clone)]
pub struct New {
    /// What it follows; the caller has checked that it is a message of the conversation.
    pub parent: Option<MessageId>,
    /// Who speaks.
    pub role: Role,
    /// What is said and shown.
    pub content: Content,
    /// Tokens of role and content, and 4 for the message.
    pub token_count: u32,
    /// The client's own id of it.
    pub client_id: Option<String>,
}

impl New {
    /// The beginning of an answer.
    pub(in crate::models) fn answer(question: MessageId) -> Self {
        Self {
            parent: Some(question),
            role: Role::Assistant,
            content: Content::default(),
            token_count: 0,
            client_id: None,
        }
    }
}

/// Adds a message to a conversation whose row is locked; the branch that ends with it is shown from now on.
///
/// # Errors
/// [`Refusal::ConversationArchived`], and as the database fails.
pub async fn add(
    tx: &mut Tx,
    conversation: conversation::Model,
    new: New,
    now: DateTime<Utc>,
) -> Result<Model> {
    let row = insert(tx, &conversation, new, next_time(&conversation, now)).await?;
    count(tx, conversation, &[&row], now).await?;
    Ok(row)
}

/// When the next message of a conversation is said. Clocks of two instances differ; its order must not.
pub(super) fn next_time(conversation: &conversation::Model, now: DateTime<Utc>) -> DateTime<Utc> {
    conversation
        .last_message_at
        .map_or(now, |last| now.max(last + TimeDelta::microseconds(1)))
}

/// Writes a message of the person, and tells of it.
pub(super) async fn insert(
    tx: &mut Tx,
    conversation: &conversation::Model,
    new: New,
    created_at: DateTime<Utc>,
) -> Result<Model> {
    if conversation.archived_at.is_some() {
        return Err(Refusal::ConversationArchived.into());
    }
    let row = row(conversation, new, created_at).insert(tx.orm()).await?;
    attachment::place(tx, &row.content.attachments(), row.conversation_id, row.id).await?;
    let event = Event::MessageCreated(MessageSummary::from(&row));
    events::emit(tx, row.user_id, &event, created_at).await?;
    Ok(row)
}

/// A message as it is written first, to a conversation and of its user.
pub(in crate::models) fn written(
    (conversation_id, user_id): (ConversationId, UserId),
    id: MessageId,
    new: New,
    created_at: DateTime<Utc>,
) -> Model {
    Model {
        id,
        conversation_id,
        user_id,
        parent_id: new.parent,
        role: new.role,
        size_bytes: i32::try_from(new.content.size_bytes()).unwrap_or(i32::MAX),
        content: new.content,
        client_id: new.client_id,
        token_count: i32::try_from(new.token_count).unwrap_or(i32::MAX),
        deleted_at: None,
        is_gone: false,
        version: 1,
        created_at,
        status: Status::Completed,
        model: None,
        provider: None,
        finish_reason: None,
        error: None,
        rating: None,
        rating_reason: None,
        figures: None,
    }
}

/// The same, to be written to a conversation whose row is locked.
pub(super) fn row(
    conversation: &conversation::Model,
    new: New,
    created_at: DateTime<Utc>,
) -> ActiveModel {
    let place = (conversation.id, conversation.user_id);
    let row = written(place, MessageId::new(), new, created_at);
    row.into_active_model().reset_all()
}

/// Tells the conversation of its new messages, oldest first.
pub(super) async fn count(
    tx: &mut Tx,
    conversation: conversation::Model,
    rows: &[&Model],
    now: DateTime<Utc>,
) -> Result<()> {
    let Some(last) = rows.last() else {
        return Ok(());
    };
    let tokens: i64 = rows.iter().map(|row| i64::from(row.token_count)).sum();
    let messages = i64::try_from(rows.len()).unwrap_or(i64::MAX);
    let (count, counted) = (conversation.message_count, conversation.token_count);
    let version = conversation.version;
    let mut row: conversation::ActiveModel = conversation.into();
    row.current_message_id = Set(Some(last.id));
    row.last_message_id = Set(Some(last.id));
    row.last_message_at = Set(Some(last.created_at));
    row.message_count = Set(count + messages);
    row.token_count = Set(counted + tokens);
    row.version = Set(version + 1);
    row.updated_at = Set(now);
    row.update(tx.orm()).await?;
    Ok(())
}

/// Deletes a message of a conversation whose row is locked. What follows it stays where it is; what tools were asked and said
/// for it goes with it, and so does what its events tell of it.
///
/// # Errors
/// [`Refusal::ConversationArchived`], and as the database fails.
pub async fn delete(
    tx: &mut Tx,
    conversation: conversation::Model,
    message: Model,
    now: DateTime<Utc>,
) -> Result<()> {
    if conversation.archived_at.is_some() {
        return Err(Refusal::ConversationArchived.into());
    }
    let (id, place) = (message.id, conversation.id);
    event::withdraw(tx, conversation.user_id, &[place.0], id.0).await?;
    let tokens = i64::from(message.token_count);
    let above = message.parent_id.filter(|_| !message.is_exchange());
    let version = message.version + 1;
    let mut row: ActiveModel = message.into();
    row.deleted_at = Set(Some(now));
    row.version = Set(version);
    row.update(tx.orm()).await?;
    let of_tools = match above {
        Some(above) => exchange::delete_up(tx, (place, above), id, now).await?,
        None => exchange::Deleted::default(),
    };

    let last: Option<(MessageId, DateTime<Utc>)> = Entity::find()
        .select_only()
        .columns([Column::Id, Column::CreatedAt])
        .filter(Column::ConversationId.eq(conversation.id))
        .filter(Column::DeletedAt.is_null())
        .order_by_desc(Column::CreatedAt)
        .order_by_desc(Column::Id)
        .into_tuple()
        .one(tx.orm())
        .await?;
    remove_empty_places(tx, id).await?;
    let current = find_kept(tx.orm(), conversation.current_message_id).await?;
    let (count, version) = (conversation.message_count, conversation.version);
    let left = conversation.token_count - tokens - of_tools.tokens;
    let mut counted: conversation::ActiveModel = conversation.into();
    counted.current_message_id = Set(current);
    counted.last_message_id = Set(last.map(|(id, _)| id));
    counted.last_message_at = Set(last.map(|(_, created_at)| created_at));
    counted.message_count = Set(count - 1 - of_tools.messages);
    counted.token_count = Set(left);
    counted.version = Set(version + 1);
    counted.updated_at = Set(now);
    counted.update(tx.orm()).await?;
    // In Postgres, a trigger removes what tells of it.
    tx.invalidate(tx.keys().context(place));
    Ok(())
}

/// Hides a deleted message, and the deleted ones above it, where nothing that is shown hangs on them.
async fn remove_empty_places(tx: &mut Tx, deleted: MessageId) -> Result<()> {
    const SQL: &str = "
        WITH RECURSIVE up AS (
            SELECT m.id, m.conversation_id, m.parent_id FROM messages m
             WHERE m.id = $1 AND NOT EXISTS (
                       SELECT FROM messages c
                        WHERE c.conversation_id = m.conversation_id AND c.parent_id = m.id AND NOT c.is_gone)
            UNION ALL
            SELECT m.id, m.conversation_id, m.parent_id
              FROM up JOIN messages m ON m.id = up.parent_id AND m.deleted_at IS NOT NULL
             WHERE NOT EXISTS (
                       SELECT FROM messages c
                        WHERE c.conversation_id = m.conversation_id AND c.parent_id = m.id AND NOT c.is_gone
                          AND c.id <> up.id)
        )
        UPDATE messages SET is_gone = true WHERE id IN (SELECT id FROM up)";
    let statement = Statement::from_sql_and_values(DbBackend::Postgres, SQL, [deleted.into()]);
    tx.orm().execute_raw(statement).await?;
    Ok(())
}

/// The first message that is not deleted, from `message` upwards.
async fn find_kept(
    db: &impl ConnectionTrait,
    message: Option<MessageId>,
) -> Result<Option<MessageId>> {
    const SQL: &str = "
        WITH RECURSIVE up AS (
            SELECT id, parent_id, deleted_at FROM messages WHERE id = $1
            UNION ALL
            SELECT m.id, m.parent_id, m.deleted_at FROM up u JOIN messages m ON m.id = u.parent_id
             WHERE u.deleted_at IS NOT NULL
        )
        SELECT id FROM up WHERE deleted_at IS NULL";
    let Some(message) = message else {
        return Ok(None);
    };
    let statement = Statement::from_sql_and_values(DbBackend::Postgres, SQL, [message.into()]);
    let kept = Found::find_by_statement(statement).one(db).await?;
    Ok(kept.map(|kept| kept.id))
}

#[derive(FromQueryResult)]
struct Found {
    id: MessageId,
}

/// The end of the branch that is shown when `message` is: the newest of the messages after it, or itself. Deleted ones
/// are stepped over.
///
/// # Errors
/// As the database fails.
pub async fn newest_leaf(
    db: &impl ConnectionTrait,
    conversation: ConversationId,
    message: MessageId,
) -> Result<MessageId> {
    const SQL: &str = "
        WITH RECURSIVE below AS (
            SELECT id, created_at, deleted_at FROM messages WHERE conversation_id = $1 AND id = $2
            UNION ALL
            SELECT m.id, m.created_at, m.deleted_at FROM below b JOIN messages m
                ON m.conversation_id = $1 AND m.parent_id = b.id AND NOT m.is_gone
        )
        SELECT id FROM below WHERE deleted_at IS NULL ORDER BY created_at DESC, id DESC LIMIT 1";
    let statement = Statement::from_sql_and_values(
        DbBackend::Postgres,
        SQL,
        [conversation.into(), message.into()],
    );
    let leaf = Found::find_by_statement(statement).one(db).await?;
    Ok(leaf.map_or(message, |leaf| leaf.id))
}
