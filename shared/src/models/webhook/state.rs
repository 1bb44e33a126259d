//! What was learned of an endpoint by its tries. There is a row once something went wrong; the worker writes it.

use chrono::{DateTime, Utc};
use sea_orm::{ConnectionTrait, DbBackend, FromQueryResult as _, Statement, entity::prelude::*};

use crate::{
    database::{Error, Result, Tx},
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

/// Finds what was learned of endpoints, for their deliveries.
///
/// # Errors
/// As the database fails.
pub async fn find_all(db: &impl ConnectionTrait, webhooks: &[WebhookId]) -> Result<Vec<Model>> {
    Ok(Entity::find()
        .filter(Column::WebhookId.is_in(webhooks.iter().copied()))
        .all(db)
        .await?)
}

/// A try that failed.
#[derive(Debug, Clone, Copy)]
pub struct Failed {
    /// The endpoint asked to be left alone.
    pub is_throttled: bool,
    /// Nobody answered; after so many failures in a row that counts as if it had asked.
    pub silent_after: Option<i32>,
    /// When it began.
    pub begun: DateTime<Utc>,
}

/// Records that a try failed that had `begun` then, and tells what is known. The endpoint must be held. Tries that were under way
/// when it was slowed down do not slow it down further.
///
/// # Errors
/// As the database fails.
pub async fn fail(
    tx: &mut Tx,
    webhook: WebhookId,
    failed: Failed,
    now: DateTime<Utc>,
) -> Result<Model> {
    const SQL: &str = "
        INSERT INTO webhook_states AS s (webhook_id, failing_since, failures, throttles, last_failure_at)
        VALUES ($1, $2, 1, CASE WHEN $3 OR $5 <= 1 THEN 1 ELSE 0 END, $2)
        ON CONFLICT (webhook_id) DO UPDATE
           SET failing_since = coalesce(s.failing_since, excluded.failing_since), failures = s.failures + 1,
               throttles = CASE WHEN NOT coalesce($3 OR $5 <= s.failures + 1, false) THEN 0 WHEN s.slowed_until > $4 THEN s.throttles ELSE s.throttles + 1 END, last_failure_at = excluded.last_failure_at
        RETURNING *";
    let values = [
        webhook.into(),
        now.into(),
        failed.is_throttled.into(),
        failed.begun.into(),
        failed.silent_after.into(),
    ];
    let statement = Statement::from_sql_and_values(DbBackend::Postgres, SQL, values);
    let row = Model::find_by_statement(statement).one(tx.orm()).await?;
    row.ok_or(Error::NotFound("webhook"))
}

/// Records until when an endpoint is left alone; a later time stays.
///
/// # Errors
/// As the database fails.
pub async fn slow(tx: &mut Tx, webhook: WebhookId, until: DateTime<Utc>) -> Result<()> {
    let later = Expr::cust_with_values("greatest(slowed_until, $1)", [until]);
    Entity::update_many()
        .col_expr(Column::SlowedUntil, later)
        .filter(Column::WebhookId.eq(webhook))
        .exec(tx.orm())
        .await?;
    Ok(())
}

/// Records that a try succeeded.
///
/// # Errors
/// As the database fails.
pub async fn succeed(tx: &mut Tx, webhook: WebhookId, now: DateTime<Utc>) -> Result<()> {
    const SQL: &str = "
        UPDATE webhook_states
           SET failing_since = NULL, failures = 0, throttles = 0, last_success_at = $2,
               slowed_until = CASE WHEN slowed_until > $2 THEN slowed_until END
         WHERE webhook_id = $1 AND failures > 0";
    let values = [webhook.into(), now.into()];
    let statement = Statement::from_sql_and_values(DbBackend::Postgres, SQL, values);
    tx.orm().execute_raw(statement).await?;
    Ok(())
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
