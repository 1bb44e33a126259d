//! Which storage each worker sees. A folder of one machine is not that of another, and jobs then find no files.

use chrono::{DateTime, Utc};
use sea_orm::{ConnectionTrait, DbBackend, Statement, entity::prelude::*};

use crate::database::Result;

/// A row of `storage_views`.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "storage_views")]
pub struct Model {
    /// The worker.
    #[sea_orm(primary_key, auto_increment = false)]
    pub worker_id: String,
    /// What its storage is called; nothing where it cannot reach it.
    pub identity: Option<String>,
    /// When it looked, by the engine's clock.
    pub seen_at: DateTime<Utc>,
}

/// None that the queries need.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// Notes what a worker sees, each minute, and forgets workers that have not looked for ten.
///
/// # Errors
/// As the database fails.
pub async fn record(
    db: &impl ConnectionTrait,
    worker_id: &str,
    identity: Option<&str>,
) -> Result<()> {
    const SQL: &str = "
        WITH gone AS (DELETE FROM storage_views WHERE seen_at < job_now() - interval '10 minutes' AND worker_id <> $1)
        INSERT INTO storage_views (worker_id, identity, seen_at) VALUES ($1, $2, job_now())
        ON CONFLICT (worker_id) DO UPDATE SET identity = excluded.identity, seen_at = excluded.seen_at";

    db.execute_raw(Statement::from_sql_and_values(
        DbBackend::Postgres,
        SQL,
        [worker_id.into(), identity.map(str::to_owned).into()],
    ))
    .await?;
    Ok(())
}

/// Whether a live worker, one that has looked within three minutes, sees another storage than `identity`.
///
/// # Errors
/// As the database fails.
pub async fn is_another_seen(db: &impl ConnectionTrait, identity: &str) -> Result<bool> {
    const SQL: &str = "
        SELECT EXISTS (SELECT FROM storage_views WHERE identity IS DISTINCT FROM $1
                          AND seen_at > job_now() - interval '3 minutes') AS another";

    let row = db
        .query_one_raw(Statement::from_sql_and_values(
            DbBackend::Postgres,
            SQL,
            [identity.into()],
        ))
        .await?;
    Ok(row.map_or(Ok(false), |row| row.try_get("", "another"))?)
}
