//! Things that happened, as they are told to webhooks.

use chrono::{DateTime, SecondsFormat, Utc};
use sea_orm::{
    ActiveValue::Set, ConnectionTrait, DbBackend, QuerySelect, Statement, entity::prelude::*,
    sea_query::LockType,
};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    database::{Result, Tx},
    ids::{EventId, UserId},
};

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
}

/// None that the queries need.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// Records an event.
///
/// # Errors
/// As the database fails.
pub async fn create(
    tx: &mut Tx,
    user: UserId,
    kind: &str,
    data: Value,
    now: DateTime<Utc>,
) -> Result<EventId> {
    let id = EventId::new();
    let row = ActiveModel {
        id: Set(id),
        user_id: Set(user),
        kind: Set(kind.to_owned()),
        data: Set(data),
        created_at: Set(now),
    };
    Entity::insert(row).exec_without_returning(tx.orm()).await?;
    Ok(id)
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
    let timestamp = happened_at.to_rfc3339_opts(SecondsFormat::Micros, true);
    json!({ "type": kind, "timestamp": timestamp, "data": data })
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
const STILL_SENT: &str = "EXISTS (SELECT FROM deliveries d WHERE d.event_id = e.id
                                     AND (d.status = 'pending' OR d.created_at >= $1))";

/// Deletes up to `limit` events that happened before a time, with their deliveries and every try; those stay that still
/// wait to be sent, or were sent again since. Returns how many went.
///
/// # Errors
/// As the database fails.
pub async fn prune(tx: &mut Tx, before: DateTime<Utc>, limit: u64) -> Result<u64> {
    // Looked at again once they are locked: who is about to send one again has it on `hold`.
    let sql = format!(
        "SELECT e.id FROM events e WHERE e.created_at < $1 AND NOT {STILL_SENT}
          ORDER BY e.created_at LIMIT $2 FOR UPDATE SKIP LOCKED"
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
