//! Things that happened, as they are told to who hears of them.

mod withdrawing;

use chrono::{DateTime, SecondsFormat, Utc};
use sea_orm::{
    ActiveValue::Set, ConnectionTrait, DbBackend, QuerySelect, Statement, entity::prelude::*,
    sea_query::LockType,
};
use serde::Serialize;
use serde_json::{Value, json};
use uuid::Uuid;

pub use self::withdrawing::{withdraw, withdraw_all};
use crate::{
    database::{Error, Result, Tx},
    events,
    ids::{EventId, UserId},
    models::page,
};

const NOT_FOUND: Error = Error::NotFound("event");

/// A row of `events`.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "events")]
pub struct Model {
    /// Its id.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: EventId,
    /// Whose it is.
    pub user_id: UserId,
    /// `image.ocr_completed`, …
    pub kind: String,
    /// The `data` of the payload.
    pub data: Value,
    /// When it happened.
    pub created_at: DateTime<Utc>,
    /// What it is about: the conversation where there is one, else the thing itself. None of what happened before this was
    /// kept.
    pub subject: Option<String>,
}

/// None that the queries need.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// What is recorded of an event, but for whose it is and when it happens.
#[derive(Debug, Clone, Serialize)]
pub struct New {
    /// Its id.
    pub id: EventId,
    /// Its name.
    pub kind: &'static str,
    /// What it is about.
    pub subject: String,
    /// The `data` of the payload.
    pub data: Value,
}

/// Records an event of `user`.
///
/// # Errors
/// As the database fails.
pub async fn create(tx: &mut Tx, user: UserId, new: &New, now: DateTime<Utc>) -> Result<()> {
    let row = ActiveModel {
        id: Set(new.id),
        user_id: Set(user),
        kind: Set(new.kind.to_owned()),
        data: Set(new.data.clone()),
        created_at: Set(now),
        subject: Set(Some(new.subject.clone())),
    };
    Entity::insert(row).exec_without_returning(tx.orm()).await?;
    Ok(())
}

/// Gets an event of `user`.
///
/// # Errors
/// [`Error::NotFound`] also when it is another user's.
pub async fn get(db: &impl ConnectionTrait, user: UserId, id: EventId) -> Result<Model> {
    Entity::find_by_id(id)
        .filter(Column::UserId.eq(user))
        .one(db)
        .await?
        .ok_or(NOT_FOUND)
}

/// Gets an event of any user, if it is of one of these names.
///
/// # Errors
/// [`Error::NotFound`] also when it is of another name.
pub async fn get_of_any_user(
    db: &impl ConnectionTrait,
    kinds: &[&'static str],
    id: EventId,
) -> Result<Model> {
    Entity::find_by_id(id)
        .filter(Column::Kind.is_in(kinds.iter().copied()))
        .one(db)
        .await?
        .ok_or(NOT_FOUND)
}

/// Lists events of `user`, newest first: all, or those of some names.
///
/// # Errors
/// As the database fails.
pub async fn list(
    db: &impl ConnectionTrait,
    user: UserId,
    kinds: Option<&[&'static str]>,
    before: Option<(DateTime<Utc>, EventId)>,
    limit: u64,
) -> Result<Vec<Model>> {
    let mut query = Entity::find().filter(Column::UserId.eq(user));
    if let Some(kinds) = kinds {
        query = query.filter(Column::Kind.is_in(kinds.iter().copied()));
    }
    Ok(page::newest(query, before, limit).all(db).await?)
}

/// Lists events of these names of all users, newest first.
///
/// # Errors
/// As the database fails.
pub async fn list_of_all_users(
    db: &impl ConnectionTrait,
    kinds: &[&'static str],
    before: Option<(DateTime<Utc>, EventId)>,
    limit: u64,
) -> Result<Vec<Model>> {
    // All of these are written out: their index is not taken for kinds that are not known yet.
    let shown: Vec<String> = events::for_admins()
        .map(|kind| format!("'{}'", kind.name))
        .collect();
    let shown = format!("kind IN ({})", shown.join(", "));
    let query = Entity::find()
        .filter(Expr::cust(shown))
        .filter(Column::Kind.is_in(kinds.iter().copied()));
    Ok(page::newest(query, before, limit).all(db).await?)
}

/// Finds the events of deliveries.
///
/// # Errors
/// As the database fails.
pub async fn find_for_deliveries(db: &impl ConnectionTrait, ids: &[EventId]) -> Result<Vec<Model>> {
    Ok(Entity::find()
        .filter(Column::Id.is_in(ids.iter().copied()))
        .all(db)
        .await?)
}

/// Finds the event of a delivery.
///
/// # Errors
/// As the database fails.
pub async fn find_for_any_user(db: &impl ConnectionTrait, id: EventId) -> Result<Option<Model>> {
    Ok(Entity::find_by_id(id).one(db).await?)
}

/// What endpoints are sent of an event: the same on every try.
pub fn payload(kind: &str, happened_at: DateTime<Utc>, data: &Value) -> Value {
    json!({ "type": kind, "timestamp": timestamp(happened_at), "data": data })
}

/// When an event happened, as receivers get it.
pub fn timestamp(happened_at: DateTime<Utc>) -> String {
    happened_at.to_rfc3339_opts(SecondsFormat::Micros, true)
}

/// Keeps an event from being pruned until the transaction ends; false if it is gone.
///
/// # Errors
/// As the database fails.
pub async fn hold(tx: &mut Tx, id: EventId) -> Result<bool> {
    let found: Option<EventId> = Entity::find_by_id(id)
        .select_only()
        .column(Column::Id)
        .lock(LockType::KeyShare)
        .into_tuple()
        .one(tx.orm())
        .await?;
    Ok(found.is_some())
}

/// What keeps an event `e` though it is older than `$1`.
///
/// `OFFSET 0` makes it one probe for each event: most have no delivery, and as a join it may read all deliveries for them.
const STILL_SENT: &str = "EXISTS (SELECT FROM deliveries d WHERE d.event_id = e.id
                                     AND (d.status = 'pending' OR d.created_at >= $1) OFFSET 0)";

/// Deletes up to `limit` events that happened before a time, with their deliveries and every try; those stay that still
/// wait to be sent, or were sent again since. Returns how many went.
///
/// # Errors
/// As the database fails.
pub async fn prune(tx: &mut Tx, before: DateTime<Utc>, limit: u64) -> Result<u64> {
    // Looked at again once they are locked: who is about to send one again has it on `hold`. In no order, so that it ends
    // with the first that are found.
    let sql = format!(
        "SELECT e.id FROM events e WHERE e.created_at < $1 AND NOT {STILL_SENT}
          LIMIT $2 FOR UPDATE SKIP LOCKED"
    );
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let statement =
        Statement::from_sql_and_values(DbBackend::Postgres, sql, [before.into(), limit.into()]);
    let rows = tx.orm().query_all_raw(statement).await?;
    let ids: Result<Vec<Uuid>, DbErr> = rows.iter().map(|row| row.try_get("", "id")).collect();
    let sql = format!("DELETE FROM events e WHERE e.id = ANY($2) AND NOT {STILL_SENT}");
    let statement =
        Statement::from_sql_and_values(DbBackend::Postgres, sql, [before.into(), ids?.into()]);
    Ok(tx.orm().execute_raw(statement).await?.rows_affected())
}
