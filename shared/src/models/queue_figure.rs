//! What a worker last counted in the queues.

use chrono::{DateTime, Utc};
use sea_orm::{ConnectionTrait, DbBackend, FromQueryResult, Statement, entity::prelude::*};

use crate::database::Result;

/// A row of `queue_figures`.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "queue_figures")]
pub struct Model {
    /// Name of the queue.
    #[sea_orm(primary_key, auto_increment = false)]
    pub queue: String,
    /// queued (due), scheduled (queued for later), dispatched or running.
    #[sea_orm(primary_key, auto_increment = false)]
    pub state: String,
    /// Jobs in that state; see [`crate::queue::figures::MOST_COUNTED`].
    pub depth: i64,
    /// Since when the oldest of those that could run waits.
    pub oldest_ready_at: Option<DateTime<Utc>>,
    /// When they were counted.
    pub sampled_at: DateTime<Utc>,
}

/// None that the queries need.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// A row, with its times as they are now.
#[derive(Debug, Clone, PartialEq, FromQueryResult)]
pub struct Figure {
    /// Name of the queue.
    pub queue: String,
    /// queued, scheduled, dispatched or running.
    pub state: String,
    /// Jobs in that state.
    pub depth: i64,
    /// Seconds since the oldest of those that could run became due.
    pub age: Option<f64>,
    /// Seconds since they were counted.
    pub sampled_age: f64,
    /// When they were counted, in seconds since 1970.
    pub sampled_at: f64,
}

/// Lists all of them.
///
/// # Errors
/// As the database fails.
pub async fn list(db: &impl ConnectionTrait) -> Result<Vec<Figure>> {
    const SQL: &str = "
        SELECT queue, state, depth, extract(epoch FROM job_now() - oldest_ready_at)::float8 AS age,
               extract(epoch FROM job_now() - sampled_at)::float8 AS sampled_age,
               extract(epoch FROM sampled_at)::float8 AS sampled_at
          FROM queue_figures ORDER BY queue, state";
    let statement = Statement::from_string(DbBackend::Postgres, SQL);
    Ok(Figure::find_by_statement(statement).all(db).await?)
}
