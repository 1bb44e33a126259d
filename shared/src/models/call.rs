//! Calls of providers that runs of jobs are at, or requests that have no message.
//!
//! A call is noted before the provider is asked, with the row that the ledger gets of it where nobody tells what came of it:
//! the worker was killed, or stopped while Postgres was away. The note goes in the statement that writes the row, so
//! there is one row, whoever writes it. It has the id of the note: what is known of a call replaces what was estimated before,
//! as a run may live on that was held for dead.

use chrono::{DateTime, Utc};
use sea_orm::{ConnectionTrait, DbBackend, FromQueryResult, Statement, entity::prelude::*};
use serde_json::Value;

use super::{usage, usage_month};
use crate::{
    config::UsageLimits,
    database::{Result, Tx},
    ids::{JobId, UsageId, UserId},
};

/// A row of `calls`.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "calls")]
pub struct Model {
    /// The id of its row of the ledger.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: UsageId,
    /// The job that asks; none where it is a request.
    pub job_id: Option<JobId>,
    /// Which run of it; 0 for a request.
    pub epoch: i32,
    /// Its row of the ledger, as far as it can be known before.
    pub estimate: Value,
}

/// None that the queries need.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// All columns of the ledger. They are named, so that a step of the schema may add others while this code still serves.
macro_rules! columns {
    () => {
        "id, user_id, project_id, conversation_id, message_id, attachment_id, kind, attempt, provider, model,
         provider_model, key_group, outcome, error, input_tokens, cached_tokens, output_tokens, reasoning_tokens, audio_ms,
         is_estimated, price_version, cost_microusd, latency_ms, first_token_ms, created_at"
    };
}

/// Ids of at most `$1` calls whose run is over, the oldest first: its lease was lost, it has ended, or the job is gone. No run
/// comes back, as each has an epoch of its own. A request has no lease: nobody lets a call of one last as long as this.
pub const LOST: &str = "
    SELECT c.id FROM calls c LEFT JOIN jobs j ON j.id = c.job_id
     WHERE CASE WHEN c.job_id IS NULL
                THEN (c.estimate ->> 'created_at')::timestamptz < job_now() - interval '10 minutes'
                ELSE (j.epoch = c.epoch AND j.state = 'running') IS NOT TRUE END
     ORDER BY c.id LIMIT $1";

/// Accounts for the call `$1` by its estimate, unless somebody else does at this moment or has done so; tells whose it is, and
/// when it was asked.
pub const ESTIMATE: &str = concat!(
    "WITH lost AS (
        DELETE FROM calls WHERE id = (SELECT id FROM calls WHERE id = $1 FOR UPDATE SKIP LOCKED)
        RETURNING estimate || jsonb_build_object('latency_ms', least(2147483647, greatest(0,
            1000 * extract(epoch FROM job_now() - (estimate ->> 'created_at')::timestamptz)))::int) AS estimate
    )
    INSERT INTO usage (",
    columns!(),
    ") SELECT ",
    columns!(),
    " FROM lost, jsonb_populate_record(NULL::usage, lost.estimate) r ON CONFLICT (id) DO NOTHING
    RETURNING user_id, created_at"
);

/// The note is taken before the row is written, as whoever estimates does it, too: they never wait for each other.
const SETTLE: &str = concat!(
    "WITH noted AS (DELETE FROM calls WHERE id = $1 RETURNING id)
    INSERT INTO usage (",
    columns!(),
    ") SELECT ",
    columns!(),
    " FROM jsonb_populate_record(NULL::usage, $2) r WHERE (SELECT count(*) FROM noted) >= 0
    ON CONFLICT (id) DO UPDATE
       SET outcome = excluded.outcome, error = excluded.error, input_tokens = excluded.input_tokens,
           cached_tokens = excluded.cached_tokens, output_tokens = excluded.output_tokens,
           reasoning_tokens = excluded.reasoning_tokens, audio_ms = excluded.audio_ms,
           is_estimated = excluded.is_estimated,
           price_version = excluded.price_version, cost_microusd = excluded.cost_microusd,
           latency_ms = excluded.latency_ms, first_token_ms = excluded.first_token_ms"
);

/// Notes that a run of a job, with its epoch, or a request is about to ask a provider. Noted again, it stays one note.
///
/// # Errors
/// As the database fails; then it may be noted or not.
pub async fn note(
    db: &impl ConnectionTrait,
    run: Option<(JobId, i32)>,
    estimate: &usage::Model,
) -> Result<()> {
    const SQL: &str = "
        INSERT INTO calls (id, job_id, epoch, estimate) VALUES ($1, $2, $3, $4) ON CONFLICT (id) DO NOTHING";
    let (job, epoch) = run.unzip();
    let values = [
        estimate.id.into(),
        job.into(),
        epoch.unwrap_or_default().into(),
        json(estimate).into(),
    ];
    let statement = Statement::from_sql_and_values(DbBackend::Postgres, SQL, values);
    db.execute_raw(statement).await?;
    Ok(())
}

/// Writes what came of a call into the ledger, instead of its note or of the estimate that somebody has made of that. Written
/// again, it stays one row.
///
/// # Errors
/// As the database fails; then it may be there or not.
pub async fn settle(db: &impl ConnectionTrait, row: &usage::Model) -> Result<()> {
    let values = [row.id.into(), json(row).into()];
    let statement = Statement::from_sql_and_values(DbBackend::Postgres, SETTLE, values);
    db.execute_raw(statement).await?;
    Ok(())
}

/// Accounts for a call by its estimate, see [`ESTIMATE`], and tells of `limits` that are near or reached by that. False where
/// somebody else does or did.
///
/// # Errors
/// As the database fails.
pub async fn estimate(tx: &mut Tx, limits: &UsageLimits, id: Uuid) -> Result<bool> {
    let statement = Statement::from_sql_and_values(DbBackend::Postgres, ESTIMATE, [id.into()]);
    let Some(row) = Estimated::find_by_statement(statement)
        .one(tx.orm())
        .await?
    else {
        return Ok(false);
    };
    usage_month::tell(tx, limits, row.user_id, &[row.created_at]).await?;
    Ok(true)
}

#[derive(FromQueryResult)]
struct Estimated {
    user_id: Option<UserId>,
    created_at: DateTime<Utc>,
}

/// Takes back the note of a call that was not made, or the estimate that somebody has made of it.
///
/// # Errors
/// As the database fails; then it may be there or not.
pub async fn withdraw(db: &impl ConnectionTrait, id: UsageId) -> Result<()> {
    // One after the other, so that the second sees what was written before the first could take the note.
    let noted = Entity::delete_by_id(id).exec(db).await?;
    if noted.rows_affected == 0 {
        usage::Entity::delete_by_id(id).exec(db).await?;
    }
    Ok(())
}

fn json(row: &usage::Model) -> Value {
    let mut row = row.clone();
    // What a provider says may hold what the database cannot keep.
    if let Some(error) = &mut row.error {
        error.retain(|character| character != '\0');
    }
    serde_json::to_value(row).expect("a row is plain data")
}
