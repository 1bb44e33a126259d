//! What tools were asked for an answer, and what they said: messages between the question and the answer, of which the
//! branch consists like of all others.

use chrono::{DateTime, TimeDelta, Utc};
use sea_orm::{
    ActiveValue::Set, ConnectionTrait, DbBackend, FromQueryResult, QuerySelect as _, Statement,
    entity::prelude::*,
};

use super::{
    ActiveModel, Column, Content, Entity, Model, New, Role, Status, get,
    write::{next_time, row},
};
use crate::{
    database::{Error, Result, Tx},
    ids::{ConversationId, MessageId, UserId},
    models::conversation,
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

/// Writes what was said before an answer that is being made, in its branch. All of it is written or nothing: calls are never
/// without their results. None where the answer is gone or has ended, where something follows it already, or where this was
/// written before.
///
/// # Errors
/// As the database fails.
pub async fn add_exchange(
    tx: &mut Tx,
    answer: &Model,
    said: Vec<ToolMessage>,
    now: DateTime<Utc>,
) -> Result<Option<Exchanged>> {
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
    // Nobody else moves it: it was written, and only the news of that was lost.
    let Some(found) = found.filter(|found| found.parent_id == answer.parent_id) else {
        return Ok(None);
    };
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
    let mut written: Vec<Model> = Vec::with_capacity(said.len());
    for one in said {
        let new = New {
            parent: written.last().map_or(found.parent_id, |last| Some(last.id)),
            role: one.role,
            content: one.content,
            token_count: one.token_count,
            client_id: None,
        };
        written.push(row(&conversation, new, at).insert(tx.orm()).await?);
        at += TimeDelta::microseconds(1);
    }
    let Some(last) = written.last() else {
        return Ok(None);
    };
    let version = found.version + 1;
    let mut moved: ActiveModel = found.into();
    moved.parent_id = Set(Some(last.id));
    moved.created_at = Set(at);
    moved.version = Set(version);
    let moved = moved.update(tx.orm()).await?;

    let messages = i64::try_from(written.len()).unwrap_or(i64::MAX);
    let tokens: i64 = written.iter().map(|row| i64::from(row.token_count)).sum();
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
        said: written,
    }))
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
