//! Answers that are being made: by which instance, until when it must say that it still does, and what was said so far.
//!
//! The text is here and not in its message until the end: a message that changes is indexed anew for the search. Whoever
//! takes the row away ends the answer, so it ends once, whether by who makes it or by who finds that nobody does.

use chrono::{DateTime, Utc};
use sea_orm::{
    ActiveValue::Set, ConnectionTrait, DbBackend, FromJsonQueryResult, FromQueryResult, Statement,
    entity::prelude::*,
};
use serde::{Deserialize, Serialize};

use crate::{
    database::{Result, Tx},
    ids::{ConversationId, MessageId, UserId},
    models::usage::Attempt,
};

/// How long an instance may be silent before its answers are held for interrupted, in SQL. It is heard of several times
/// a second.
const LEASE: &str = "interval '2500 milliseconds'";

/// What was asked of providers for an answer: those that failed, and last the one that is asked now.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, FromJsonQueryResult)]
#[serde(transparent)]
pub struct Attempts(pub Vec<Attempt>);

/// A row of `generations`.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "generations")]
pub struct Model {
    /// The message that is being made.
    #[sea_orm(primary_key, auto_increment = false)]
    pub message_id: MessageId,
    /// Where it is said.
    pub conversation_id: ConversationId,
    /// Whose it is.
    pub user_id: UserId,
    /// Who makes it.
    pub instance: Uuid,
    /// When it is held for interrupted.
    pub lease_until: DateTime<Utc>,
    /// When somebody asked to stop it.
    pub cancel_requested_at: Option<DateTime<Utc>>,
    /// What was said so far.
    pub text: String,
    /// Bytes of it that were said before it was asked to go on.
    pub begun_bytes: i32,
    /// What was asked for it.
    #[sea_orm(column_type = "JsonBinary")]
    pub attempts: Attempts,
    /// When it was begun.
    pub started_at: DateTime<Utc>,
}

/// None that the queries need.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// An answer to begin.
#[derive(Debug, Clone)]
pub struct New {
    /// The message that will be made.
    pub message: MessageId,
    /// Where it is said.
    pub conversation: ConversationId,
    /// Whose it is.
    pub user: UserId,
    /// Who makes it.
    pub instance: Uuid,
    /// What was said before.
    pub text: String,
    /// What is asked for it first.
    pub attempts: Vec<Attempt>,
}

/// An answer whose lease was renewed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromQueryResult)]
pub struct Kept {
    /// Which one.
    pub message_id: MessageId,
    /// Whether somebody asked to stop it.
    pub is_cancelled: bool,
}

/// Begins an answer, with its lease: by the database's clock, whoever looks at it.
///
/// # Errors
/// As the database fails.
pub async fn begin(tx: &mut Tx, new: New, now: DateTime<Utc>) -> Result<()> {
    let sql = format!(
        "INSERT INTO generations
                (message_id, conversation_id, user_id, instance, lease_until, text, begun_bytes, attempts,
                 started_at)
         VALUES ($1, $2, $3, $4, job_now() + {LEASE}, $5, octet_length($5), $6, $7)"
    );
    let values = [
        new.message.into(),
        new.conversation.into(),
        new.user.into(),
        new.instance.into(),
        new.text.into(),
        Attempts(new.attempts).into(),
        now.into(),
    ];
    let statement = Statement::from_sql_and_values(DbBackend::Postgres, sql, values);
    tx.orm().execute_raw(statement).await?;
    Ok(())
}

/// What is to be stored of an answer.
#[derive(Debug, Clone)]
pub struct Unsaved {
    /// Which one.
    pub message: MessageId,
    /// Everything that was said of it.
    pub text: String,
    /// What was asked of providers for it, if that has changed.
    pub attempts: Option<Vec<Attempt>>,
}

/// Says that an instance still makes answers, and stores what was said and asked since; tells which are still its own.
///
/// # Errors
/// As the database fails.
pub async fn keep(
    db: &impl ConnectionTrait,
    instance: Uuid,
    own: &[MessageId],
    unsaved: &[Unsaved],
) -> Result<Vec<Kept>> {
    let sql = format!(
        "UPDATE generations g
            SET lease_until = job_now() + {LEASE},
                text = coalesce(said.text, g.text),
                attempts = coalesce(nullif(said.attempts, '')::jsonb, g.attempts)
           FROM unnest($2::uuid[]) own(id)
           LEFT JOIN unnest($3::uuid[], $4::text[], $5::text[]) said(id, text, attempts) ON said.id = own.id
          WHERE g.message_id = own.id AND g.instance = $1
        RETURNING g.message_id, g.cancel_requested_at IS NOT NULL AS is_cancelled"
    );
    let json =
        |attempts: &Vec<Attempt>| serde_json::to_string(attempts).expect("attempts are plain data");
    let own: Vec<Uuid> = own.iter().map(|id| id.0).collect();
    let ids: Vec<Uuid> = unsaved.iter().map(|one| one.message.0).collect();
    let texts: Vec<String> = unsaved.iter().map(|one| one.text.clone()).collect();
    let attempts: Vec<String> = unsaved
        .iter()
        .map(|one| one.attempts.as_ref().map(json).unwrap_or_default())
        .collect();
    let values = [
        instance.into(),
        own.into(),
        ids.into(),
        texts.into(),
        attempts.into(),
    ];
    let statement = Statement::from_sql_and_values(DbBackend::Postgres, sql, values);
    Ok(Kept::find_by_statement(statement).all(db).await?)
}

/// Finds the answer of `user` that is being made.
///
/// # Errors
/// As the database fails.
pub async fn find(
    db: &impl ConnectionTrait,
    user: UserId,
    message: MessageId,
) -> Result<Option<Model>> {
    Ok(Entity::find_by_id(message)
        .filter(Column::UserId.eq(user))
        .one(db)
        .await?)
}

/// Asks whoever makes an answer of `user` to stop; tells whether anybody does.
///
/// # Errors
/// As the database fails.
pub async fn request_cancel(
    db: &impl ConnectionTrait,
    user: UserId,
    message: MessageId,
    now: DateTime<Utc>,
) -> Result<bool> {
    let asked = Entity::update_many()
        .set(ActiveModel {
            cancel_requested_at: Set(Some(now)),
            ..Default::default()
        })
        .filter(Column::MessageId.eq(message))
        .filter(Column::UserId.eq(user))
        .exec(db)
        .await?;
    Ok(asked.rows_affected > 0)
}

/// Takes an answer to end it; none where another has done so.
///
/// # Errors
/// As the database fails.
pub async fn take(tx: &mut Tx, message: MessageId, instance: Uuid) -> Result<Option<Model>> {
    let sql = "DELETE FROM generations WHERE message_id = $1 AND instance = $2 RETURNING *";
    let values = [message.into(), instance.into()];
    let statement = Statement::from_sql_and_values(DbBackend::Postgres, sql, values);
    Ok(Entity::find().from_raw_sql(statement).one(tx.orm()).await?)
}

/// Takes an answer whose instance has not been heard of in time.
///
/// # Errors
/// As the database fails.
pub async fn take_abandoned(tx: &mut Tx) -> Result<Option<Model>> {
    let sql = "
        DELETE FROM generations WHERE message_id = (
            SELECT message_id FROM generations WHERE lease_until < job_now()
             ORDER BY lease_until LIMIT 1 FOR UPDATE SKIP LOCKED)
        RETURNING *";
    let statement = Statement::from_string(DbBackend::Postgres, sql);
    Ok(Entity::find().from_raw_sql(statement).one(tx.orm()).await?)
}
