//! Reading a conversation from its beginning to its end, a few messages at a time.

use chrono::{DateTime, Utc};
use sea_orm::{
    ConnectionTrait, DbBackend, FromQueryResult, QueryOrder as _, Statement, Value,
    entity::prelude::*,
};

use super::{Column, Entity, Model};
use crate::{
    database::Result,
    ids::{ConversationId, MessageId},
};

/// Which messages are read; deleted ones never are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Selection {
    /// The branch that ends here; all branches where there is none.
    pub leaf: Option<MessageId>,
    /// Only those from this time on.
    pub since: Option<DateTime<Utc>>,
    /// Only those before this time.
    pub until: Option<DateTime<Utc>>,
}

/// A message that will be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromQueryResult)]
pub struct Place {
    /// Which one.
    pub id: MessageId,
    /// Bytes of its texts.
    pub size_bytes: i32,
    /// When it was said.
    pub created_at: DateTime<Utc>,
}

/// Finds at most `limit` messages of a selection, oldest first.
///
/// # Errors
/// As the database fails.
pub async fn outline(
    db: &impl ConnectionTrait,
    conversation: ConversationId,
    selection: Selection,
    limit: u64,
) -> Result<Vec<Place>> {
    let mut values: Vec<Value> = vec![
        conversation.into(),
        i64::try_from(limit).unwrap_or(i64::MAX).into(),
    ];
    let mut next = |value: Value| {
        values.push(value);
        format!("${}", values.len())
    };
    let mut condition = "deleted_at IS NULL".to_owned();
    if let Some(since) = selection.since {
        condition = format!("{condition} AND created_at >= {}", next(since.into()));
    }
    if let Some(until) = selection.until {
        condition = format!("{condition} AND created_at < {}", next(until.into()));
    }
    let sql = if let Some(leaf) = selection.leaf {
        let leaf = next(leaf.into());
        format!(
            "WITH RECURSIVE up AS (
                 SELECT id, parent_id, size_bytes, deleted_at, created_at FROM messages
                  WHERE conversation_id = $1 AND id = {leaf}
                 UNION ALL
                 SELECT m.id, m.parent_id, m.size_bytes, m.deleted_at, m.created_at
                   FROM up u JOIN messages m ON m.id = u.parent_id AND m.conversation_id = $1
             )
             SELECT id, size_bytes, created_at FROM up WHERE {condition} ORDER BY created_at, id LIMIT $2"
        )
    } else {
        format!(
            "SELECT id, size_bytes, created_at FROM messages WHERE conversation_id = $1 AND {condition}
              ORDER BY created_at, id LIMIT $2"
        )
    };
    let statement = Statement::from_sql_and_values(DbBackend::Postgres, sql, values);
    Ok(Place::find_by_statement(statement).all(db).await?)
}

/// Loads messages of an outline, oldest first. Those that were deleted meanwhile are left out.
///
/// # Errors
/// As the database fails.
pub async fn load(
    db: &impl ConnectionTrait,
    conversation: ConversationId,
    places: &[Place],
) -> Result<Vec<Model>> {
    let (Some(first), Some(last)) = (places.first(), places.last()) else {
        return Ok(Vec::new());
    };
    Ok(Entity::find()
        .filter(Column::ConversationId.eq(conversation))
        // Or each call might look at the whole conversation.
        .filter(Column::CreatedAt.between(first.created_at, last.created_at))
        .filter(Column::Id.is_in(places.iter().map(|place| place.id)))
        .filter(Column::DeletedAt.is_null())
        .order_by_asc(Column::CreatedAt)
        .order_by_asc(Column::Id)
        .all(db)
        .await?)
}
