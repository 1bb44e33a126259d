//! Lists of messages, newest first: of the whole tree, and of one branch.

use chrono::{DateTime, Utc};
use sea_orm::{
    ConnectionTrait, DbBackend, FromQueryResult, QueryOrder, Statement, Value, entity::prelude::*,
};

use super::{Column, Content, Entity, Model};
use crate::{
    database::Result,
    ids::{ConversationId, MessageId},
};

/// Bytes of text of one page: a page of a hundred messages of 5 MB would be half a gigabyte.
const PAGE_BYTES: i64 = 8 * 1024 * 1024;

/// A page of messages.
#[derive(Debug, Clone)]
pub struct Listed {
    /// Newest first. A deleted one is there, without its content, while others hang on it.
    pub rows: Vec<Model>,
    /// Whether there are more.
    pub has_more: bool,
}

#[derive(FromQueryResult)]
struct Sized {
    id: MessageId,
    size_bytes: i32,
}

/// Lists all messages of a conversation.
///
/// # Errors
/// As the database fails.
pub async fn list(
    db: &impl ConnectionTrait,
    conversation: ConversationId,
    before: Option<(DateTime<Utc>, MessageId)>,
    limit: u64,
) -> Result<Listed> {
    let sql = format!(
        "SELECT id, CASE WHEN deleted_at IS NULL THEN size_bytes ELSE 0 END AS size_bytes FROM messages
          WHERE conversation_id = $1 AND NOT is_gone {}
          ORDER BY created_at DESC, id DESC LIMIT $2",
        clause(before.is_some(), "AND (created_at, id) < ($3, $4)"),
    );
    let mut values = Vec::new();
    if let Some((at, id)) = before {
        values.extend([at.into(), Value::from(id)]);
    }
    page(db, conversation, sql, values, limit).await
}

/// Lists the branch that ends with `leaf`, or the part of it before a message of the branch.
///
/// # Errors
/// As the database fails.
pub async fn list_branch(
    db: &impl ConnectionTrait,
    conversation: ConversationId,
    leaf: MessageId,
    before: Option<MessageId>,
    limit: u64,
) -> Result<Listed> {
    // Up from the leaf, or from the parent of the last one seen. Deleted ones are stepped over and do not count.
    let sql = format!(
        "WITH RECURSIVE up AS (
             SELECT id, parent_id, size_bytes, deleted_at, created_at, 0::bigint AS shown FROM messages
              WHERE conversation_id = $1 AND id = {}
             UNION ALL
             SELECT m.id, m.parent_id, m.size_bytes, m.deleted_at, m.created_at,
                    u.shown + CASE WHEN u.deleted_at IS NULL THEN 1 ELSE 0 END
               FROM up u JOIN messages m ON m.id = u.parent_id AND m.conversation_id = $1
              WHERE u.shown < $2
         )
         SELECT id, size_bytes FROM up WHERE deleted_at IS NULL ORDER BY created_at DESC, id DESC LIMIT $2",
        if before.is_some() {
            "(SELECT parent_id FROM messages WHERE id = $3 AND conversation_id = $1)"
        } else {
            "$3"
        },
    );
    let from = before.unwrap_or(leaf);
    page(db, conversation, sql, vec![from.into()], limit).await
}

/// A condition that is there or not. With a parameter that may be null, a plan kept for all calls would read
/// everything before the cursor.
pub(super) fn clause(is_there: bool, sql: &'static str) -> &'static str {
    if is_there { sql } else { "" }
}

/// Loads the messages that a statement names, as many as one answer may carry. Its parameters are the conversation,
/// the number of rows, and `values`.
pub(super) async fn page(
    db: &impl ConnectionTrait,
    conversation: ConversationId,
    sql: String,
    values: Vec<Value>,
    limit: u64,
) -> Result<Listed> {
    // One row more tells whether there are more.
    let one_more = i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1);
    let values = [conversation.into(), one_more.into()]
        .into_iter()
        .chain(values);
    let statement = Statement::from_sql_and_values(DbBackend::Postgres, sql, values);
    let sized = Sized::find_by_statement(statement).all(db).await?;
    let asked = usize::try_from(limit).unwrap_or(usize::MAX);
    let mut bytes = 0;
    let ids: Vec<MessageId> = sized
        .iter()
        .take(asked)
        .take_while(|row| {
            let is_first = bytes == 0;
            bytes += i64::from(row.size_bytes) + 1;
            is_first || bytes <= PAGE_BYTES
        })
        .map(|row| row.id)
        .collect();
    let has_more = ids.len() < sized.len();
    let mut rows = Entity::find()
        .filter(Column::ConversationId.eq(conversation))
        .filter(Column::Id.is_in(ids))
        .order_by_desc(Column::CreatedAt)
        .order_by_desc(Column::Id)
        .all(db)
        .await?;
    for row in rows.iter_mut().filter(|row| row.deleted_at.is_some()) {
        row.content = Content::default();
    }
    Ok(Listed { rows, has_more })
}
