//! Sending an endpoint again what it has missed: exactly the deliveries that had failed when it was asked for, each once.
//!
//! How far it has come is a row that changes with each page of deliveries, in the transaction that sends them again. So whoever
//! goes on after a crash begins behind them.

use chrono::{DateTime, TimeDelta, Utc};
use sea_orm::{
    ActiveValue::Set, ConnectionTrait, DbBackend, FromQueryResult, Statement, entity::prelude::*,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    database::{Error, Refusal, Result, Tx},
    ids::{DeliveryId, JobId, RecoveryId, WebhookId},
    jobs::RecoverWebhook,
    models::page,
    queue::{self, End, Enqueue},
};

/// How far back one may go: so long deliveries are kept.
pub const LONGEST: TimeDelta = TimeDelta::days(30);
const NOT_FOUND: Error = Error::NotFound("recovery");

/// How far a recovery has come.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, EnumIter, DeriveActiveEnum, Serialize, Deserialize, ToSchema,
)]
#[sea_orm(rs_type = "String", db_type = "Text")]
#[serde(rename_all = "lowercase")]
#[schema(as = WebhookRecoveryStatus)]
pub enum Status {
    /// Its job waits or runs.
    #[sea_orm(string_value = "running")]
    Running,
    /// All are sent again.
    #[sea_orm(string_value = "succeeded")]
    Succeeded,
    /// Stopped by its user; some are sent again.
    #[sea_orm(string_value = "cancelled")]
    Cancelled,
    /// Given up; some are sent again.
    #[sea_orm(string_value = "failed")]
    Failed,
}

/// A row of `webhook_recoveries`.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "webhook_recoveries")]
pub struct Model {
    /// Its id.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: RecoveryId,
    /// Of which endpoint.
    pub webhook_id: WebhookId,
    /// Deliveries of this time on.
    pub since: DateTime<Utc>,
    /// Until it was asked for: what fails later is left to the next one.
    pub until: DateTime<Utc>,
    /// How far it has come.
    pub status: Status,
    /// Deliveries that had failed, once they are counted.
    pub found: Option<i64>,
    /// Deliveries that are sent again.
    pub resent: i64,
    /// When the last one of them was made; none before the first.
    pub cursor_at: Option<DateTime<Utc>>,
    /// Which one that was.
    pub cursor_id: Option<DeliveryId>,
    /// The job that does it.
    pub job_id: JobId,
    /// When it was asked for.
    pub created_at: DateTime<Utc>,
    /// When it ended.
    pub finished_at: Option<DateTime<Utc>>,
}

/// None that the queries need.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// A delivery that failed.
#[derive(Debug, Clone, PartialEq, Eq, FromQueryResult)]
pub struct Failed {
    /// Its id.
    pub id: DeliveryId,
    /// The job that made its tries; its row may be gone.
    pub job_id: Option<JobId>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// What its event is about.
    pub subject: Option<String>,
}

/// Asks for the deliveries that have failed since a time. One that runs already is told instead: there is one at a time. The
/// endpoint must be locked.
///
/// # Errors
/// [`Refusal::WebhookInactive`] where the endpoint is off.
pub async fn begin(
    tx: &mut Tx,
    endpoint: &super::Model,
    since: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<Model> {
    if !endpoint.is_active {
        return Err(Refusal::WebhookInactive.into());
    }
    let running = Entity::find()
        .filter(Column::WebhookId.eq(endpoint.id))
        .filter(Column::Status.eq(Status::Running));
    if let Some(running) = running.one(tx.orm()).await? {
        return Ok(running);
    }
    let id = RecoveryId::new();
    let job = Enqueue::new(RecoverWebhook { recovery: id })
        .unique(RecoverWebhook::unique_key(endpoint.id));
    let job = queue::enqueue(tx, job).await?.id;
    let row = ActiveModel {
        id: Set(id),
        webhook_id: Set(endpoint.id),
        since: Set(since),
        until: Set(now),
        status: Set(Status::Running),
        found: Set(None),
        resent: Set(0),
        cursor_at: Set(None),
        cursor_id: Set(None),
        job_id: Set(job),
        created_at: Set(now),
        finished_at: Set(None),
    };
    Ok(row.insert(tx.orm()).await?)
}

/// Gets a recovery of an endpoint, which was found by its user.
///
/// # Errors
/// [`Error::NotFound`] also when it is another endpoint's.
pub async fn get(db: &impl ConnectionTrait, webhook: WebhookId, id: RecoveryId) -> Result<Model> {
    Entity::find_by_id(id)
        .filter(Column::WebhookId.eq(webhook))
        .one(db)
        .await?
        .ok_or(NOT_FOUND)
}

/// Lists recoveries of an endpoint, which was found by its user, newest first.
///
/// # Errors
/// As the database fails.
pub async fn list(
    db: &impl ConnectionTrait,
    webhook: WebhookId,
    before: Option<(DateTime<Utc>, RecoveryId)>,
    limit: u64,
) -> Result<Vec<Model>> {
    let query = Entity::find().filter(Column::WebhookId.eq(webhook));
    Ok(page::newest(query, before, limit).all(db).await?)
}

/// Finds a recovery that has not ended, for its job, with its endpoint, which is kept from being deleted until the
/// transaction ends.
///
/// # Errors
/// As the database fails.
pub async fn find_running(tx: &mut Tx, id: RecoveryId) -> Result<Option<(Model, super::Model)>> {
    let running = Entity::find_by_id(id).filter(Column::Status.eq(Status::Running));
    let Some(row) = running.one(tx.orm()).await? else {
        return Ok(None);
    };
    let endpoint = super::hold_for_any_user(tx, row.webhook_id).await?;
    Ok(endpoint.map(|endpoint| (row, endpoint)))
}

/// What is sent again: those that had failed before it was asked for. `status` is written out, or the index of those that have
/// not succeeded is not taken.
const FAILED: &str =
    "d.webhook_id = $1 AND d.status = 'failed' AND d.created_at >= $2 AND d.created_at <= $3
       AND d.finished_at <= $3";

impl Model {
    /// Counts what is to be sent again, where nobody has done so before.
    ///
    /// # Errors
    /// As the database fails.
    pub async fn counted(mut self, tx: &mut Tx) -> Result<Self> {
        if self.found.is_some() {
            return Ok(self);
        }
        let sql = format!("SELECT count(*) AS found FROM deliveries d WHERE {FAILED}");
        let values = [self.webhook_id.into(), self.since.into(), self.until.into()];
        let statement = Statement::from_sql_and_values(DbBackend::Postgres, sql, values);
        let row = tx.orm().query_one_raw(statement).await?;
        self.found = Some(row.ok_or(Error::NotFound("count"))?.try_get("", "found")?);
        Ok(self)
    }

    /// The next deliveries that had failed, the oldest first. Their events stay until the transaction ends.
    ///
    /// # Errors
    /// As the database fails.
    pub async fn next(&self, tx: &mut Tx, limit: u32) -> Result<Vec<Failed>> {
        let sql = format!(
            "SELECT d.id, d.job_id, d.created_at, e.subject FROM deliveries d JOIN events e ON e.id = d.event_id
              WHERE {FAILED} AND (d.created_at, d.id) > ($4, $5)
              ORDER BY d.created_at, d.id LIMIT $6 FOR KEY SHARE OF e"
        );
        let values = [
            self.webhook_id.into(),
            self.since.into(),
            self.until.into(),
            self.cursor_at.unwrap_or(self.since).into(),
            self.cursor_id.map_or(Uuid::nil(), |id| id.0).into(),
            i64::from(limit).into(),
        ];
        let statement = Statement::from_sql_and_values(DbBackend::Postgres, sql, values);
        Ok(Failed::find_by_statement(statement).all(tx.orm()).await?)
    }

    /// Notes that `resent` more are sent again, up to `last`.
    ///
    /// # Errors
    /// As the database fails.
    pub async fn advance(mut self, tx: &mut Tx, last: &Failed, resent: i64) -> Result<Self> {
        self.resent += resent;
        (self.cursor_at, self.cursor_id) = (Some(last.created_at), Some(last.id));
        Entity::update_many()
            .col_expr(Column::Found, Expr::value(self.found))
            .col_expr(Column::Resent, Expr::value(self.resent))
            .col_expr(Column::CursorAt, Expr::value(last.created_at))
            .col_expr(Column::CursorId, Expr::value(last.id))
            .filter(Column::Id.eq(self.id))
            .exec(tx.orm())
            .await?;
        Ok(self)
    }

    /// Notes that all are sent again.
    ///
    /// # Errors
    /// As the database fails.
    pub async fn complete(&self, tx: &mut Tx, now: DateTime<Utc>) -> Result<()> {
        Entity::update_many()
            .col_expr(Column::Status, Status::Succeeded.into())
            .col_expr(Column::Found, Expr::value(self.found))
            .col_expr(Column::FinishedAt, Expr::value(now))
            .filter(Column::Id.eq(self.id))
            .exec(tx.orm())
            .await?;
        Ok(())
    }

    /// How many hundredths are done.
    pub fn percent(&self) -> u8 {
        let found = self.found.unwrap_or(0).max(1);
        u8::try_from((self.resent.clamp(0, found) * 100) / found).unwrap_or(100)
    }
}

/// Notes that its job ended without having sent all.
///
/// # Errors
/// As the database fails.
pub async fn close(tx: &mut Tx, id: RecoveryId, end: &End) -> Result<()> {
    let now = tx.now().await?;
    let status = if matches!(end, End::Cancelled) {
        Status::Cancelled
    } else {
        Status::Failed
    };
    Entity::update_many()
        .col_expr(Column::Status, status.into())
        .col_expr(Column::FinishedAt, Expr::value(now))
        .filter(Column::Id.eq(id))
        .filter(Column::Status.eq(Status::Running))
        .exec(tx.orm())
        .await?;
    Ok(())
}

/// Notes that its job goes on with it.
///
/// # Errors
/// As the database fails.
pub async fn reopen(tx: &mut Tx, id: RecoveryId) -> Result<()> {
    Entity::update_many()
        .col_expr(Column::Status, Status::Running.into())
        .col_expr(
            Column::FinishedAt,
            Expr::value(Option::<DateTime<Utc>>::None),
        )
        .filter(Column::Id.eq(id))
        .filter(Column::Status.is_in([Status::Failed, Status::Cancelled]))
        .exec(tx.orm())
        .await?;
    Ok(())
}

/// Deletes up to `limit` recoveries that ended before a time, and tells how many.
///
/// # Errors
/// As the database fails.
pub async fn prune(db: &impl ConnectionTrait, before: DateTime<Utc>, limit: u32) -> Result<u64> {
    const SQL: &str = "
        DELETE FROM webhook_recoveries WHERE id IN (
            SELECT id FROM webhook_recoveries WHERE finished_at < $1 LIMIT $2 FOR UPDATE SKIP LOCKED)";
    let values = [before.into(), limit.into()];
    let statement = Statement::from_sql_and_values(DbBackend::Postgres, SQL, values);
    Ok(db.execute_raw(statement).await?.rows_affected())
}
