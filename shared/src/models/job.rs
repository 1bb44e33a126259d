//! Jobs, as their users see them. The engine's own statements are in `queue` and in the worker.

use chrono::{DateTime, Utc};
use sea_orm::{Condition, ConnectionTrait, entity::prelude::*};
use serde_json::Value;

use crate::{
    database::{Error, Result},
    ids::{JobId, UserId},
    models::page,
};

/// A row of `jobs`, all columns.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "jobs")]
pub struct Model {
    /// Its id.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: JobId,
    /// Name of the kind of job.
    pub kind: String,
    /// Where it waits.
    pub queue: String,
    /// Lower goes first.
    pub priority: i16,
    /// queued, dispatched, running, succeeded, failed, cancelled or quarantined.
    pub state: String,
    /// What was asked for.
    pub payload: Value,
    /// What came of it.
    pub result: Option<Value>,
    /// Percent.
    pub progress: i16,
    /// What it is doing, for the user to read.
    pub progress_note: Option<String>,
    /// Runs begun.
    pub attempt: i32,
    /// Runs allowed.
    pub max_attempts: i32,
    /// The fence: one more at every claim, never back.
    pub epoch: i32,
    /// Workers that died on it.
    pub crash_count: i16,
    /// Not before.
    pub run_at: DateTime<Utc>,
    /// When its id went to Redis.
    pub dispatched_at: Option<DateTime<Utc>>,
    /// Until when its worker holds it.
    pub lease_until: Option<DateTime<Utc>>,
    /// Who runs it.
    pub worker_id: Option<String>,
    /// Longest time of one run.
    pub timeout_ms: i64,
    /// At most one live job has it.
    pub unique_key: Option<String>,
    /// Asked for again while it ran.
    pub rerun: bool,
    /// Somebody wants it stopped.
    pub cancel_requested_at: Option<DateTime<Utc>>,
    /// Whose it is.
    pub user_id: Option<UserId>,
    /// `X-Request-Id` of the request that wanted it.
    pub request_id: Option<String>,
    /// Trace of that request.
    pub traceparent: Option<String>,
    /// Why the last run failed, for the user to read.
    pub last_error: Option<String>,
    /// The last ten errors, for operators.
    pub errors: Option<Value>,
    /// When it was asked for.
    pub created_at: DateTime<Utc>,
    /// When the last run began.
    pub started_at: Option<DateTime<Utc>>,
    /// When it ended.
    pub finished_at: Option<DateTime<Utc>>,
}

/// None that the queries need.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// A job's state, as clients see it.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize, utoipa::ToSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Waits for a worker.
    Queued,
    /// Failed, and waits for its next try.
    Retrying,
    /// A worker is at it.
    Running,
    /// Done.
    Succeeded,
    /// Given up.
    Failed,
    /// Stopped by its user.
    Cancelled,
    /// Given up because workers died on it.
    Quarantined,
}

impl Status {
    /// Whether nothing more will happen.
    pub fn is_final(self) -> bool {
        matches!(
            self,
            Self::Succeeded | Self::Failed | Self::Cancelled | Self::Quarantined
        )
    }

    /// The rows that show so.
    fn condition(self) -> Condition {
        let state = |states: &[&str]| Column::State.is_in(states.iter().copied());
        match self {
            Self::Queued => Condition::any().add(Column::State.eq("dispatched")).add(
                Condition::all()
                    .add(state(&["queued", "parked"]))
                    .add(Column::Attempt.eq(0)),
            ),
            Self::Retrying => Condition::all()
                .add(state(&["queued", "parked"]))
                .add(Column::Attempt.gt(0)),
            Self::Running => Condition::all().add(state(&["running"])),
            Self::Succeeded => Condition::all().add(state(&["succeeded"])),
            Self::Failed => Condition::all().add(state(&["failed"])),
            Self::Cancelled => Condition::all().add(state(&["cancelled"])),
            Self::Quarantined => Condition::all().add(state(&["quarantined"])),
        }
    }
}

impl Model {
    /// The state that clients see.
    pub fn status(&self) -> Status {
        match (self.state.as_str(), self.attempt) {
            ("queued" | "parked", 1..) => Status::Retrying,
            ("queued" | "parked" | "dispatched", _) => Status::Queued,
            ("running", _) => Status::Running,
            ("succeeded", _) => Status::Succeeded,
            ("cancelled", _) => Status::Cancelled,
            ("quarantined", _) => Status::Quarantined,
            _ => Status::Failed,
        }
    }
}

/// Which jobs are listed.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Only of this status.
    pub status: Option<Status>,
    /// Only of this queue.
    pub queue: Option<String>,
    /// Only of this kind.
    pub kind: Option<String>,
    /// Only those older than this one.
    pub before: Option<(DateTime<Utc>, JobId)>,
}

/// Gets a job of `user`.
///
/// # Errors
/// [`Error::NotFound`] also when it is another user's.
pub async fn get(db: &impl ConnectionTrait, user: UserId, id: JobId) -> Result<Model> {
    Entity::find_by_id(id)
        .filter(Column::UserId.eq(user))
        .one(db)
        .await?
        .ok_or(Error::NotFound("job"))
}

/// Finds jobs whose right to be seen was checked before.
///
/// # Errors
/// As the database fails.
pub async fn find_all(db: &impl ConnectionTrait, ids: &[JobId]) -> Result<Vec<Model>> {
    Ok(Entity::find()
        .filter(Column::Id.is_in(ids.iter().copied()))
        .all(db)
        .await?)
}

/// Lists jobs of `user`, newest first.
///
/// # Errors
/// As the database fails.
pub async fn list(
    db: &impl ConnectionTrait,
    user: UserId,
    filter: &Filter,
    limit: u64,
) -> Result<Vec<Model>> {
    let mut query = Entity::find().filter(Column::UserId.eq(user));
    if let Some(status) = filter.status {
        query = query.filter(status.condition());
    }
    if let Some(queue) = &filter.queue {
        query = query.filter(Column::Queue.eq(queue));
    }
    if let Some(kind) = &filter.kind {
        query = query.filter(Column::Kind.eq(kind));
    }
    Ok(page::newest(query, filter.before, limit).all(db).await?)
}
