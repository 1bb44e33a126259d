//! The ledger: one row for each time that a provider was asked, whatever came of it.
//!
//! Money is in whole millionths of a US dollar. A row whose price nobody knows has no cost; tokens that no provider counted
//! are counted here, and the row says so.

mod hearing;

use chrono::{DateTime, NaiveDate, Utc};
use sea_orm::{
    ConnectionTrait, DbBackend, FromQueryResult, IntoActiveModel as _, Statement,
    entity::prelude::*,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use self::hearing::Hearing;
use crate::{
    catalogue::Price,
    database::{Result, Tx},
    ids::{AttachmentId, ConversationId, MessageId, ProjectId, UsageId, UserId},
    tokens::TokenCounts,
};

/// Instead of a table of prices: the provider told what it costs.
const REPORTED: &str = "reported";

/// No call costs more: a million dollars. So there is room for the sum of those of an answer.
const MOST_MICROUSD: i64 = 1_000_000_000_000;

/// What was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumIter, DeriveActiveEnum, Serialize)]
#[sea_orm(rs_type = "String", db_type = "Text")]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// An answer.
    #[sea_orm(string_value = "chat")]
    Chat,
    /// Vectors of texts.
    #[sea_orm(string_value = "embedding")]
    Embedding,
    /// What is said in a sound.
    #[sea_orm(string_value = "transcription")]
    Transcription,
    /// What was said in a conversation before, in short.
    #[sea_orm(string_value = "summary")]
    Summary,
    /// The name of a conversation.
    #[sea_orm(string_value = "title")]
    Title,
}

/// What came of it.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, EnumIter, DeriveActiveEnum, Serialize, Deserialize, ToSchema,
)]
#[sea_orm(rs_type = "String", db_type = "Text")]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// A whole answer.
    #[sea_orm(string_value = "completed")]
    Completed,
    /// The user stopped it.
    #[sea_orm(string_value = "cancelled")]
    Cancelled,
    /// Whoever asked went away.
    #[sea_orm(string_value = "interrupted")]
    Interrupted,
    /// No answer, or only a part.
    #[sea_orm(string_value = "failed")]
    Failed,
}

/// A row of `usage`.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel, Serialize)]
#[sea_orm(table_name = "usage")]
pub struct Model {
    /// Its id.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: UsageId,
    /// On whose behalf.
    pub user_id: Option<UserId>,
    /// Where the conversation was filed.
    pub project_id: Option<ProjectId>,
    /// Where it was said.
    pub conversation_id: Option<ConversationId>,
    /// The answer.
    pub message_id: Option<MessageId>,
    /// The sound.
    pub attachment_id: Option<AttachmentId>,
    /// What was asked for.
    pub kind: Kind,
    /// 1 for the first time that a provider was asked for the same.
    pub attempt: i32,
    /// Who was asked.
    pub provider: String,
    /// The model, as it is called here.
    pub model: String,
    /// The model, as the provider calls it.
    pub provider_model: String,
    /// The account whose key was used.
    pub key_group: String,
    /// What came of it.
    pub outcome: Outcome,
    /// Why nothing did.
    pub error: Option<String>,
    /// Of the question, cached ones too.
    pub input_tokens: i64,
    /// Those of the question that the provider had already.
    pub cached_tokens: i64,
    /// Of the answer, thoughts too.
    pub output_tokens: i64,
    /// Those of the answer that were thoughts.
    pub reasoning_tokens: i64,
    /// Length of a sound.
    pub audio_ms: Option<i64>,
    /// Whether the tokens were counted here, as the provider did not tell; of a sound, whether nobody knows if it was heard, or
    /// how long it is.
    pub is_estimated: bool,
    /// The table of prices by which it is accounted; none where it is unpriced.
    pub price_version: Option<String>,
    /// Millionths of a US dollar.
    pub cost_microusd: Option<i64>,
    /// Until the end.
    pub latency_ms: i32,
    /// Until the first word.
    pub first_token_ms: Option<i32>,
    /// When it was asked.
    pub created_at: DateTime<Utc>,
}

/// None that the queries need.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// Whom a provider is asked for.
#[derive(Debug, Clone, Copy, Default)]
pub struct Purpose {
    /// On whose behalf.
    pub user: Option<UserId>,
    /// Where the conversation is filed.
    pub project: Option<ProjectId>,
    /// Where it is said.
    pub conversation: Option<ConversationId>,
    /// The answer.
    pub message: Option<MessageId>,
    /// The sound.
    pub attachment: Option<AttachmentId>,
}

/// A time that a provider is asked. It is kept with an answer that is being made, so that it can be accounted for by
/// whoever finds that nobody makes it any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// Who is asked.
    pub provider: String,
    /// The model, as it is called here.
    pub model: String,
    /// The model, as the provider calls it.
    pub provider_model: String,
    /// The account whose key is used.
    pub key_group: String,
    /// The price, and the table it is from.
    pub price: Option<(String, Price)>,
    /// Tokens of the question, as they are counted here.
    pub input_tokens: u32,
    /// Which time the model is asked for the same answer, from 0 on: it is asked again after calls of tools. Several tries
    /// may be of one.
    #[serde(default)]
    pub round: u32,
    /// Bytes of the answer that were said before.
    #[serde(default)]
    pub begun_bytes: u32,
    /// When it is asked.
    pub started_at: DateTime<Utc>,
    /// What came of it, once that is known.
    pub spent: Option<Spent>,
}

/// What a time that a provider was asked came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spent {
    /// What came of it.
    pub outcome: Outcome,
    /// Why nothing did.
    pub error: Option<String>,
    /// Tokens.
    pub tokens: TokenCounts,
    /// Whether they were counted here.
    pub is_estimated: bool,
    /// What the provider says that it costs, in millionths of a US dollar.
    #[serde(default)]
    pub reported_microusd: Option<i64>,
    /// Until the end.
    pub latency_ms: u32,
    /// Until the first word.
    pub first_token_ms: Option<u32>,
}

impl Spent {
    /// Refused or failed before a word was said: that costs nothing.
    pub fn nothing(error: String, latency_ms: u32) -> Self {
        Self {
            outcome: Outcome::Failed,
            error: Some(error),
            tokens: TokenCounts::default(),
            is_estimated: false,
            reported_microusd: None,
            latency_ms,
            first_token_ms: None,
        }
    }
}

impl Attempt {
    /// The table of prices by which it is accounted: one of ours, or what the provider says.
    pub fn price_version(&self) -> Option<String> {
        let spent = self.spent.as_ref();
        self.version(spent.and_then(|spent| spent.reported_microusd))
    }

    fn version(&self, reported_microusd: Option<i64>) -> Option<String> {
        if reported_microusd.is_some() {
            return Some(REPORTED.to_owned());
        }
        self.price.as_ref().map(|(version, _)| version.clone())
    }

    /// What it costs, in millionths of a US dollar; none where nobody knows.
    pub fn cost_microusd(&self) -> Option<i64> {
        self.cost(self.spent.as_ref()?)
    }

    fn cost(&self, spent: &Spent) -> Option<i64> {
        let tokens = spent.tokens;
        if let Some(reported) = spent.reported_microusd {
            return Some(reported.clamp(0, MOST_MICROUSD));
        }
        if tokens == TokenCounts::default() {
            return Some(0);
        }
        let (_, price) = self.price.as_ref()?;
        let cost = price.of(tokens.input, tokens.cached, tokens.output);
        Some(cost.min(MOST_MICROUSD))
    }

    /// The row of the `number`th time that a provider was asked for the same, with what came of it.
    pub fn row(
        &self,
        id: UsageId,
        kind: Kind,
        purpose: Purpose,
        number: i32,
        spent: &Spent,
    ) -> Model {
        let tokens = spent.tokens;
        let millis = |number: u32| i32::try_from(number).unwrap_or(i32::MAX);
        Model {
            id,
            user_id: purpose.user,
            project_id: purpose.project,
            conversation_id: purpose.conversation,
            message_id: purpose.message,
            attachment_id: purpose.attachment,
            kind,
            attempt: number,
            provider: self.provider.clone(),
            model: self.model.clone(),
            provider_model: self.provider_model.clone(),
            key_group: self.key_group.clone(),
            outcome: spent.outcome,
            error: spent.error.clone(),
            input_tokens: tokens.input.into(),
            cached_tokens: tokens.cached.into(),
            output_tokens: tokens.output.into(),
            reasoning_tokens: tokens.reasoning.into(),
            audio_ms: None,
            is_estimated: spent.is_estimated,
            price_version: self.version(spent.reported_microusd),
            cost_microusd: self.cost(spent),
            latency_ms: millis(spent.latency_ms),
            first_token_ms: spent.first_token_ms.map(millis),
            created_at: self.started_at,
        }
    }
}

/// Writes what was asked into the ledger. What came of the last is known by now.
///
/// # Errors
/// As the database fails.
pub async fn record(tx: &mut Tx, kind: Kind, purpose: Purpose, attempts: &[Attempt]) -> Result<()> {
    let rows = rows(kind, purpose, attempts);
    if !rows.is_empty() {
        let rows = rows
            .into_iter()
            .map(|row| row.into_active_model().reset_all());
        Entity::insert_many(rows)
            .exec_without_returning(tx.orm())
            .await?;
    }
    Ok(())
}

/// The rows of what was asked, as far as it is known what came of it.
pub fn rows(kind: Kind, purpose: Purpose, attempts: &[Attempt]) -> Vec<Model> {
    let row = |(attempt, number): (&Attempt, i32)| {
        let spent = attempt.spent.as_ref()?;
        Some(attempt.row(UsageId::new(), kind, purpose, number, spent))
    };
    attempts.iter().zip(1..).filter_map(row).collect()
}

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
