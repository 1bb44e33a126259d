//! Sums of the ledger.

use chrono::{DateTime, NaiveDate, Utc};
use sea_orm::{ConnectionTrait, DbBackend, FromQueryResult, Statement};

use crate::{
    database::Result,
    ids::{ConversationId, ProjectId, UserId},
};

/// By what usage is summed up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// Days of UTC.
    Day,
    /// Models, as they are called here.
    Model,
    /// Projects of the conversations.
    Project,
}

/// Which rows are summed up.
#[derive(Debug, Clone, Copy)]
pub enum Scope {
    /// Those of a user within a time.
    User(UserId, DateTime<Utc>, DateTime<Utc>),
    /// Those of a conversation.
    Conversation(ConversationId),
}

/// A sum of rows.
#[derive(Debug, Clone, Default, PartialEq, Eq, FromQueryResult)]
pub struct Total {
    /// The day, if it is summed up by days.
    pub day: Option<NaiveDate>,
    /// The model, if it is summed up by models.
    pub model: Option<String>,
    /// The project, if it is summed up by projects; none for conversations without one.
    pub project_id: Option<ProjectId>,
    /// How often a provider was asked.
    pub attempts: i64,
    /// How many of these failed.
    pub failed: i64,
    /// Of questions.
    pub input_tokens: i64,
    /// Those of questions that a provider had already.
    pub cached_tokens: i64,
    /// Of answers.
    pub output_tokens: i64,
    /// Those of answers that were thoughts.
    pub reasoning_tokens: i64,
    /// Millionths of a US dollar, of the rows whose price is known.
    pub cost_microusd: i64,
    /// How many rows are estimates.
    pub estimated: i64,
    /// How many rows have no price.
    pub unpriced: i64,
}

/// What is summed up.
const SUMMED: [&str; 5] = [
    "input_tokens",
    "cached_tokens",
    "output_tokens",
    "reasoning_tokens",
    "cost_microusd",
];

/// Sums up a part of the ledger; without `by`, all in one row.
///
/// # Errors
/// As the database fails.
pub async fn sum(db: &impl ConnectionTrait, scope: Scope, by: Option<By>) -> Result<Vec<Total>> {
    let (key, group) = match by {
        None => (
            "NULL::date AS day, NULL AS model, NULL::uuid AS project_id",
            "",
        ),
        Some(By::Day) => (
            "(created_at AT TIME ZONE 'UTC')::date AS day, NULL AS model, NULL::uuid AS project_id",
            "GROUP BY 1 ORDER BY 1",
        ),
        Some(By::Model) => (
            "NULL::date AS day, model, NULL::uuid AS project_id",
            "GROUP BY 2 ORDER BY 2",
        ),
        Some(By::Project) => (
            "NULL::date AS day, NULL AS model, project_id",
            "GROUP BY 3 ORDER BY 3",
        ),
    };
    let (place, values): (_, Vec<sea_orm::Value>) = match scope {
        Scope::User(user, from, to) => (
            "user_id = $1 AND created_at >= $2 AND created_at < $3",
            vec![user.into(), from.into(), to.into()],
        ),
        Scope::Conversation(id) => ("conversation_id = $1", vec![id.into()]),
    };
    // No row may make it fail: a sum is as much as there is room for.
    let most = i64::MAX;
    let sums = SUMMED
        .map(|name| format!("least(coalesce(sum({name}), 0), {most})::bigint AS {name}"))
        .join(", ");
    let sql = format!(
        "SELECT {key}, count(*) AS attempts, count(*) FILTER (WHERE outcome = 'failed') AS failed, {sums},
                count(*) FILTER (WHERE is_estimated) AS estimated,
                count(*) FILTER (WHERE cost_microusd IS NULL) AS unpriced
           FROM usage WHERE {place} {group}"
    );
    let statement = Statement::from_sql_and_values(DbBackend::Postgres, sql, values);
    Ok(Total::find_by_statement(statement).all(db).await?)
}
