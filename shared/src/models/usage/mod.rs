//! The ledger: one row for each time that a provider was asked, whatever came of it.
//!
//! Money is in whole millionths of a US dollar. A row whose price nobody knows has no cost; tokens that no provider counted
//! are counted here, and the row says so.

mod attempt;
mod hearing;
mod totals;

use chrono::{DateTime, Utc};
use sea_orm::{IntoActiveModel as _, entity::prelude::*};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use self::{
    attempt::{Attempt, Spent},
    hearing::Hearing,
    totals::{By, Scope, Total, sum},
};
use super::usage_month;
use crate::{
    config::UsageLimits,
    database::{Result, Tx},
    ids::{AttachmentId, ConversationId, MessageId, ProjectId, UsageId, UserId},
};

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

/// Writes what was asked into the ledger, and tells of `limits` that are near or reached by that. What came of the last is
/// known by now. It comes last in its transaction, as others of the user wait for it.
///
/// # Errors
/// As the database fails.
pub async fn record(
    tx: &mut Tx,
    limits: &UsageLimits,
    kind: Kind,
    purpose: Purpose,
    attempts: &[Attempt],
) -> Result<()> {
    let rows = rows(kind, purpose, attempts);
    if rows.is_empty() {
        return Ok(());
    }
    let asked_at: Vec<DateTime<Utc>> = rows.iter().map(|row| row.created_at).collect();
    let rows = rows
        .into_iter()
        .map(|row| row.into_active_model().reset_all());
    Entity::insert_many(rows)
        .exec_without_returning(tx.orm())
        .await?;
    usage_month::tell(tx, limits, purpose.user, &asked_at).await
}

/// The rows of what was asked, as far as it is known what came of it.
pub fn rows(kind: Kind, purpose: Purpose, attempts: &[Attempt]) -> Vec<Model> {
    let row = |(attempt, number): (&Attempt, i32)| {
        let spent = attempt.spent.as_ref()?;
        Some(attempt.row(UsageId::new(), kind, purpose, number, spent))
    };
    attempts.iter().zip(1..).filter_map(row).collect()
}
