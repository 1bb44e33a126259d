//! How an endpoint does, by what was learned of it, its latest attempts and the deliveries that wait.

use chrono::{DateTime, TimeDelta, Utc};
use sea_orm::{ConnectionTrait, DbBackend, FromQueryResult, Statement};
use serde::Serialize;
use utoipa::ToSchema;

use super::{Model, state};
use crate::{database::Result, ids::WebhookId};

/// Attempts of this time are looked at.
const RECENT: TimeDelta = TimeDelta::hours(24);

/// How an endpoint does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = WebhookStanding)]
pub enum Standing {
    /// The latest attempt succeeded, or there was none.
    Healthy,
    /// The latest attempts failed.
    Failing,
    /// It asked to be left alone for a while.
    Slowed,
    /// Nothing is sent to it.
    Disabled,
}

impl Standing {
    /// How an endpoint does at a time.
    pub fn of(endpoint: &Model, state: Option<&state::Model>, now: DateTime<Utc>) -> Self {
        if !endpoint.is_active {
            return Self::Disabled;
        }
        match state {
            Some(state) if state.slowed_until.is_some_and(|until| until > now) => Self::Slowed,
            Some(state) if state.failing_since.is_some() => Self::Failing,
            _ => Self::Healthy,
        }
    }
}

/// What the latest attempts tell, and the deliveries that wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromQueryResult)]
pub struct Figures {
    /// How many there were: 1,000 at most.
    pub attempts: i64,
    /// Those that succeeded.
    pub succeeded: i64,
    /// How long half of the answers took at most.
    pub p50_ms: Option<i32>,
    /// How long 95 of 100 answers took at most.
    pub p95_ms: Option<i32>,
    /// When an attempt succeeded last.
    pub last_success_at: Option<DateTime<Utc>>,
    /// When one failed last.
    pub last_failure_at: Option<DateTime<Utc>>,
    /// Deliveries that wait, among the latest 10,000 that have not succeeded.
    pub pending: i64,
}

/// It reads so many rows at most, whatever happened to the endpoint: both lists end by their index.
const FIGURES: &str = "
    WITH tries AS (
        SELECT a.status_code, a.error IS NULL AS succeeded, a.duration_ms, a.created_at
          FROM delivery_attempts a WHERE a.webhook_id = $1 AND a.created_at > $2
         ORDER BY a.created_at DESC, a.id DESC LIMIT 1000)
    SELECT count(*) AS attempts,
           count(*) FILTER (WHERE t.succeeded) AS succeeded,
           percentile_disc(0.5) WITHIN GROUP (ORDER BY t.duration_ms) FILTER (WHERE t.status_code > 0) AS p50_ms,
           percentile_disc(0.95) WITHIN GROUP (ORDER BY t.duration_ms) FILTER (WHERE t.status_code > 0) AS p95_ms,
           max(t.created_at) FILTER (WHERE t.succeeded) AS last_success_at,
           max(t.created_at) FILTER (WHERE NOT t.succeeded) AS last_failure_at,
           (SELECT count(*) FILTER (WHERE u.status = 'pending') FROM (
                SELECT d.status FROM deliveries d WHERE d.webhook_id = $1 AND d.status <> 'succeeded'
                 ORDER BY d.created_at DESC, d.id DESC LIMIT 10000) u) AS pending
      FROM tries t";

/// Reads what the latest attempts and the deliveries of an endpoint tell, whose right to be seen was checked before.
///
/// # Errors
/// As the database fails.
pub async fn figures(
    db: &impl ConnectionTrait,
    webhook: WebhookId,
    now: DateTime<Utc>,
) -> Result<Figures> {
    let values = [webhook.into(), (now - RECENT).into()];
    let statement = Statement::from_sql_and_values(DbBackend::Postgres, FIGURES, values);
    let found = Figures::find_by_statement(statement).one(db).await?;
    Ok(found.expect("an aggregate is one row"))
}
