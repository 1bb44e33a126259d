//! Events on their way to endpoints, and each try to get there.

use chrono::{DateTime, Utc};
use sea_orm::{ActiveValue::Set, ConnectionTrait, QueryOrder, QuerySelect, entity::prelude::*};

use crate::{
    database::{Result, Tx},
    ids::{AttemptId, DeliveryId, EventId, WebhookId},
    queue::End,
};

/// How far a delivery has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumIter, DeriveActiveEnum)]
#[sea_orm(rs_type = "String", db_type = "Text")]
pub enum Status {
    /// Waits for its first or next try.
    #[sea_orm(string_value = "pending")]
    Pending,
    /// The endpoint answered 2xx.
    #[sea_orm(string_value = "succeeded")]
    Succeeded,
    /// Given up.
    #[sea_orm(string_value = "failed")]
    Failed,
    /// Not wanted any more.
    #[sea_orm(string_value = "cancelled")]
    Cancelled,
}

/// A row of `deliveries`.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "deliveries")]
pub struct Model {
    /// Its id; the same on every try.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: DeliveryId,
    /// To whom.
    pub webhook_id: WebhookId,
    /// What.
    pub event_id: EventId,
    /// How far it has come.
    pub status: Status,
    /// Why it was given up, for the user to read.
    pub error: Option<String>,
    /// When the event happened.
    pub created_at: DateTime<Utc>,
    /// When it ended.
    pub finished_at: Option<DateTime<Utc>>,
}

/// None that the queries need.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// A try.
pub mod attempt {
    use sea_orm::entity::prelude::*;

    use super::{AttemptId, DateTime, DeliveryId, Utc};

    /// A row of `delivery_attempts`.
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "delivery_attempts")]
    pub struct Model {
        /// Its id.
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: AttemptId,
        /// Of which delivery.
        pub delivery_id: DeliveryId,
        /// 1, 2, …
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
}

/// Records that an event goes to an endpoint.
///
/// # Errors
/// As the database fails.
pub async fn create(
    tx: &mut Tx,
    webhook: WebhookId,
    event: EventId,
    now: DateTime<Utc>,
) -> Result<DeliveryId> {
    let id = DeliveryId::new();
    let row = ActiveModel {
        id: Set(id),
        webhook_id: Set(webhook),
        event_id: Set(event),
        status: Set(Status::Pending),
        error: Set(None),
        created_at: Set(now),
        finished_at: Set(None),
    };
    Entity::insert(row).exec_without_returning(tx.orm()).await?;
    Ok(id)
}

/// Finds a delivery that has not ended.
///
/// # Errors
/// As the database fails.
pub async fn find_open(db: &impl ConnectionTrait, id: DeliveryId) -> Result<Option<Model>> {
    Ok(Entity::find_by_id(id)
        .filter(Column::Status.eq(Status::Pending))
        .one(db)
        .await?)
}

/// What one try came to.
#[derive(Debug, Clone)]
pub struct Try {
    /// 1, 2, …
    pub attempt: i32,
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

/// Records a try.
///
/// # Errors
/// As the database fails.
pub async fn record(tx: &mut Tx, delivery: DeliveryId, of: Try) -> Result<()> {
    let row = attempt::ActiveModel {
        id: Set(AttemptId::new()),
        delivery_id: Set(delivery),
        attempt: Set(of.attempt),
        status_code: Set(i16::try_from(of.status_code).unwrap_or(0)),
        error: Set(of.error),
        response_body: Set(of.response_body),
        duration_ms: Set(of.duration_ms),
        created_at: Set(of.started_at),
    };
    attempt::Entity::insert(row)
        .exec_without_returning(tx.orm())
        .await?;
    Ok(())
}

/// Records that the endpoint took it.
///
/// # Errors
/// As the database fails.
pub async fn succeed(tx: &mut Tx, id: DeliveryId, now: DateTime<Utc>) -> Result<()> {
    set_end(tx, id, Status::Succeeded, None, now).await
}

/// Records that it was given up.
///
/// # Errors
/// As the database fails.
pub async fn close(tx: &mut Tx, id: DeliveryId, end: &End) -> Result<()> {
    let now = tx.now().await?;
    let status = if matches!(end, End::Cancelled) {
        Status::Cancelled
    } else {
        Status::Failed
    };
    set_end(tx, id, status, end.reason(), now).await
}

async fn set_end(
    tx: &mut Tx,
    id: DeliveryId,
    status: Status,
    error: Option<&str>,
    now: DateTime<Utc>,
) -> Result<()> {
    Entity::update_many()
        .col_expr(Column::Status, status.into())
        .col_expr(Column::Error, Expr::value(error.map(str::to_owned)))
        .col_expr(Column::FinishedAt, Expr::value(now))
        .filter(Column::Id.eq(id))
        .filter(Column::Status.eq(Status::Pending))
        .exec(tx.orm())
        .await?;
    Ok(())
}

/// Records that it is tried again.
///
/// # Errors
/// As the database fails.
pub async fn reopen(tx: &mut Tx, id: DeliveryId) -> Result<()> {
    Entity::update_many()
        .col_expr(Column::Status, Status::Pending.into())
        .col_expr(Column::Error, Expr::value(Option::<String>::None))
        .col_expr(
            Column::FinishedAt,
            Expr::value(Option::<DateTime<Utc>>::None),
        )
        .filter(Column::Id.eq(id))
        .exec(tx.orm())
        .await?;
    Ok(())
}

/// Lists the latest tries of a delivery, oldest first, at most 100.
///
/// # Errors
/// As the database fails.
pub async fn list_attempts(
    db: &impl ConnectionTrait,
    id: DeliveryId,
) -> Result<Vec<attempt::Model>> {
    Ok(attempt::Entity::find()
        .filter(attempt::Column::DeliveryId.eq(id))
        .order_by_asc(attempt::Column::CreatedAt)
        .limit(100)
        .all(db)
        .await?)
}
