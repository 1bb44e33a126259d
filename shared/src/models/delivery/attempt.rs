//! Tries of a delivery.

use chrono::{DateTime, Utc};
use sea_orm::{Condition, ConnectionTrait, DbBackend, Statement, entity::prelude::*};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use super::details::{Details, Timings, Tls};
use crate::{
    database::{Result, Tx},
    ids::{AttemptId, DeliveryId, WebhookId},
    models::{page, webhook::pattern},
};

/// How the error of a try begins that the guard refused.
const BLOCKED: &str = "blocked:";

/// A row of `delivery_attempts`.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "delivery_attempts")]
pub struct Model {
    /// Its id.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: AttemptId,
    /// Of which delivery.
    pub delivery_id: DeliveryId,
    /// To which endpoint; not known of the oldest ones.
    pub webhook_id: Option<WebhookId>,
    /// 1, 2, …; goes on where the delivery was sent again by hand.
    pub attempt: i32,
    /// What the endpoint answered; 0 = no answer.
    pub status_code: i16,
    /// Why it did not succeed, for the user to read.
    pub error: Option<String>,
    /// The same, for programs.
    pub error_code: Option<String>,
    /// Begin of the answer's body.
    pub response_body: Option<String>,
    /// What was sent and answered besides, and how it went.
    #[sea_orm(column_type = "JsonBinary", nullable)]
    pub details: Option<Details>,
    /// From the first byte sent to the last byte read.
    pub duration_ms: i32,
    /// When it began.
    pub created_at: DateTime<Utc>,
}

/// None that the queries need.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// What became of a try.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = AttemptOutcome)]
pub enum Outcome {
    /// The endpoint answered 2xx.
    Succeeded,
    /// It answered otherwise, or not completely.
    Failed,
    /// Its address is not allowed, so nothing was sent.
    Blocked,
}

impl Model {
    /// What became of it.
    pub fn outcome(&self) -> Outcome {
        match &self.error {
            None => Outcome::Succeeded,
            Some(error) if error.starts_with(BLOCKED) => Outcome::Blocked,
            Some(_) => Outcome::Failed,
        }
    }
}

/// What one try came to.
#[derive(Debug, Clone)]
pub struct Try {
    /// 0 = no answer.
    pub status_code: u16,
    /// Why it did not succeed; begins with `blocked:` where the guard refused.
    pub error: Option<String>,
    /// The same, for programs: `http_status`, or the code of what went wrong.
    pub error_code: Option<String>,
    /// Begin of the answer's body.
    pub response_body: Option<String>,
    /// What was sent and answered besides, and how it went.
    pub details: Option<Details>,
    /// How long it took.
    pub duration_ms: i32,
    /// When it began.
    pub started_at: DateTime<Utc>,
}

/// Records a try, for the delivery's job; false if the delivery was deleted meanwhile.
///
/// # Errors
/// As the database fails.
pub async fn record(tx: &mut Tx, delivery: DeliveryId, of: Try) -> Result<bool> {
    // The job's row is locked, so nobody else counts the tries now.
    let statement = Statement::from_sql_and_values(
        DbBackend::Postgres,
        "INSERT INTO delivery_attempts (id, delivery_id, webhook_id, attempt, status_code, error, error_code, response_body,
                                        details, duration_ms, created_at)
         SELECT $1, d.id, d.webhook_id,
                (SELECT coalesce(max(a.attempt), 0) + 1 FROM delivery_attempts a WHERE a.delivery_id = d.id),
                $3, $4, $5, $6, $7, $8, $9
           FROM deliveries d WHERE d.id = $2 FOR KEY SHARE OF d",
        [
            AttemptId::new().into(),
            delivery.into(),
            i16::try_from(of.status_code).unwrap_or(0).into(),
            of.error.into(),
            of.error_code.into(),
            of.response_body.into(),
            of.details.into(),
            of.duration_ms.into(),
            of.started_at.into(),
        ],
    );
    Ok(tx.orm().execute_raw(statement).await?.rows_affected() > 0)
}

/// Which tries are listed.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Only those that came to one of these; to anything where there are none.
    pub outcomes: Vec<Outcome>,
    /// Only those that were answered this; 0 = no answer.
    pub status_code: Option<i16>,
    /// Only of events that this pattern wants.
    pub event: Option<String>,
    /// Only those of this time on.
    pub since: Option<DateTime<Utc>>,
    /// Only those before this time.
    pub until: Option<DateTime<Utc>>,
    /// Only those older than this one.
    pub before: Option<(DateTime<Utc>, AttemptId)>,
}

impl Filter {
    fn apply(&self, mut tries: Select<Entity>) -> Select<Entity> {
        if !self.outcomes.is_empty() {
            let outcomes = self.outcomes.iter().copied().map(came_to);
            tries = tries.filter(outcomes.fold(Condition::any(), Condition::add));
        }
        if let Some(code) = self.status_code {
            tries = tries.filter(Column::StatusCode.eq(code));
            // All others failed, which an index of few knows.
            if !(200..300).contains(&code) {
                tries = tries.filter(Column::Error.is_not_null());
            }
        }
        if let Some(is_wanted) = self.event.as_deref().and_then(delivers) {
            tries = tries.filter(is_wanted);
        }
        if let Some(since) = self.since {
            tries = tries.filter(Column::CreatedAt.gte(since));
        }
        if let Some(until) = self.until {
            tries = tries.filter(Column::CreatedAt.lt(until));
        }
        tries
    }
}

fn came_to(outcome: Outcome) -> Condition {
    let (error, blocked) = (Column::Error, format!("{BLOCKED}%"));
    match outcome {
        Outcome::Succeeded => Condition::all().add(error.is_null()),
        // Those that did not succeed have an index, which is taken only if it is said that there is an error.
        Outcome::Failed => Condition::all()
            .add(error.is_not_null())
            .add(error.not_like(blocked)),
        Outcome::Blocked => Condition::all()
            .add(error.is_not_null())
            .add(error.like(blocked)),
    }
}

/// Whether the event of a try is one that a pattern wants; nothing for all events.
///
/// It is looked up for each try, not joined, so that the tries come in the order of their index.
fn delivers(wanted: &str) -> Option<Expr> {
    const EVENT: &str = "SELECT e.kind FROM deliveries d JOIN events e ON e.id = d.event_id \
                         WHERE d.id = delivery_attempts.delivery_id";
    if wanted == pattern::ALL {
        return None;
    }
    let (sql, value) = pattern::group_of(wanted).map_or_else(
        || (format!("({EVENT}) = $1"), wanted),
        |group| (format!("starts_with(({EVENT}), $1)"), group),
    );
    Some(Expr::cust_with_values(sql, [value]))
}

/// Lists tries of a delivery, newest first; whose it is was checked with the delivery.
///
/// # Errors
/// As the database fails.
pub async fn list(
    db: &impl ConnectionTrait,
    delivery: DeliveryId,
    filter: &Filter,
    limit: u64,
) -> Result<Vec<Model>> {
    let tries = Entity::find().filter(Column::DeliveryId.eq(delivery));
    let tries = page::newest(filter.apply(tries), filter.before, limit);
    Ok(tries.all(db).await?)
}

/// Lists tries of all deliveries to an endpoint, newest first; whose it is was checked with the endpoint.
///
/// # Errors
/// As the database fails.
pub async fn list_of_webhook(
    db: &impl ConnectionTrait,
    webhook: WebhookId,
    filter: &Filter,
    limit: u64,
) -> Result<Vec<Model>> {
    let tries = Entity::find().filter(Column::WebhookId.eq(webhook));
    let tries = page::newest(filter.apply(tries), filter.before, limit);
    Ok(tries.all(db).await?)
}
