//! Answers of models: they are begun before a word is said, and ended once.

use chrono::{DateTime, TimeDelta, Utc};
use sea_orm::{
    ActiveValue::Set, ConnectionTrait, DbBackend, QueryOrder as _, QuerySelect as _, Statement,
    entity::prelude::*,
};

use super::{
    ActiveModel, Column, Content, Entity, Failure, Figures, Model, New, Rating, Role, Status,
    exchange,
    write::{count, insert, next_time, row},
};
use crate::{
    database::{Error, Refusal, Result, Tx},
    events::{self, Event, MessageSummary},
    ids::{ConversationId, MessageId, UserId},
    models::{conversation, event, summary},
};

/// In `finish_reason` of an answer that is being made: tools may be called for it. No answer has a reason before its end, so
/// there it says nothing else.
pub(in crate::models) const WITH_TOOLS: &str = "tools";

/// What is answered.
#[derive(Debug, Clone)]
pub enum Asked {
    /// A message that is written now.
    New(New),
    /// One that is there.
    Known(MessageId),
}

/// An answer to begin.
#[derive(Debug, Clone)]
pub struct NewAnswer {
    /// The model that gives it.
    pub model: String,
    /// Who has the model, as far as that is known.
    pub provider: Option<String>,
    /// Whether tools may be called for it. Then nothing may follow it before its end.
    pub with_tools: bool,
}

impl NewAnswer {
    /// What is in the place of its reason until its end.
    fn mark(&self) -> Option<String> {
        self.with_tools.then(|| WITH_TOOLS.to_owned())
    }
}

/// How an answer ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Ended {
    /// Anything but streaming.
    pub status: Status,
    /// Everything that was said.
    pub text: String,
    /// Tokens of role and text, and 4 for the message.
    pub token_count: u32,
    /// Who said it.
    pub provider: Option<String>,
    /// Why the model stopped.
    pub finish_reason: Option<String>,
    /// Why it could not be made to its end.
    pub error: Option<Failure>,
    /// What it was made of, and what it cost.
    pub figures: Option<Figures>,
}

/// Begins an answer in a conversation whose row is locked, with the message that it answers where that is new.
///
/// # Errors
/// [`Refusal::ConversationArchived`], and as the database fails.
pub async fn begin_answer(
    tx: &mut Tx,
    conversation: conversation::Model,
    asked: Asked,
    answer: NewAnswer,
    now: DateTime<Utc>,
) -> Result<(Option<Model>, Model)> {
    if conversation.archived_at.is_some() {
        return Err(Refusal::ConversationArchived.into());
    }
    let at = next_time(&conversation, now);
    let (question, parent, at) = match asked {
        Asked::New(new) => {
            let question = insert(tx, &conversation, new, at).await?;
            let id = question.id;
            (Some(question), id, at + TimeDelta::microseconds(1))
        }
        Asked::Known(id) => (None, id, at),
    };
    let mut begun = row(&conversation, New::answer(parent), at);
    begun.status = Set(Status::Streaming);
    begun.finish_reason = Set(answer.mark());
    begun.model = Set(Some(answer.model));
    begun.provider = Set(answer.provider);
    let begun = begun.insert(tx.orm()).await?;
    let rows: Vec<&Model> = question.iter().chain([&begun]).collect();
    count(tx, conversation, &rows, now).await?;
    Ok((question, begun))
}

/// Begins to go on with an answer, in a conversation whose row is locked.
///
/// # Errors
/// [`Refusal::ConversationArchived`], [`Refusal::MessageNotContinuable`], and as the database fails.
pub async fn begin_again(
    tx: &mut Tx,
    conversation: &conversation::Model,
    message: Model,
    answer: NewAnswer,
) -> Result<Model> {
    if conversation.archived_at.is_some() {
        return Err(Refusal::ConversationArchived.into());
    }
    let is_unfinished = match message.status {
        Status::Streaming => false,
        Status::Completed => message.finish_reason.as_deref() == Some("length"),
        Status::Interrupted | Status::Failed | Status::Cancelled => true,
    };
    if message.role != Role::Assistant || !is_unfinished {
        return Err(Refusal::MessageNotContinuable.into());
    }
    let version = message.version + 1;
    let mut row: ActiveModel = message.into();
    row.status = Set(Status::Streaming);
    row.finish_reason = Set(answer.mark());
    row.model = Set(Some(answer.model));
    row.provider = Set(answer.provider);
    row.error = Set(None);
    row.version = Set(version);
    let row = row.update(tx.orm()).await?;
    // From now on it is not what it was.
    summary::forget(tx, conversation.id, row.id).await?;
    Ok(row)
}

/// Checks that something may follow a message, in a conversation whose row is locked. An answer for which tools are called
/// moves behind what they say, so what follows it would be in the way.
///
/// # Errors
/// [`Refusal::AnswerInProgress`], and as the database fails.
pub async fn check_followed(
    tx: &mut Tx,
    conversation: ConversationId,
    parent: MessageId,
) -> Result<()> {
    let making = Entity::find_by_id(parent)
        .filter(Column::ConversationId.eq(conversation))
        .filter(Column::Status.eq(Status::Streaming))
        .filter(Column::FinishReason.eq(WITH_TOOLS))
        .filter(Column::DeletedAt.is_null())
        .one(tx.orm())
        .await?;
    match making {
        Some(_) => Err(Refusal::AnswerInProgress.into()),
        None => Ok(()),
    }
}

/// Ends an answer, whose generation this transaction has taken; none where it is gone with its conversation.
///
/// # Errors
/// As the database fails.
pub async fn end_answer(
    tx: &mut Tx,
    user: UserId,
    conversation: ConversationId,
    id: MessageId,
    ended: Ended,
    now: DateTime<Utc>,
) -> Result<Option<Model>> {
    let conversation = match conversation::get_for_update(tx, user, conversation).await {
        Ok(conversation) => conversation,
        // It is being deleted, and the message with it.
        Err(Error::NotFound(_)) => return Ok(None),
        Err(error) => return Err(error),
    };
    let message = Entity::find_by_id(id)
        .lock_exclusive()
        .one(tx.orm())
        .await?;
    let Some(message) = message else {
        return Ok(None);
    };
    let (version, before) = (message.version + 1, message.token_count);
    let tokens = i32::try_from(ended.token_count).unwrap_or(i32::MAX);
    let content = Content::of_text(ended.text);
    let is_shown = message.deleted_at.is_none();
    let mut row: ActiveModel = message.into();
    row.size_bytes = Set(i32::try_from(content.size_bytes()).unwrap_or(i32::MAX));
    row.content = Set(content);
    row.token_count = Set(tokens);
    row.status = Set(ended.status);
    row.finish_reason = Set(ended.finish_reason);
    row.error = Set(ended.error);
    if ended.figures.is_some() {
        row.figures = Set(ended.figures);
    }
    if ended.provider.is_some() {
        row.provider = Set(ended.provider);
    }
    row.version = Set(version);
    let row = row.update(tx.orm()).await?;
    if is_shown {
        let counted = conversation.token_count + i64::from(tokens) - i64::from(before);
        let version = conversation.version + 1;
        let mut conversation: conversation::ActiveModel = conversation.into();
        conversation.token_count = Set(counted);
        conversation.version = Set(version);
        conversation.updated_at = Set(now);
        conversation.update(tx.orm()).await?;
    }
    events::emit(tx, row.user_id, &told_of(&row), now).await?;
    if !is_shown {
        event::withdraw(tx, row.user_id, &[row.conversation_id.0], row.id.0).await?;
    }
    Ok(Some(row))
}

/// What is told of an answer that has ended.
pub(in crate::models) fn told_of(answer: &Model) -> Event {
    let summary = MessageSummary::from(answer);
    match answer.status {
        Status::Failed | Status::Interrupted => Event::MessageFailed(summary),
        Status::Streaming | Status::Completed | Status::Cancelled => {
            Event::MessageCompleted(summary)
        }
    }
}

/// Keeps others from writing a message of `user` under the same id of its client until the transaction ends.
///
/// # Errors
/// As the database fails.
pub async fn hold_client_id(tx: &mut Tx, user: UserId, client_id: &str) -> Result<()> {
    const SQL: &str = "SELECT pg_advisory_xact_lock(hashtextextended($1::text || ':' || $2, 0))";
    let values = [user.into(), client_id.into()];
    let statement = Statement::from_sql_and_values(DbBackend::Postgres, SQL, values);
    tx.orm().execute_raw(statement).await?;
    Ok(())
}

/// Finds the message of `user` to which its client gave an id, in a conversation or, where that is not known, in any.
///
/// # Errors
/// As the database fails.
pub async fn find_sent(
    db: &impl ConnectionTrait,
    user: UserId,
    conversation: Option<ConversationId>,
    client_id: &str,
) -> Result<Option<Model>> {
    let mut found = Entity::find()
        .filter(Column::UserId.eq(user))
        .filter(Column::ClientId.eq(client_id))
        .order_by_asc(Column::CreatedAt)
        .limit(1);
    match conversation {
        Some(conversation) => found = found.filter(Column::ConversationId.eq(conversation)),
        // Then it began one, which is still there.
        None => {
            found = found.filter(Column::ParentId.is_null()).filter(Expr::cust(
                "EXISTS (SELECT FROM conversations c WHERE c.id = messages.conversation_id AND c.deleted_at IS NULL)",
            ));
        }
    }
    Ok(found.one(db).await?)
}

/// Finds the first answer to a message, whatever tools said before it; one that failed before a word was said only where
/// there is no other.
///
/// # Errors
/// As the database fails.
pub async fn find_answer(
    db: &impl ConnectionTrait,
    conversation: ConversationId,
    question: MessageId,
) -> Result<Option<Model>> {
    let above = exchange::below(db, conversation, question).await?;
    Ok(Entity::find()
        .filter(Column::ConversationId.eq(conversation))
        .filter(Column::ParentId.is_in(above))
        .filter(Column::Role.eq(Role::Assistant))
        .filter(Expr::cust(exchange::IS_NONE))
        .filter(Column::DeletedAt.is_null())
        .order_by_asc(Expr::cust(
            "status IN ('failed', 'interrupted') AND size_bytes = 0",
        ))
        .order_by_asc(Column::CreatedAt)
        .one(db)
        .await?)
}

/// Keeps what a reader thinks of an answer; none takes it back.
///
/// # Errors
/// [`Refusal::MessageNotRatable`], and as the database fails.
pub async fn rate(
    tx: &mut Tx,
    message: Model,
    rating: Option<(Rating, Option<String>)>,
) -> Result<Model> {
    if message.role != Role::Assistant {
        return Err(Refusal::MessageNotRatable.into());
    }
    let (rating, reason) = match rating {
        Some((rating, reason)) => (Some(rating), reason),
        None => (None, None),
    };
    if message.rating == rating && message.rating_reason == reason {
        return Ok(message);
    }
    let version = message.version + 1;
    let mut row: ActiveModel = message.into();
    row.rating = Set(rating);
    row.rating_reason = Set(reason);
    row.version = Set(version);
    Ok(row.update(tx.orm()).await?)
}
