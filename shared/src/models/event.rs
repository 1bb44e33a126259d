//! Things that happened, as they are told to webhooks.

use chrono::{DateTime, Utc};
use sea_orm::{ActiveValue::Set, ConnectionTrait, entity::prelude::*};
use serde_json::Value;

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
