//! What was learned of an endpoint by its tries. There is a row once something went wrong; the worker writes it.

use chrono::{DateTime, Utc};
use sea_orm::{ConnectionTrait, entity::prelude::*};

use crate::{
    database::{Result, Tx},
    ids::WebhookId,
};

/// A row of `webhook_states`.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "webhook_states")]
pub struct Model {
    /// Of which endpoint.
    #[sea_orm(primary_key, auto_increment = false)]
    pub webhook_id: WebhookId,
    /// Since when nothing succeeds.
    pub failing_since: Option<DateTime<Utc>>,
    /// Tries that failed, one after the other.
    pub failures: i32,
    /// Tries after which it asked to be left alone, one after the other.
    pub throttles: i32,
    /// Until when it is left alone.
    pub slowed_until: Option<DateTime<Utc>>,
    /// When a try succeeded last.
    pub last_success_at: Option<DateTime<Utc>>,
    /// When a try failed last.
    pub last_failure_at: Option<DateTime<Utc>>,
}

/// None that the queries need.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// Finds what was learned of an endpoint, whose right to be seen was checked before.
///
/// # Errors
/// As the database fails.
pub async fn find(db: &impl ConnectionTrait, webhook: WebhookId) -> Result<Option<Model>> {
    Ok(Entity::find_by_id(webhook).one(db).await?)
}

/// Forgets that an endpoint failed.
///
/// # Errors
/// As the database fails.
pub(super) async fn clear(tx: &mut Tx, webhook: WebhookId) -> Result<()> {
    let never = || Expr::value(Option::<DateTime<Utc>>::None);
    Entity::update_many()
        .col_expr(Column::FailingSince, never())
        .col_expr(Column::Failures, Expr::value(0))
        .col_expr(Column::Throttles, Expr::value(0))
        .col_expr(Column::SlowedUntil, never())
        .filter(Column::WebhookId.eq(webhook))
        .exec(tx.orm())
        .await?;
    Ok(())
}
