//! Objects of the storage that nothing names yet that is made to last.
//!
//! Each object is named by exactly one row, whatever dies when: from before its first byte by one of this table, then
//! by its attachment, variant or export, and in the end by the job that deletes it; a job that is given up leaves it to
//! this table again. Each step to the next is one transaction. So objects that came to nothing are found here, and removed.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sea_orm::{ConnectionTrait, DbBackend, Statement, entity::prelude::*};

use crate::{
    database::{Result, Tx},
    jobs::DeleteObject,
    queue::{self, Enqueue, Job as _},
};

/// After this time nobody writes to an object any more: an upload takes minutes.
pub const GRACE: Duration = Duration::from_hours(24);
/// Rows that become jobs in one transaction.
const SWEEP_BATCH: i64 = 100;

/// A row of `pending_objects`.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "pending_objects")]
pub struct Model {
    /// Key in the storage.
    #[sea_orm(primary_key, auto_increment = false)]
    pub storage_key: String,
    /// When its upload began, by the engine's clock.
    pub created_at: DateTime<Utc>,
}

/// None that the queries need.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// Notes that an object is about to be written. It is committed at once: not even a crash may leave an object that
/// nobody knows of.
///
/// # Errors
/// As the database fails; then nothing may be written.
pub async fn begin(db: &impl ConnectionTrait, storage_key: &str) -> Result<()> {
    db.execute_raw(Statement::from_sql_and_values(
        DbBackend::Postgres,
        "INSERT INTO pending_objects (storage_key, created_at) VALUES ($1, job_now())",
        [storage_key.into()],
    ))
    .await?;
    Ok(())
}

/// Hands an object over to the row that this transaction makes or completes.
///
/// # Errors
/// When the object is not pending any more, and may be gone; or as the database fails.
pub(super) async fn claim(tx: &mut Tx, storage_key: &str) -> Result<()> {
    let claimed = Entity::delete_by_id(storage_key.to_owned())
        .exec(tx.orm())
        .await?;
    if claimed.rows_affected == 0 {
        let reason = format!("{storage_key} is not pending: its upload took too long");
        return Err(DbErr::RecordNotFound(reason).into());
    }
    Ok(())
}

/// Notes an object again whose deletion was given up, so that it is tried anew after [`GRACE`].
///
/// # Errors
/// As the database fails.
pub(crate) async fn put_back(tx: &mut Tx, storage_key: &str) -> Result<()> {
    const SQL: &str = "INSERT INTO pending_objects (storage_key, created_at) VALUES ($1, job_now()) ON CONFLICT DO NOTHING";

    let values = [storage_key.into()];
    let statement = Statement::from_sql_and_values(DbBackend::Postgres, SQL, values);
    tx.orm().execute_raw(statement).await?;
    Ok(())
}

/// Makes jobs that remove what uploads left that began [`GRACE`] ago and came to nothing. Tells how many; zero when
/// there are no more.
///
/// # Errors
/// As the database fails.
pub async fn sweep(tx: &mut Tx) -> Result<usize> {
    const SQL: &str = "
        DELETE FROM pending_objects WHERE storage_key IN (
            SELECT storage_key FROM pending_objects
             WHERE created_at < job_now() - $1 * interval '1 second'
             ORDER BY created_at LIMIT $2 FOR UPDATE SKIP LOCKED)
        RETURNING storage_key";

    let grace = i64::try_from(GRACE.as_secs()).unwrap_or(i64::MAX);
    let rows = tx
        .orm()
        .query_all_raw(Statement::from_sql_and_values(
            DbBackend::Postgres,
            SQL,
            [grace.into(), SWEEP_BATCH.into()],
        ))
        .await?;
    for row in &rows {
        let job = DeleteObject {
            storage_key: row.try_get("", "storage_key")?,
            unfinished: true,
            attachment: None,
        };
        queue::enqueue(tx, Enqueue::new(job).of_nobody()).await?;
    }
    Ok(rows.len())
}

/// Which of these keys no row names: neither an attachment, a variant or an export, nor a pending object, nor a job that is about
/// to delete the object.
///
/// # Errors
/// As the database fails.
pub async fn find_forgotten(db: &impl ConnectionTrait, keys: Vec<String>) -> Result<Vec<String>> {
    const SQL: &str = "
        SELECT key FROM unnest($1::text[]) key
         WHERE NOT EXISTS (SELECT FROM attachments a WHERE a.storage_key = key)
           AND NOT EXISTS (SELECT FROM exports e WHERE e.storage_key = key)
           AND NOT EXISTS (SELECT FROM image_variants v WHERE v.storage_key = key)
           AND NOT EXISTS (SELECT FROM pending_objects p WHERE p.storage_key = key)
           AND NOT EXISTS (SELECT FROM jobs WHERE kind = $2 AND payload ->> 'storage_key' = key
                              AND state IN ('queued', 'parked', 'dispatched', 'running'))";

    let rows = db
        .query_all_raw(Statement::from_sql_and_values(
            DbBackend::Postgres,
            SQL,
            [keys.into(), DeleteObject::NAME.into()],
        ))
        .await?;
    rows.iter().map(|row| Ok(row.try_get("", "key")?)).collect()
}
