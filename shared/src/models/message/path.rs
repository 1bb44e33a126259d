//! The way from a message up to the beginning of its branch, as far as a model may be shown of it.

use std::collections::HashMap;

use sea_orm::{ConnectionTrait, DbBackend, FromQueryResult, Statement, entity::prelude::*};

use super::{Column, Entity, Model};
use crate::{
    database::Result,
    ids::{ConversationId, MessageId},
};

/// Whether a message says something to a model. What tools said, and answers of which nothing was said, say nothing.
const SAYS: &str =
    "(m.deleted_at IS NULL AND m.role <> 'tool' AND (m.size_bytes > 0 OR m.content <> '[]'))";
/// Whether a summary ends with a message.
const IS_ANCHOR: &str =
    "EXISTS (SELECT FROM summaries s WHERE s.conversation_id = $1 AND s.anchor_id = m.id)";

/// How far is climbed, in messages: each takes some microseconds, and a question must not wait for tens of thousands.
const LONGEST_WAY: i64 = 5_000;

/// A message on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// Which one.
    pub id: MessageId,
    /// Tokens of role and content, and 4 for the message.
    pub token_count: i32,
}

/// The way up from a message.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Climbed {
    /// Messages that say something, newest first: at least as many as were asked for, if there are on this way.
    pub steps: Vec<Step>,
    /// The newest of them with which a summary ends: its place in `steps`, and its id.
    pub anchor: Option<(usize, MessageId)>,
    /// Whether one of them is being said, and is not yet what it will be.
    pub is_streaming: bool,
    /// Whether the way was too long, and there are more messages before.
    pub is_cut: bool,
}

#[derive(FromQueryResult)]
struct Found {
    id: MessageId,
    token_count: i32,
    says: bool,
    is_streaming: bool,
    is_anchor: bool,
    parent_id: Option<MessageId>,
    depth: i64,
}

/// Climbs up from `leaf`, itself included, until `most` messages were seen and all before them is summarised, or to the
/// beginning, or for 5,000 messages. Deleted messages are stepped over. Whose conversation it is was checked before.
///
/// # Errors
/// As the database fails.
pub async fn climb(
    db: &impl ConnectionTrait,
    conversation: ConversationId,
    leaf: MessageId,
    most: u32,
) -> Result<Climbed> {
    let sql = format!(
        "WITH RECURSIVE up AS (
             SELECT m.id, m.parent_id, m.token_count, m.status = 'streaming' AS is_streaming, {SAYS} AS says,
                    {IS_ANCHOR} AS is_anchor, {IS_ANCHOR} AS is_told, {SAYS}::int::bigint AS seen, 0::bigint AS depth
               FROM messages m WHERE m.conversation_id = $1 AND m.id = $2
              UNION ALL
             SELECT m.id, m.parent_id, m.token_count, m.status = 'streaming', {SAYS},
                    {IS_ANCHOR}, u.is_told OR {IS_ANCHOR}, u.seen + {SAYS}::int, u.depth + 1
               FROM up u JOIN messages m ON m.id = u.parent_id AND m.conversation_id = $1
              WHERE u.depth < $4 AND (u.seen < $3 OR NOT u.is_told)
         )
         SELECT id, token_count, says, is_streaming, is_anchor, parent_id, depth
           FROM up WHERE says OR is_streaming OR depth = $4 ORDER BY depth"
    );
    let values = [
        conversation.into(),
        leaf.into(),
        i64::from(most).into(),
        LONGEST_WAY.into(),
    ];
    let statement = Statement::from_sql_and_values(DbBackend::Postgres, sql, values);
    let mut climbed = Climbed::default();
    for found in Found::find_by_statement(statement).all(db).await? {
        climbed.is_streaming |= found.is_streaming;
        climbed.is_cut |= found.depth == LONGEST_WAY && found.parent_id.is_some();
        if !found.says {
            continue;
        }
        if found.is_anchor && climbed.anchor.is_none() {
            climbed.anchor = Some((climbed.steps.len(), found.id));
        }
        climbed.steps.push(Step {
            id: found.id,
            token_count: found.token_count,
        });
    }
    Ok(climbed)
}

/// Loads messages of a conversation by their ids; those that were deleted meanwhile are left out.
///
/// # Errors
/// As the database fails.
pub async fn find_said(
    db: &impl ConnectionTrait,
    conversation: ConversationId,
    ids: &[MessageId],
) -> Result<HashMap<MessageId, Model>> {
    let rows = Entity::find()
        .filter(Column::ConversationId.eq(conversation))
        .filter(Column::Id.is_in(ids.iter().copied()))
        .filter(Column::DeletedAt.is_null())
        .all(db)
        .await?;
    Ok(rows.into_iter().map(|row| (row.id, row)).collect())
}

/// Finds a message for a job, deleted or not, whose right to it was checked when it was made.
///
/// # Errors
/// As the database fails.
pub async fn find_for_any_user(db: &impl ConnectionTrait, id: MessageId) -> Result<Option<Model>> {
    Ok(Entity::find_by_id(id).one(db).await?)
}
