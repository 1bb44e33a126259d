//! What tools were asked for an answer, and what they said: messages between the question and the answer, of which the
//! branch consists like of all others.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use sea_orm::{
    ActiveValue::Set, ConnectionTrait, DbBackend, FromQueryResult, IntoActiveModel as _,
    QuerySelect as _, Statement, entity::prelude::*,
};

use super::{
    ActiveModel, Column, Content, Entity, Model, New, Role, Status, get,
    write::{next_time, written},
};
use crate::{
    database::{Error, Result, Tx},
    ids::{ConversationId, MessageId, UserId},
    models::{conversation, generation},
};

/// Whether a message is one of these, in SQL. Every answer has a model: it need not be read for this.
macro_rules! is_exchange {
    ($message:literal) => {
        concat!(
            "(",
            $message,
            "role = 'tool' OR ",
            $message,
            "role = 'assistant' AND ",
            $message,
            "model IS NULL AND ",
            $message,
            r#"content @> '[{"type": "toolCall"}]')"#
        )
    };
}

pub(super) use is_exchange;

/// Whether it is none.
pub(super) const IS_NONE: &str = concat!("NOT ", is_exchange!(""));

/// Something that was said between a question and its answer.
#[derive(Debug, Clone)]
pub struct ToolMessage {
    /// Its id, from before it is written: so it is known again where nobody heard that it was.
    pub id: MessageId,
    /// The model, which asks for calls, or a tool.
    pub role: Role,
    /// What was said.
    pub content: Content,
    /// Tokens of role and content, and 4 for the message.
    pub token_count: u32,
}

/// What was written between a question and its answer.
#[derive(Debug, Clone)]
pub struct Exchanged {
    /// The answer, as it stands then.
    pub answer: Model,
    /// What was written before it, oldest first.
    pub said: Vec<Model>,
}

#[derive(FromQueryResult)]
struct Found {
    id: MessageId,
}

/// Writes what was said before an answer that is being made, in its branch, or, where that was written before, what is known
/// of it since. All of it is written or nothing: calls are never without their results. None where the answer is gone or has
/// ended, where another has taken this `making` of it away, or where something follows it already.
///
/// # Errors
/// As the database fails.
pub async fn add_exchange(
    tx: &mut Tx,
    making: Uuid,
    answer: &Model,
    said: Vec<ToolMessage>,
    now: DateTime<Utc>,
) -> Result<Option<Exchanged>> {
    let Some(last) = said.last().map(|last| last.id) else {
        return Ok(None);
    };
    // Before the conversation, as whoever ends an answer does it.
    if !generation::hold(tx, making).await? {
        return Ok(None);
    }
    let (user, conversation) = (answer.user_id, answer.conversation_id);
    let conversation = match conversation::get_for_update(tx, user, conversation).await {
        Ok(conversation) => conversation,
        Err(Error::NotFound(_)) => return Ok(None),
        Err(error) => return Err(error),
    };
    let found = Entity::find_by_id(answer.id)
        .filter(Column::Status.eq(Status::Streaming))
        .filter(Column::DeletedAt.is_null())
        .lock_exclusive()
        .one(tx.orm())
        .await?;
    let Some(found) = found else {
        return Ok(None);
    };
    // Nobody else moves it.
    if found.parent_id == Some(last) {
        let said = renew(tx, conversation, said, now).await?;
        let answer = found;
        return Ok(Some(Exchanged { answer, said }));
    }
    // It gets a later time, and what follows must not be earlier.
    let follows = Entity::find()
        .filter(Column::ConversationId.eq(conversation.id))
        .filter(Column::ParentId.eq(found.id))
        .one(tx.orm())
        .await?;
    if follows.is_some() {
        return Ok(None);
    }
    let mut at = next_time(&conversation, now);
    let mut rows: Vec<Model> = Vec::with_capacity(said.len());
    for one in said {
        let new = New {
            parent: rows.last().map_or(found.parent_id, |last| Some(last.id)),
            role: one.role,
            content: one.content,
            token_count: one.token_count,
            client_id: None,
        };
        let row = written((conversation.id, user), one.id, new, at);
        let row = row.into_active_model().reset_all();
        rows.push(row.insert(tx.orm()).await?);
        at += TimeDelta::microseconds(1);
    }
    let version = found.version + 1;
    let mut moved: ActiveModel = found.into();
    moved.parent_id = Set(Some(last));
    moved.created_at = Set(at);
    moved.version = Set(version);
    let moved = moved.update(tx.orm()).await?;

    let messages = i64::try_from(rows.len()).unwrap_or(i64::MAX);
    let tokens: i64 = rows.iter().map(|row| i64::from(row.token_count)).sum();
    let (count, counted) = (conversation.message_count, conversation.token_count);
    let version = conversation.version + 1;
    let mut counts: conversation::ActiveModel = conversation.into();
    counts.last_message_id = Set(Some(moved.id));
    counts.last_message_at = Set(Some(at));
    counts.message_count = Set(count + messages);
    counts.token_count = Set(counted + tokens);
    counts.version = Set(version);
    counts.updated_at = Set(now);
    counts.update(tx.orm()).await?;
    Ok(Some(Exchanged {
        answer: moved,
        said: rows,
    }))
}

/// Writes what is known by now of messages that were written before. What was deleted meanwhile stays as it is.
async fn renew(
    tx: &mut Tx,
    conversation: conversation::Model,
    said: Vec<ToolMessage>,
    now: DateTime<Utc>,
) -> Result<Vec<Model>> {
    let known = Entity::find()
        .filter(Column::Id.is_in(said.iter().map(|one| one.id)))
        .lock_exclusive()
        .all(tx.orm())
        .await?;
    let mut known: BTreeMap<MessageId, Model> =
        known.into_iter().map(|row| (row.id, row)).collect();
    let mut rows = Vec::with_capacity(said.len());
    let (mut is_changed, mut more) = (false, 0_i64);
    for one in said {
        let Some(row) = known.remove(&one.id) else {
            continue;
        };
        if row.deleted_at.is_some() || row.content == one.content {
            rows.push(row);
            continue;
        }
        is_changed = true;
        let tokens = i32::try_from(one.token_count).unwrap_or(i32::MAX);
        more += i64::from(tokens) - i64::from(row.token_count);
        let version = row.version + 1;
        let mut row: ActiveModel = row.into();
        row.size_bytes = Set(i32::try_from(one.content.size_bytes()).unwrap_or(i32::MAX));
        row.content = Set(one.content);
        row.token_count = Set(tokens);
        row.version = Set(version);
        rows.push(row.update(tx.orm()).await?);
    }
    if is_changed {
        let counted = conversation.token_count + more;
        let version = conversation.version + 1;
        let mut counts: conversation::ActiveModel = conversation.into();
        counts.token_count = Set(counted);
        counts.version = Set(version);
        counts.updated_at = Set(now);
        counts.update(tx.orm()).await?;
    }
    Ok(rows)
}

/// Gets the message that an answer of `user` answers: what tools said in between is stepped over.
///
/// # Errors
/// [`Error::NotFound`] also when it is deleted.
pub async fn get_question(
    db: &impl ConnectionTrait,
    user: UserId,
    answer: &Model,
) -> Result<Model> {
    const SQL: &str = concat!(
        "WITH RECURSIVE up AS (
             SELECT id, parent_id, role, model, content FROM messages WHERE conversation_id = $1 AND id = $2
             UNION ALL
             SELECT m.id, m.parent_id, m.role, m.model, m.content
               FROM up JOIN messages m ON m.conversation_id = $1 AND m.id = up.parent_id
              WHERE ",
        is_exchange!("up."),
        ")
         SELECT id FROM up WHERE NOT ",
        is_exchange!("")
    );
    let Some(parent) = answer.parent_id else {
        return Err(Error::NotFound("message"));
    };
    let values = [answer.conversation_id.into(), parent.into()];
    let statement = Statement::from_sql_and_values(DbBackend::Postgres, SQL, values);
    let found = Found::find_by_statement(statement).one(db).await?;
    let found = found.ok_or(Error::NotFound("message"))?;
    get(db, user, found.id).await
}

/// The messages that an answer to a question may follow: the question, and what tools said after it.
///
/// # Errors
/// As the database fails.
pub(super) async fn below(
    db: &impl ConnectionTrait,
    conversation: ConversationId,
    question: MessageId,
) -> Result<Vec<MessageId>> {
    const SQL: &str = concat!(
        "WITH RECURSIVE down AS (
             SELECT id FROM messages WHERE conversation_id = $1 AND id = $2
             UNION ALL
             SELECT m.id FROM down JOIN messages m ON m.conversation_id = $1 AND m.parent_id = down.id
              WHERE ",
        is_exchange!("m."),
        ")
         SELECT id FROM down"
    );
    let values = [conversation.into(), question.into()];
    let statement = Statement::from_sql_and_values(DbBackend::Postgres, SQL, values);
    let found = Found::find_by_statement(statement).all(db).await?;
    Ok(found.into_iter().map(|found| found.id).collect())
}

/// What was deleted with an answer.
#[derive(Debug, Clone, Copy, Default, FromQueryResult)]
pub(super) struct Deleted {
    /// How many messages.
    pub(super) messages: i64,
    /// Tokens of them.
    pub(super) tokens: i64,
}

/// Deletes what tools were asked and said for a message that is `deleted` now, as far as nothing else hangs on it: from the
/// one `above` it upwards.
///
/// # Errors
/// As the database fails.
pub(super) async fn delete_up(
    tx: &mut Tx,
    (conversation, above): (ConversationId, MessageId),
    deleted: MessageId,
    now: DateTime<Utc>,
) -> Result<Deleted> {
    const SQL: &str = concat!(
        "WITH RECURSIVE up AS (
             SELECT m.id, m.parent_id FROM messages m
              WHERE m.conversation_id = $1 AND m.id = $2 AND ",
        is_exchange!("m."),
        " AND NOT EXISTS (
                        SELECT FROM messages c
                         WHERE c.conversation_id = $1 AND c.parent_id = m.id AND NOT c.is_gone AND c.id <> $3)
             UNION ALL
             SELECT m.id, m.parent_id
               FROM up u JOIN messages m ON m.conversation_id = $1 AND m.id = u.parent_id
              WHERE ",
        is_exchange!("m."),
        " AND NOT EXISTS (
                        SELECT FROM messages c
                         WHERE c.conversation_id = $1 AND c.parent_id = m.id AND NOT c.is_gone AND c.id <> u.id)
         ), gone AS (
             UPDATE messages m SET deleted_at = $4, version = m.version + 1
               FROM up WHERE m.id = up.id AND m.deleted_at IS NULL
             RETURNING m.token_count
         )
         SELECT count(*) AS messages, coalesce(sum(token_count), 0)::bigint AS tokens FROM gone"
    );
    let values = [
        conversation.into(),
        above.into(),
        deleted.into(),
        now.into(),
    ];
    let statement = Statement::from_sql_and_values(DbBackend::Postgres, SQL, values);
    let deleted = Deleted::find_by_statement(statement).one(tx.orm()).await?;
    Ok(deleted.unwrap_or_default())
}
