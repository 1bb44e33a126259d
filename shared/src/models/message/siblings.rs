//! Siblings: messages that follow the same one, or answer it. What tools were asked and said for an answer is between it and
//! its question: it is stepped over, belongs to the answer, and has no siblings.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use sea_orm::{ConnectionTrait, DbBackend, FromQueryResult, Statement, Value, entity::prelude::*};

use super::{
    Model, Part, Role,
    exchange::is_exchange,
    list::{Listed, clause, page},
};
use crate::{
    database::Result,
    ids::{ConversationId, MessageId},
};

/// All messages that follow what those with some parents ($3) follow, or that begin the conversation ($1) where $4 says so:
/// up from the parents to what is not of tools, and down again to what is not. Each message is looked up by an index of its
/// own, whatever is thought of the length of the conversation: that is what `OFFSET 0` is for.
const FAMILY: &str = concat!(
    "WITH RECURSIVE up AS (
         SELECT m.id, m.parent_id, ",
    is_exchange!("m."),
    " AS is_exchange
           FROM unnest($3::uuid[]) p(id)
          CROSS JOIN LATERAL (SELECT * FROM messages WHERE id = p.id AND conversation_id = $1 OFFSET 0) m
          UNION
         SELECT m.id, m.parent_id, ",
    is_exchange!("m."),
    "
           FROM up u
          CROSS JOIN LATERAL (SELECT * FROM messages WHERE id = u.parent_id AND conversation_id = $1 OFFSET 0) m
          WHERE u.is_exchange
     ), down AS (
         SELECT m.id, m.parent_id AS above, m.created_at, m.size_bytes, m.deleted_at, ",
    is_exchange!("m."),
    " AS is_exchange
           FROM up u
          CROSS JOIN LATERAL (SELECT * FROM messages WHERE conversation_id = $1 AND parent_id = u.id OFFSET 0) m
          WHERE NOT u.is_exchange
          UNION ALL
         SELECT id, parent_id, created_at, size_bytes, deleted_at, false
           FROM messages WHERE conversation_id = $1 AND parent_id IS NULL AND $4
          UNION ALL
         SELECT m.id, d.above, m.created_at, m.size_bytes, m.deleted_at, ",
    is_exchange!("m."),
    "
           FROM down d
          CROSS JOIN LATERAL (SELECT * FROM messages WHERE conversation_id = $1 AND parent_id = d.id OFFSET 0) m
          WHERE d.is_exchange
     ), family AS (
         SELECT id, above, created_at, size_bytes FROM down WHERE deleted_at IS NULL AND NOT is_exchange
     )"
);

/// Which of its siblings a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Siblings {
    /// 0 for the oldest.
    pub index: u64,
    /// With itself.
    pub count: u64,
}

impl Siblings {
    /// It has none.
    const ALONE: Self = Self { index: 0, count: 1 };
}

#[derive(FromQueryResult)]
struct Sibling {
    id: MessageId,
    index: i64,
    count: i64,
}

impl Model {
    /// Whether it is what tools were asked or said for an answer.
    pub(super) fn is_exchange(&self) -> bool {
        let is_call = |part: &Part| matches!(part, Part::ToolCall { .. });
        match self.role {
            Role::Tool => true,
            Role::Assistant => self.model.is_none() && self.content.0.iter().any(is_call),
            Role::System | Role::User => false,
        }
    }
}

/// Tells of each message which of its siblings it is; deleted ones do not count.
///
/// # Errors
/// As the database fails.
pub async fn count_siblings(
    db: &impl ConnectionTrait,
    conversation: ConversationId,
    messages: &[Model],
) -> Result<HashMap<MessageId, Siblings>> {
    let sql = format!(
        "{FAMILY}
         SELECT id, index, count FROM (
             SELECT id, row_number() OVER (PARTITION BY above ORDER BY created_at, id) - 1 AS index,
                    count(*) OVER (PARTITION BY above) AS count
               FROM family
         ) siblings WHERE id = ANY($2)"
    );
    let (of_tools, said): (Vec<&Model>, Vec<&Model>) = messages
        .iter()
        .filter(|row| row.deleted_at.is_none())
        .partition(|row| row.is_exchange());
    let ids: Vec<Uuid> = said.iter().map(|row| row.id.0).collect();
    let parents: Vec<Uuid> = said
        .iter()
        .filter_map(|row| Some(row.parent_id?.0))
        .collect();
    let has_first = said.iter().any(|row| row.parent_id.is_none());
    let values = [
        conversation.into(),
        ids.into(),
        parents.into(),
        has_first.into(),
    ];
    let statement = Statement::from_sql_and_values(DbBackend::Postgres, sql, values);
    let rows = Sibling::find_by_statement(statement).all(db).await?;
    let counted = rows.into_iter().map(|row| {
        let siblings = Siblings {
            index: row.index.unsigned_abs(),
            count: row.count.unsigned_abs(),
        };
        (row.id, siblings)
    });
    let alone = of_tools.iter().map(|row| (row.id, Siblings::ALONE));
    Ok(counted.chain(alone).collect())
}

/// Lists a message with its siblings, newest first.
///
/// # Errors
/// As the database fails.
pub async fn list_siblings(
    db: &impl ConnectionTrait,
    message: Model,
    before: Option<(DateTime<Utc>, MessageId)>,
    limit: u64,
) -> Result<Listed> {
    if message.is_exchange() {
        let is_shown = before.is_none_or(|before| (message.created_at, message.id) < before);
        return Ok(Listed {
            rows: is_shown.then_some(message).into_iter().collect(),
            has_more: false,
        });
    }
    let sql = format!(
        "{FAMILY}
         SELECT id, size_bytes FROM family {} ORDER BY created_at DESC, id DESC LIMIT $2",
        clause(before.is_some(), "WHERE (created_at, id) < ($5, $6)"),
    );
    let parents: Vec<Uuid> = message.parent_id.iter().map(|id| id.0).collect();
    let mut values = vec![parents.into(), Value::from(message.parent_id.is_none())];
    if let Some((at, id)) = before {
        values.extend([at.into(), Value::from(id)]);
    }
    page(db, message.conversation_id, sql, values, limit).await
}
