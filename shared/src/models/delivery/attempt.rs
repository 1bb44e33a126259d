//! Tries of a delivery.

use chrono::{DateTime, Utc};
use sea_orm::{
    ConnectionTrait, DbBackend, QueryOrder, QuerySelect, Statement, Value, entity::prelude::*,
};

use crate::{
    database::{Result, Tx},
    ids::{AttemptId, DeliveryId},
};

/// A row of `delivery_attempts`.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "delivery_attempts")]
pub struct Model {
    /// Its id.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: AttemptId,
    /// Of which delivery.
    pub delivery_id: DeliveryId,
    /// 1, 2, …; goes on where the delivery was sent again by hand.
    pub attempt: i32,
    /// What the endpoint answered; 0 = no answer.
    pub status_code: i16,
    /// Why it did not succeed, for the user to read.
    pub error: Option<String>,
    /// Begin of the answer's body.
    pub response_body: Option<String>,
    /// From the first byte sent to the last byte read.
    pub duration_ms: i32,
    /// When it began.
    pub created_at: DateTime<Utc>,
}

/// None that the queries need.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// What one try came to.
#[derive(Debug, Clone)]
pub struct Try {
    /// 0 = no answer.
    pub status_code: u16,
    /// Why it did not succeed.
    pub error: Option<String>,
    /// Begin of the answer's body.
    pub response_body: Option<String>,
    /// How long it took.
    pub duration_ms: i32,
    /// When it began.
    pub started_at: DateTime<Utc>,
}

/// Records a try, for the delivery's job; false if the delivery was deleted meanwhile.
///
/// # Errors
/// As the database fails.
pub async fn record(tx: &mut Tx, delivery: DeliveryId, of: Try) -> Result<bool> {
    // The job's row is locked, so nobody else counts the tries now.
    let statement = Statement::from_sql_and_values(
        DbBackend::Postgres,
        "INSERT INTO delivery_attempts
                (id, delivery_id, attempt, status_code, error, response_body, duration_ms, created_at)
         SELECT $1, d.id, (SELECT coalesce(max(a.attempt), 0) + 1 FROM delivery_attempts a WHERE a.delivery_id = d.id),
                $3, $4, $5, $6, $7
           FROM deliveries d WHERE d.id = $2 FOR KEY SHARE OF d",
        [
            AttemptId::new().into(),
            delivery.into(),
            i16::try_from(of.status_code).unwrap_or(0).into(),
            of.error.into(),
            of.response_body.into(),
            of.duration_ms.into(),
            of.started_at.into(),
        ],
    );
    Ok(tx.orm().execute_raw(statement).await?.rows_affected() > 0)
}

/// Lists tries of a delivery, newest first; whose it is was checked with the delivery.
///
/// # Errors
/// As the database fails.
pub async fn list(
    db: &impl ConnectionTrait,
    delivery: DeliveryId,
    before: Option<(DateTime<Utc>, AttemptId)>,
    limit: u64,
) -> Result<Vec<Model>> {
    let mut query = Entity::find().filter(Column::DeliveryId.eq(delivery));
    if let Some((created_at, id)) = before {
        query = query.filter(Expr::cust_with_values(
            "(created_at, id) < ($1, $2)",
            [created_at.into(), Value::from(id)],
        ));
    }
    Ok(query
        .order_by_desc(Column::CreatedAt)
        .order_by_desc(Column::Id)
        .limit(limit)
        .all(db)
        .await?)
}
