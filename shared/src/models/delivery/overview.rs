//! Deliveries as their users see them: with the event, the last try and the next one.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use sea_orm::{
    ActiveEnum as _, ConnectionTrait, DbBackend, DbErr, FromQueryResult, Statement, Value,
    entity::prelude::Json,
};
use uuid::Uuid;

use super::Status;
use crate::{
    database::{Error, Result},
    ids::{DeliveryId, EventId, JobId, UserId, WebhookId},
    models::webhook::pattern,
};

/// A delivery with what belongs to it.
#[derive(Clone, Debug, PartialEq, FromQueryResult)]
pub struct Overview {
    /// Its id.
    pub id: DeliveryId,
    /// To whom.
    pub webhook_id: WebhookId,
    /// What.
    pub event_id: EventId,
    /// The job that makes the tries; its row may be gone.
    pub job_id: Option<JobId>,
    /// How far it has come.
    pub status: Status,
    /// Why it was given up.
    pub error: Option<String>,
    /// When it was asked for.
    pub created_at: DateTime<Utc>,
    /// When it ended.
    pub finished_at: Option<DateTime<Utc>>,
    /// Name of the event.
    pub event: String,
    /// The `data` of the event.
    pub event_data: Json,
    /// Whose event it is.
    pub event_user_id: UserId,
    /// When the event happened.
    pub happened_at: DateTime<Utc>,
    /// What the event is about.
    pub subject: Option<String>,
    /// Whether it is a ping.
    pub is_test: bool,
    /// Number of the last try.
    pub attempts: Option<i32>,
    /// What the last try was answered; 0 = no answer.
    pub status_code: Option<i16>,
    /// Why the last try did not succeed.
    pub attempt_error: Option<String>,
    /// The same, for programs.
    pub error_code: Option<String>,
    /// How long the last try took.
    pub duration_ms: Option<i32>,
    /// When the next try is due, where one waits: not before its endpoint may be asked again.
    pub next_attempt_at: Option<DateTime<Utc>>,
}

/// `$1` is the user, `$2` the endpoint. The endpoint is looked up once and before the rest, so that its deliveries come
/// in the order of their index. `IS TRUE` keeps the planner from walking all live jobs for the state's sake.
const SELECT: &str = "
    SELECT d.id, d.webhook_id, d.event_id, d.job_id, d.status, d.error, d.created_at, d.finished_at,
           d.is_test, e.kind AS event, e.data AS event_data, e.user_id AS event_user_id,
           e.created_at AS happened_at, e.subject,
           a.attempt AS attempts, a.status_code, a.error AS attempt_error, a.error_code, a.duration_ms,
           (SELECT greatest(j.run_at, (SELECT s.slowed_until FROM webhook_states s WHERE s.webhook_id = d.webhook_id))
              FROM jobs j WHERE j.id = d.job_id AND d.status = 'pending'
               AND (j.state IN ('queued', 'parked', 'dispatched')) IS TRUE) AS next_attempt_at
      FROM deliveries d
      JOIN events e ON e.id = d.event_id
      LEFT JOIN LATERAL (SELECT * FROM delivery_attempts t WHERE t.delivery_id = d.id
                          ORDER BY t.attempt DESC LIMIT 1) a ON true
     WHERE d.webhook_id = (SELECT w.id FROM webhooks w WHERE w.user_id = $1 AND w.id = $2 AND w.deleted_at IS NULL)";

/// Which deliveries are listed.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Only of one of these statuses; of any where there are none.
    pub statuses: Vec<Status>,
    /// Only of events that this pattern wants.
    pub event: Option<String>,
    /// Only those of this time on.
    pub since: Option<DateTime<Utc>>,
    /// Only those before this time.
    pub until: Option<DateTime<Utc>>,
    /// Only those older than this one.
    pub before: Option<(DateTime<Utc>, DeliveryId)>,
}

/// Gets a delivery to an endpoint of `user`.
///
/// # Errors
/// [`Error::NotFound`] also when it is another user's, or to another endpoint.
pub async fn get(
    db: &impl ConnectionTrait,
    user: UserId,
    webhook: WebhookId,
    id: DeliveryId,
) -> Result<Overview> {
    let statement = Statement::from_sql_and_values(
        DbBackend::Postgres,
        format!("{SELECT} AND d.id = $3"),
        [user.into(), webhook.into(), id.into()],
    );
    Overview::find_by_statement(statement)
        .one(db)
        .await?
        .ok_or(Error::NotFound("delivery"))
}

/// Lists deliveries to an endpoint of `user`, newest first.
///
/// # Errors
/// As the database fails.
pub async fn list(
    db: &impl ConnectionTrait,
    user: UserId,
    webhook: WebhookId,
    filter: &Filter,
    limit: u64,
) -> Result<Vec<Overview>> {
    let mut values: Vec<Value> = vec![user.into(), webhook.into()];
    let mut bind = |value: Value| {
        values.push(value);
        format!("${}", values.len())
    };
    let mut conditions = Vec::new();
    // Written out: the index of those that have not succeeded is not taken for a status that is not known yet.
    let statuses = filter.statuses.iter();
    let statuses: Vec<String> = statuses
        .map(|status| format!("'{}'", status.to_value()))
        .collect();
    match statuses.as_slice() {
        [] => {}
        [status] => conditions.push(format!(" AND d.status = {status}")),
        statuses => conditions.push(format!(" AND d.status IN ({})", statuses.join(", "))),
    }
    match filter.event.as_deref() {
        None | Some(pattern::ALL) => {}
        Some(event) => match pattern::group_of(event) {
            Some(group) => {
                let group = bind(group.to_owned().into());
                conditions.push(format!(" AND starts_with(e.kind, {group})"));
            }
            None => conditions.push(format!(" AND e.kind = {}", bind(event.to_owned().into()))),
        },
    }
    if let Some(since) = filter.since {
        conditions.push(format!(" AND d.created_at >= {}", bind(since.into())));
    }
    if let Some(until) = filter.until {
        conditions.push(format!(" AND d.created_at < {}", bind(until.into())));
    }
    if let Some((created_at, id)) = filter.before {
        let (created_at, id) = (bind(created_at.into()), bind(id.into()));
        conditions.push(format!(" AND (d.created_at, d.id) < ({created_at}, {id})"));
    }
    let limit = bind(i64::try_from(limit).unwrap_or(i64::MAX).into());
    let sql = format!(
        "{SELECT}{} ORDER BY d.created_at DESC, d.id DESC LIMIT {limit}",
        conditions.concat()
    );
    let statement = Statement::from_sql_and_values(DbBackend::Postgres, sql, values);
    Ok(Overview::find_by_statement(statement).all(db).await?)
}

/// Finds the names of the events of deliveries, which were found by their user.
///
/// # Errors
/// As the database fails.
pub async fn find_events(
    db: &impl ConnectionTrait,
    deliveries: &[DeliveryId],
) -> Result<HashMap<DeliveryId, String>> {
    const SQL: &str = "SELECT d.id, e.kind FROM deliveries d JOIN events e ON e.id = d.event_id WHERE d.id = ANY($1)";
    let ids: Vec<Uuid> = deliveries.iter().map(|delivery| delivery.0).collect();
    let statement = Statement::from_sql_and_values(DbBackend::Postgres, SQL, [ids.into()]);
    let rows = db.query_all_raw(statement).await?;
    let named: Result<HashMap<DeliveryId, String>, DbErr> = rows
        .iter()
        .map(|row| Ok((row.try_get("", "id")?, row.try_get("", "kind")?)))
        .collect();
    Ok(named?)
}
