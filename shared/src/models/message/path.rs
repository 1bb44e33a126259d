//! The way from a message up to the beginning of its branch, as far as a model may be shown of it.

use std::collections::HashMap;

use sea_orm::{ConnectionTrait, DbBackend, FromQueryResult, Statement, entity::prelude::*};

use super::{Column, Entity, Model, exchange::is_exchange};
use crate::{
    database::Result,
    ids::{ConversationId, MessageId},
};

/// Whether a message says something to a model, with tools and without. Answers of which nothing was said say nothing.
const SAYS: &str = concat!(
    "(m.deleted_at IS NULL AND (m.size_bytes > 0 OR m.content <> '[]') AND NOT ",
    is_exchange!("m."),
    ")"
);
/// What it is to a model ([`Kind`]); calls of tools and their results are something to a model that has tools.
const KIND: &str = concat!(
    "CASE WHEN m.deleted_at IS NOT NULL THEN 'nothing' WHEN ",
    is_exchange!("m."),
    " THEN 'of_tools' WHEN m.size_bytes = 0 AND m.content = '[]' THEN 'nothing'
      WHEN m.role = 'assistant' THEN 'answer' ELSE 'said' END"
);
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
    /// What was asked of tools for answers among them, and what they said, newest first, by the answer. It goes with the
    /// answer, and not where that says nothing.
    pub exchanges: HashMap<MessageId, Vec<Step>>,
    /// The newest of them with which a summary ends: its place in `steps`, and its id.
    pub anchor: Option<(usize, MessageId)>,
    /// Whether one of them is being said, and is not yet what it will be.
    pub is_streaming: bool,
    /// Whether the way was too long, and there are more messages before.
    pub is_cut: bool,
}

/// What a message on the way is to a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumIter, DeriveActiveEnum)]
#[sea_orm(rs_type = "String", db_type = "Text")]
enum Kind {
    /// It says something, and is no answer.
    #[sea_orm(string_value = "said")]
    Said,
    /// An answer that says something.
    #[sea_orm(string_value = "answer")]
    Answer,
    /// What was asked of tools, or what one said.
    #[sea_orm(string_value = "of_tools")]
    OfTools,
    /// Nothing.
    #[sea_orm(string_value = "nothing")]
    Nothing,
}

#[derive(FromQueryResult)]
struct Found {
    id: MessageId,
    parent_id: Option<MessageId>,
    token_count: i32,
    kind: Kind,
    is_streaming: bool,
    is_anchor: bool,
    depth: i64,
}

/// Climbs up from `leaf`, itself included, until `most` messages were seen and all before them is summarised, or to the
/// beginning, or for 5,000 messages. Deleted messages are stepped over, and what is of tools does not count. Whose
/// conversation it is was checked before.
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
             SELECT m.id, m.parent_id, m.token_count, m.status = 'streaming' AS is_streaming, {KIND} AS kind,
                    {IS_ANCHOR} AS is_anchor, {IS_ANCHOR} AS is_told, {SAYS}::int::bigint AS seen, 0::bigint AS depth
               FROM messages m WHERE m.conversation_id = $1 AND m.id = $2
              UNION ALL
             SELECT m.id, m.parent_id, m.token_count, m.status = 'streaming', {KIND},
                    {IS_ANCHOR}, u.is_told OR {IS_ANCHOR}, u.seen + {SAYS}::int, u.depth + 1
               FROM up u JOIN messages m ON m.id = u.parent_id AND m.conversation_id = $1
              WHERE u.depth < $4 AND (u.seen < $3 OR NOT u.is_told)
         )
         SELECT id, parent_id, token_count, kind, is_streaming, is_anchor, depth
           FROM up WHERE kind <> 'nothing' OR is_streaming OR depth = $4 ORDER BY depth"
    );
    let values = [
        conversation.into(),
        leaf.into(),
        i64::from(most).into(),
        LONGEST_WAY.into(),
    ];
    let statement = Statement::from_sql_and_values(DbBackend::Postgres, sql, values);
    let mut climbed = Climbed::default();
    // An answer, and the message from which on what is above may be what tools said for it.
    let mut above: Option<(MessageId, MessageId)> = None;
    for found in Found::find_by_statement(statement).all(db).await? {
        climbed.is_streaming |= found.is_streaming;
        climbed.is_cut |= found.depth == LONGEST_WAY && found.parent_id.is_some();
        let step = Step {
            id: found.id,
            token_count: found.token_count,
        };
        if found.kind == Kind::Nothing {
            continue;
        }
        if found.kind == Kind::OfTools {
            let answer = above.filter(|(_, next)| *next == found.id);
            above = answer.and_then(|(answer, _)| Some((answer, found.parent_id?)));
            if let Some((answer, _)) = answer {
                climbed.exchanges.entry(answer).or_default().push(step);
            }
            continue;
        }
        let next = found.parent_id.filter(|_| found.kind == Kind::Answer);
        above = next.map(|next| (found.id, next));
        if found.is_anchor && climbed.anchor.is_none() {
            climbed.anchor = Some((climbed.steps.len(), found.id));
        }
        climbed.steps.push(step);
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
