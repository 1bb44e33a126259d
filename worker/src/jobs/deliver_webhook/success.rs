//! What a try that succeeded leaves, written for many at once.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::json;
use shared::{
    ids::{AttemptId, DeliveryId, JobId, WebhookId},
    jobs::DeliverWebhook,
    models::{
        delivery::{
            self,
            attempt::{self, Details, Try},
        },
        webhook::{self, state},
    },
    queue::groups,
};
use sqlx::PgPool;
use uuid::Uuid;

use super::{DELETED, Loaded};
use crate::{context::JobContext, jobs::Outcome};

/// Ends runs, their deliveries, and what is held against their endpoints, which get up to `$2` tries at once again; fenced as
/// [`JobContext::fenced`] does. What somebody else has locked is left out, and written alone: nothing is waited for, so that
/// nobody waits in a circle. A cancel comes too late for what has arrived. What arrived at a former URL tells nothing of the
/// server that is there now.
const SUCCEED: &str = "
    WITH u AS (
        SELECT u.*, w.url = u.url AS is_there FROM json_to_recordset($1::json) AS u(
            job uuid, epoch int, delivery uuid, webhook uuid, url text, attempt uuid, status_code smallint,
            response_body text, details jsonb, duration_ms int, started_at timestamptz, at timestamptz)
          LEFT JOIN webhooks w ON w.id = u.webhook),
    failing AS MATERIALIZED (
        SELECT webhook_id FROM webhook_states
         WHERE webhook_id IN (SELECT webhook FROM u WHERE is_there) AND failures > 0
           FOR UPDATE SKIP LOCKED),
    narrow AS MATERIALIZED (
        SELECT w.id AS webhook_id, g.key FROM webhooks w JOIN job_groups g ON g.key = 'webhook:' || w.id::text
         WHERE w.id IN (SELECT webhook FROM u WHERE is_there) AND w.ordering <> 'endpoint' AND g.bound < $2
           FOR UPDATE OF g SKIP LOCKED),
    held AS MATERIALIZED (
        SELECT u.* FROM u JOIN jobs j ON j.id = u.job JOIN deliveries d ON d.id = u.delivery
         WHERE j.epoch = u.epoch AND (j.state = 'running') IS TRUE AND NOT j.rerun
           AND d.status = 'pending'
           AND NOT EXISTS (SELECT FROM webhook_states s WHERE s.webhook_id = u.webhook AND s.failures > 0
                              AND NOT EXISTS (SELECT FROM failing f WHERE f.webhook_id = s.webhook_id))
           FOR NO KEY UPDATE OF j, d SKIP LOCKED),
    ended AS (
        UPDATE jobs j SET state = 'succeeded', finished_at = job_now(), progress = 100, result = NULL, last_error = NULL,
               lease_until = NULL, worker_id = NULL
          FROM held h WHERE j.id = h.job),
    delivered AS (
        UPDATE deliveries d SET status = 'succeeded', error = NULL, finished_at = h.at FROM held h WHERE d.id = h.delivery),
    tried AS (
        INSERT INTO delivery_attempts (id, delivery_id, webhook_id, attempt, status_code, response_body, details, duration_ms,
                                       created_at)
        SELECT h.attempt, h.delivery, h.webhook,
               (SELECT coalesce(max(a.attempt), 0) + 1 FROM delivery_attempts a WHERE a.delivery_id = h.delivery),
               h.status_code, h.response_body, h.details, h.duration_ms, h.started_at
          FROM held h),
    healed AS (
        UPDATE webhook_states s
           SET failing_since = NULL, failures = 0, throttles = 0, last_success_at = h.at,
               slowed_until = CASE WHEN s.slowed_until > h.at THEN s.slowed_until END
          FROM (SELECT webhook, max(at) AS at FROM held WHERE is_there GROUP BY webhook) h
          JOIN failing f ON f.webhook_id = h.webhook
         WHERE s.webhook_id = h.webhook),
    widened AS (
        UPDATE job_groups g SET bound = $2 FROM narrow n
         WHERE g.key = n.key AND n.webhook_id IN (SELECT webhook FROM held WHERE is_there))
    SELECT job FROM held";

/// A run that succeeded.
#[derive(Serialize)]
pub(super) struct Success {
    job: JobId,
    epoch: i32,
    delivery: DeliveryId,
    webhook: WebhookId,
    /// Where it arrived.
    url: String,
    attempt: AttemptId,
    status_code: u16,
    response_body: Option<String>,
    details: Option<Details>,
    duration_ms: i32,
    started_at: DateTime<Utc>,
    at: DateTime<Utc>,
}

/// Records a try, and ends its delivery and its job.
pub(super) async fn store(ctx: &JobContext, loaded: &Loaded, of: Try) -> anyhow::Result<Outcome> {
    let (job, epoch) = ctx.run();
    let success = Success {
        job,
        epoch,
        delivery: loaded.delivery.id,
        webhook: loaded.delivery.webhook_id,
        url: loaded.endpoint.url.clone(),
        attempt: AttemptId::new(),
        status_code: of.status_code,
        response_body: of.response_body.clone(),
        details: of.details.clone(),
        duration_ms: of.duration_ms,
        started_at: of.started_at,
        at: ctx.clock.now(),
    };
    let pool = ctx.db.get_postgres_connection_pool().clone();
    let all = move |successes: Vec<Success>| async move { write(&pool, &successes).await };
    if ctx.deliveries.succeeding.ask(success, all).await == Some(true) {
        ctx.succeeded().await;
        return Ok(Outcome::Written);
    }
    let mut tx = ctx.fenced_late().await?;
    // As whoever deletes the endpoint locks them: the endpoint, its state, the delivery.
    let (webhook, now) = (loaded.delivery.webhook_id, ctx.clock.now());
    let Some(endpoint) = webhook::hold_for_any_user(&mut tx, webhook).await? else {
        return tx.done(Some(json!({ "discarded": DELETED }))).await;
    };
    if endpoint.url == loaded.endpoint.url {
        state::succeed(&mut tx, webhook, now).await?;
        let group = DeliverWebhook::group(webhook);
        groups::widen(&mut tx, &group, endpoint.ordering.at_once()).await?;
    }
    if !attempt::record(&mut tx, loaded.delivery.id, of).await? {
        return tx.done(Some(json!({ "discarded": DELETED }))).await;
    }
    delivery::succeed(&mut tx, loaded.delivery.id, now).await?;
    tx.done(None).await
}

/// Whether each was written.
async fn write(pool: &PgPool, successes: &[Success]) -> Vec<bool> {
    let rows = serde_json::to_string(successes).expect("successes are plain data");
    let at_once = webhook::Ordering::None.at_once();
    let written: sqlx::Result<Vec<Uuid>> = sqlx::query_scalar(SUCCEED)
        .bind(rows)
        .bind(i16::try_from(at_once).unwrap_or(i16::MAX))
        .fetch_all(pool)
        .await;
    match written {
        Ok(written) => successes
            .iter()
            .map(|success| written.contains(&success.job.0))
            .collect(),
        Err(error) => {
            tracing::debug!(error = %error, "deliveries are written one by one");
            Vec::new()
        }
    }
}
