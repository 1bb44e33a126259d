//! Making due what waits at an endpoint for a later try, some at a time.

use chrono::{DateTime, Utc};
use sea_orm::{DbBackend, FromQueryResult, Statement};

use crate::{
    database::{Result, Tx},
    ids::{DeliveryId, WebhookId},
    queue::Queue,
};

/// Deliveries that one statement looks at: few, so that it is short.
const PAGE: i64 = 200;

/// Goes over the deliveries of endpoint `$1` that did not succeed, newest first, behind the one of `$2` and `$3`: `$4` of them. Jobs
/// that somebody else has locked are being tried or ended.
const HASTEN: &str = "
    WITH page AS MATERIALIZED (
        SELECT created_at, id, job_id, status FROM deliveries
         WHERE webhook_id = $1 AND status <> 'succeeded'
           AND (created_at, id) < (coalesce($2::timestamptz, 'infinity'), coalesce($3, 'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid))
         ORDER BY created_at DESC, id DESC LIMIT $4),
    waiting AS MATERIALIZED (
        SELECT id FROM jobs
         WHERE id IN (SELECT job_id FROM page WHERE status = 'pending') AND (state = 'queued') IS TRUE AND run_at > job_now()
           FOR UPDATE SKIP LOCKED),
    hastened AS (
        UPDATE jobs SET run_at = job_now() FROM waiting WHERE jobs.id = waiting.id)
    SELECT created_at, id FROM page ORDER BY created_at DESC, id DESC OFFSET $4 - 1";

/// The last delivery that was looked at.
#[derive(Debug, Clone, Copy, FromQueryResult)]
pub struct Last {
    created_at: DateTime<Utc>,
    id: DeliveryId,
}

/// Makes the next deliveries due, behind the `last` ones, and tells which was the last now; nothing where there are no more.
///
/// # Errors
/// As the database fails.
pub async fn hasten(tx: &mut Tx, webhook: WebhookId, last: Option<Last>) -> Result<Option<Last>> {
    let values = [
        webhook.into(),
        last.map(|last| last.created_at).into(),
        last.map(|last| last.id.0).into(),
        PAGE.into(),
    ];
    let statement = Statement::from_sql_and_values(DbBackend::Postgres, HASTEN, values);
    let last = Last::find_by_statement(statement).one(tx.orm()).await?;
    tx.nudge(Queue::Webhook);
    tx.nudge(Queue::WebhookRetry);
    Ok(last)
}
