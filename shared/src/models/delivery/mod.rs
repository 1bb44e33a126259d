//! Events on their way to endpoints, and each try to get there.

pub mod attempt;
mod details;
mod overview;

use chrono::{DateTime, Utc};
use sea_orm::{ActiveValue::Set, ConnectionTrait, entity::prelude::*};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use self::overview::{Filter, Overview, find_events, get, list};
use crate::{
    database::{Result, Tx},
    ids::{DeliveryId, EventId, JobId, WebhookId},
    queue::End,
};

/// How far a delivery has come.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, EnumIter, DeriveActiveEnum, Serialize, Deserialize, ToSchema,
)]
#[sea_orm(rs_type = "String", db_type = "Text")]
#[serde(rename_all = "lowercase")]
#[schema(as = DeliveryStatus)]
pub enum Status {
    /// Waits for its first or next try.
    #[sea_orm(string_value = "pending")]
    Pending,
    /// The endpoint answered 2xx.
    #[sea_orm(string_value = "succeeded")]
    Succeeded,
    /// Given up; `errorMessage` says why.
    #[sea_orm(string_value = "failed")]
    Failed,
    /// Stopped by its user, or the endpoint was switched off.
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
    /// The job that makes the tries; its row may be pruned before this one.
    pub job_id: Option<JobId>,
    /// How far it has come.
    pub status: Status,
    /// Why it was given up, for the user to read.
    pub error: Option<String>,
    /// When it was asked for.
    pub created_at: DateTime<Utc>,
    /// When it ended.
    pub finished_at: Option<DateTime<Utc>>,
    /// Whether it is a ping.
    pub is_test: bool,
}

/// None that the queries need.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// Records that an event goes to an endpoint, by a job.
///
/// # Errors
/// As the database fails.
pub async fn create(
    tx: &mut Tx,
    id: DeliveryId,
    webhook: WebhookId,
    event: EventId,
    job: JobId,
    now: DateTime<Utc>,
) -> Result<()> {
    let row = ActiveModel {
        id: Set(id),
        webhook_id: Set(webhook),
        event_id: Set(event),
        job_id: Set(Some(job)),
        status: Set(Status::Pending),
        error: Set(None),
        created_at: Set(now),
        finished_at: Set(None),
        is_test: Set(false),
    };
    Entity::insert(row).exec_without_returning(tx.orm()).await?;
    Ok(())
}

/// Records that it is a ping.
///
/// # Errors
/// As the database fails.
pub async fn mark_test(tx: &mut Tx, id: DeliveryId) -> Result<()> {
    Entity::update_many()
        .col_expr(Column::IsTest, Expr::value(true))
        .filter(Column::Id.eq(id))
        .exec(tx.orm())
        .await?;
    Ok(())
}

/// Finds a delivery for its job.
///
/// # Errors
/// As the database fails.
pub async fn find_for_any_user(db: &impl ConnectionTrait, id: DeliveryId) -> Result<Option<Model>> {
    Ok(Entity::find_by_id(id).one(db).await?)
}

/// Finds deliveries that have not ended, for their jobs.
///
/// # Errors
/// As the database fails.
pub async fn find_open(db: &impl ConnectionTrait, ids: &[DeliveryId]) -> Result<Vec<Model>> {
    Ok(Entity::find()
        .filter(Column::Id.is_in(ids.iter().copied()))
        .filter(Column::Status.eq(Status::Pending))
        .all(db)
        .await?)
}

/// Records that the endpoint took it.
///
/// # Errors
/// As the database fails.
pub async fn succeed(tx: &mut Tx, id: DeliveryId, now: DateTime<Utc>) -> Result<()> {
    set_end(tx, id, Status::Succeeded, None, now).await?;
    Ok(())
}

/// Records that it is not wanted any more, and why.
///
/// # Errors
/// As the database fails.
pub async fn cancel(tx: &mut Tx, id: DeliveryId, reason: &str, now: DateTime<Utc>) -> Result<()> {
    set_end(tx, id, Status::Cancelled, Some(reason), now).await?;
    Ok(())
}

/// Records that it was given up, and why.
///
/// # Errors
/// As the database fails.
pub async fn give_up(tx: &mut Tx, id: DeliveryId, reason: &str, now: DateTime<Utc>) -> Result<()> {
    set_end(tx, id, Status::Failed, Some(reason), now).await?;
    Ok(())
}

/// Records that its job ended without success; false if it is gone or has ended before.
///
/// # Errors
/// As the database fails.
pub async fn close(tx: &mut Tx, id: DeliveryId, end: &End) -> Result<bool> {
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
) -> Result<bool> {
    let ended = Entity::update_many()
        .col_expr(Column::Status, status.into())
        .col_expr(Column::Error, Expr::value(error.map(str::to_owned)))
        .col_expr(Column::FinishedAt, Expr::value(now))
        .filter(Column::Id.eq(id))
        .filter(Column::Status.eq(Status::Pending))
        .exec(tx.orm())
        .await?;
    Ok(ended.rows_affected > 0)
}

/// Records that one that failed or was cancelled is tried again; false if it is none.
///
/// # Errors
/// As the database fails.
pub async fn reopen(tx: &mut Tx, id: DeliveryId) -> Result<bool> {
    let reopened = Entity::update_many()
        .col_expr(Column::Status, Status::Pending.into())
        .col_expr(Column::Error, Expr::value(Option::<String>::None))
        .col_expr(
            Column::FinishedAt,
            Expr::value(Option::<DateTime<Utc>>::None),
        )
        .filter(Column::Id.eq(id))
        .filter(Column::Status.is_in([Status::Failed, Status::Cancelled]))
        .exec(tx.orm())
        .await?;
    Ok(reopened.rows_affected > 0)
}

/// Records that another job makes the tries from now on.
///
/// # Errors
/// As the database fails.
pub async fn hand_over(tx: &mut Tx, id: DeliveryId, job: JobId) -> Result<()> {
    Entity::update_many()
        .col_expr(Column::JobId, Expr::value(job))
        .filter(Column::Id.eq(id))
        .exec(tx.orm())
        .await?;
    Ok(())
}
