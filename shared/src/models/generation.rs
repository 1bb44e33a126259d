//! Answers that are being made: by which instance, until when it must say that it still does, and what was said so far.
//!
//! The text is here and not in its message until the end: a message that changes is indexed anew for the search. Whoever
//! takes the row away ends the answer, so it ends once, whether by who makes it or by who finds that nobody does.
//!
//! What is answered without being kept (`OpenAI`'s surface) has a row too, with an id of a message that is never there and
//! without a conversation: so it is accounted for whatever becomes of its instance.

use chrono::{DateTime, Utc};
use sea_orm::{
    ActiveValue::Set, ConnectionTrait, DbBackend, FromJsonQueryResult, FromQueryResult, Statement,
    entity::prelude::*,
};
use serde::{Deserialize, Serialize};

use crate::{
    database::{Result, Tx},
    ids::{ConversationId, MessageId, UserId},
    models::usage::{Attempt, Kind},
};

/// How long an instance may be silent before its answers are held for interrupted, in SQL. It is heard of several times
/// a second.
/// It counts from the engine's time, also late in a transaction that has waited for a lock.
pub(super) const LEASE_UNTIL: &str =
    "job_now() + (clock_timestamp() - now()) + interval '2500 milliseconds'";

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
    /// This making of it: an answer that is gone on with is made again.
    pub id: Uuid,
    /// Where it is said; none where it is kept nowhere.
    pub conversation_id: Option<ConversationId>,
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
    /// What is asked for.
    pub kind: Kind,
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
    /// This making of it.
    pub id: Uuid,
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

/// An answer to begin that nobody keeps.
#[derive(Debug, Clone)]
pub struct NewUnkept {
    /// By which it is known; there is no such message.
    pub message: MessageId,
    /// This making of it.
    pub id: Uuid,
    /// On whose behalf.
    pub user: UserId,
    /// Who makes it.
    pub instance: Uuid,
    /// What is asked for.
    pub kind: Kind,
    /// What is asked for it first.
    pub attempts: Vec<Attempt>,
}

/// An answer whose lease was renewed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromQueryResult)]
pub struct Kept {
    /// Which making.
    pub id: Uuid,
    /// Whether somebody asked to stop it.
    pub is_cancelled: bool,
    /// Whether its lease was renewed and its text stored; else somebody else has locked it.
    pub is_kept: bool,
}

/// Begins an answer, with its lease: by the database's clock, whoever looks at it.
///
/// # Errors
/// As the database fails.
pub async fn begin(tx: &mut Tx, new: New, now: DateTime<Utc>) -> Result<()> {
    let sql = format!(
        "INSERT INTO generations
                (message_id, id, conversation_id, user_id, instance, lease_until, text, begun_bytes, attempts,
                 started_at)
         VALUES ($1, $2, $3, $4, $5, {LEASE_UNTIL}, $6, octet_length($6), $7, $8)"
    );
    let values = [
        new.message.into(),
        new.id.into(),
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

/// Begins an answer that nobody keeps. That does not wait for the disk: it survives the end of the instance, which is what it
/// is for; with Postgres itself the call of the provider may be in no ledger.
///
/// # Errors
/// As the database fails.
pub async fn begin_unkept(
    db: &impl ConnectionTrait,
    new: NewUnkept,
    now: DateTime<Utc>,
) -> Result<()> {
    let sql = format!(
        "INSERT INTO generations
                (message_id, id, user_id, instance, lease_until, text, begun_bytes, attempts, started_at, kind)
         SELECT $1, $2, $3, $4, {LEASE_UNTIL}, '', 0, $5, $6, $7
          WHERE set_config('synchronous_commit', 'off', true) = 'off'"
    );
    let values = [
        new.message.into(),
        new.id.into(),
        new.user.into(),
        new.instance.into(),
        Attempts(new.attempts).into(),
        now.into(),
        new.kind.into(),
    ];
    let statement = Statement::from_sql_and_values(DbBackend::Postgres, sql, values);
    db.execute_raw(statement).await?;
    Ok(())
}

/// What is to be stored of an answer.
#[derive(Debug, Clone)]
pub struct Unsaved {
    /// Which making.
    pub id: Uuid,
    /// Everything that was said of it.
    pub text: String,
    /// What was asked of providers for it, if that has changed.
    pub attempts: Option<Vec<Attempt>>,
}

/// Says that answers are still made, and stores what was said and asked since; tells which of them are still there.
///
/// A row that somebody has locked is about to end, and needs nothing more.
///
/// # Errors
/// As the database fails.
pub async fn keep(
    db: &impl ConnectionTrait,
    own: &[Uuid],
    unsaved: &[Unsaved],
) -> Result<Vec<Kept>> {
    let sql = format!(
        "WITH free AS (SELECT id FROM generations WHERE id = ANY($1) FOR NO KEY UPDATE SKIP LOCKED),
              kept AS (
                  UPDATE generations g
                     SET lease_until = {LEASE_UNTIL},
                         text = coalesce(said.text, g.text),
                         attempts = coalesce(nullif(said.attempts, '')::jsonb, g.attempts)
                    FROM free
                    LEFT JOIN unnest($2::uuid[], $3::text[], $4::text[]) said(id, text, attempts) ON said.id = free.id
                   WHERE g.id = free.id)
         SELECT id, cancel_requested_at IS NOT NULL AS is_cancelled, id IN (SELECT id FROM free) AS is_kept
           FROM generations WHERE id = ANY($1)"
    );
    let json =
        |attempts: &Vec<Attempt>| serde_json::to_string(attempts).expect("attempts are plain data");
    let ids: Vec<Uuid> = unsaved.iter().map(|one| one.id).collect();
    let texts: Vec<String> = unsaved.iter().map(|one| one.text.clone()).collect();
    let attempts: Vec<String> = unsaved
        .iter()
        .map(|one| one.attempts.as_ref().map(json).unwrap_or_default())
        .collect();
    let values = [
        own.to_vec().into(),
        ids.into(),
        texts.into(),
        attempts.into(),
    ];
    let statement = Statement::from_sql_and_values(DbBackend::Postgres, sql, values);
    Ok(Kept::find_by_statement(statement).all(db).await?)
}

/// Notes what is asked of providers.
///
/// # Errors
/// As the database fails.
pub async fn note(db: &impl ConnectionTrait, id: Uuid, attempts: &[Attempt]) -> Result<()> {
    Entity::update_many()
        .set(ActiveModel {
            attempts: Set(Attempts(attempts.to_vec())),
            ..Default::default()
        })
        .filter(Column::Id.eq(id))
        .exec(db)
        .await?;
    Ok(())
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

/// Asks whoever makes answers of `user` to stop: a message, all of a conversation, or all. Tells which ones are made.
///
/// # Errors
/// As the database fails.
pub async fn request_cancel(
    db: &impl ConnectionTrait,
    user: UserId,
    what: Stopped,
    now: DateTime<Utc>,
) -> Result<Vec<MessageId>> {
    let what = match what {
        Stopped::Message(id) => Column::MessageId.eq(id),
        Stopped::Conversation(id) => Column::ConversationId.eq(id),
        Stopped::Everything => Column::UserId.eq(user),
    };
    let asked = Entity::update_many()
        .set(ActiveModel {
            cancel_requested_at: Set(Some(now)),
            ..Default::default()
        })
        .filter(what)
        .filter(Column::UserId.eq(user))
        .exec_with_returning(db)
        .await?;
    Ok(asked.into_iter().map(|row| row.message_id).collect())
}

/// What is to be stopped.
#[derive(Debug, Clone, Copy)]
pub enum Stopped {
    /// An answer.
    Message(MessageId),
    /// All answers of a conversation.
    Conversation(ConversationId),
    /// All answers of the user.
    Everything,
}

/// Holds an answer that is being made until the transaction ends: nobody ends it meanwhile, and its lease is renewed all the
/// same. False where somebody has ended it: then whoever made it writes nothing any more.
///
/// # Errors
/// As the database fails.
pub async fn hold(tx: &mut Tx, id: Uuid) -> Result<bool> {
    let sql = "SELECT id FROM generations WHERE id = $1 FOR KEY SHARE";
    let statement = Statement::from_sql_and_values(DbBackend::Postgres, sql, [id.into()]);
    let found = Found::find_by_statement(statement).one(tx.orm()).await?;
    Ok(found.is_some())
}

/// Takes an answer to end it; none where another has done so.
///
/// # Errors
/// As the database fails.
pub async fn take(tx: &mut Tx, id: Uuid) -> Result<Option<Model>> {
    let sql = "DELETE FROM generations WHERE id = $1 RETURNING *";
    let statement = Statement::from_sql_and_values(DbBackend::Postgres, sql, [id.into()]);
    Ok(Entity::find().from_raw_sql(statement).one(tx.orm()).await?)
}

#[derive(FromQueryResult)]
struct Found {
    id: Uuid,
}

/// Finds an answer whose instance has not been heard of in time, and which is not among `own`; others leave it to this
/// transaction.
///
/// # Errors
/// As the database fails.
pub async fn find_abandoned(tx: &mut Tx, own: &[Uuid]) -> Result<Option<Uuid>> {
    let sql = "
        SELECT id FROM generations WHERE lease_until < job_now() AND id <> ALL($1)
         ORDER BY lease_until LIMIT 1 FOR UPDATE SKIP LOCKED";
    let statement = Statement::from_sql_and_values(DbBackend::Postgres, sql, [own.to_vec().into()]);
    let found = Found::find_by_statement(statement).one(tx.orm()).await?;
    Ok(found.map(|found| found.id))
}

/// Leaves an answer that could not be ended for a minute, so that others are.
///
/// # Errors
/// As the database fails.
pub async fn postpone(db: &impl ConnectionTrait, id: Uuid) -> Result<()> {
    let sql = "UPDATE generations SET lease_until = job_now() + interval '1 minute' WHERE id = $1";
    let statement = Statement::from_sql_and_values(DbBackend::Postgres, sql, [id.into()]);
    db.execute_raw(statement).await?;
    Ok(())
}
