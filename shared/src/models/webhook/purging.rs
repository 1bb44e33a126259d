//! Removing what is left of deleted endpoints.

use chrono::{DateTime, Utc};
use sea_orm::{ConnectionTrait as _, DbBackend, QuerySelect as _, Statement, entity::prelude::*};

use super::{Column, Entity};
use crate::{
    database::{Result, Tx},
    ids::{JobId, WebhookId},
    jobs::PurgeWebhook,
    queue::{self, Enqueue},
};

/// Asks for the removal of a deleted endpoint. While a job for it waits or runs, there is no second one.
pub(super) async fn enqueue(tx: &mut Tx, webhook: WebhookId) -> Result<()> {
    let job = Enqueue::new(PurgeWebhook { webhook })
        .of_nobody()
        .unique(format!("purge-webhook:{webhook}"));
    queue::enqueue(tx, job).await?;
    Ok(())
}

/// Asks again for the removal of endpoints that were deleted before `before` and are still there, as a job can be lost with the
/// workers that died on it. Tells how many.
///
/// # Errors
/// As the database fails.
pub async fn purge_again(tx: &mut Tx, before: DateTime<Utc>, limit: u64) -> Result<u64> {
    let left: Vec<WebhookId> = Entity::find()
        .select_only()
        .column(Column::Id)
        .filter(Column::DeletedAt.lt(before))
        .filter(Expr::cust_with_values(
            "NOT EXISTS (SELECT FROM jobs WHERE unique_key = $1 || webhooks.id
                                            AND state IN ('queued', 'parked', 'dispatched', 'running'))",
            ["purge-webhook:"],
        ))
        .limit(limit)
        .into_tuple()
        .all(tx.orm())
        .await?;
    let asked = left.len() as u64;
    for webhook in left {
        enqueue(tx, webhook).await?;
    }
    Ok(asked)
}

/// Removes some deliveries to a deleted endpoint with their tries, and ends the jobs of those that wait. Tells how many there were;
/// zero when there are no more.
///
/// A run of one finds no endpoint for it, and leaves it alone: so no job is waited for here.
///
/// # Errors
/// As the database fails.
pub async fn purge_deliveries(tx: &mut Tx, id: WebhookId, batch: u64) -> Result<u64> {
    const SOME: &str = "
        SELECT d.id, CASE d.status WHEN 'pending' THEN d.job_id END AS job_id
          FROM deliveries d JOIN webhooks w ON w.id = d.webhook_id
         WHERE d.webhook_id = $1 AND w.deleted_at IS NOT NULL LIMIT $2";
    let batch = i64::try_from(batch).unwrap_or(i64::MAX);
    let statement =
        Statement::from_sql_and_values(DbBackend::Postgres, SOME, [id.into(), batch.into()]);
    let mut deliveries: Vec<Uuid> = Vec::new();
    let mut jobs: Vec<JobId> = Vec::new();
    for row in tx.orm().query_all_raw(statement).await? {
        deliveries.push(row.try_get("", "id")?);
        jobs.extend(row.try_get::<Option<JobId>>("", "job_id")?);
    }
    // The jobs first: so do their runs.
    queue::cancel_pointless(tx, &jobs).await?;
    let found = deliveries.len() as u64;
    let sql = "DELETE FROM deliveries WHERE id = ANY($1)";
    let statement = Statement::from_sql_and_values(DbBackend::Postgres, sql, [deliveries.into()]);
    tx.orm().execute_raw(statement).await?;
    Ok(found)
}

/// Removes a deleted endpoint, with its secrets, recoveries and what was learned of it.
///
/// # Errors
/// As the database fails.
pub async fn purge(tx: &mut Tx, id: WebhookId) -> Result<()> {
    Entity::delete_many()
        .filter(Column::Id.eq(id))
        .filter(Column::DeletedAt.is_not_null())
        .exec(tx.orm())
        .await?;
    Ok(())
}
