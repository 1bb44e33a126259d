//! What an answer was made of, what it cost, and why it could not be made to its end.

use sea_orm::FromJsonQueryResult;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::ids::AttachmentId;

/// Why an answer could not be made to its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, FromJsonQueryResult, ToSchema)]
#[schema(as = AnswerProblem)]
pub struct Failure {
    /// For programs; permanent.
    #[schema(example = "provider_failed")]
    pub code: String,
    /// For people.
    #[schema(example = "the answer was cut off")]
    pub detail: String,
    /// Milliseconds after which asking again may help, if that is known.
    #[serde(
        rename = "retryAfterMs",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    #[schema(example = 7_000)]
    pub retry_after_ms: Option<u64>,
    /// The status by which the provider refused the question, if it did.
    #[serde(
        rename = "providerStatus",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    #[schema(example = 400)]
    pub provider_status: Option<u16>,
}

/// What an answer was made of, and what it cost.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, FromJsonQueryResult)]
pub struct Figures {
    /// Tokens and money.
    pub usage: AnswerUsage,
    /// What the model was shown.
    pub context: AnswerContext,
}

/// Tokens and money of an answer.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AnswerUsage {
    /// Tokens of the question with all that was sent along, each time that the model was asked to answer it.
    #[schema(example = 42)]
    pub input_tokens: u32,
    /// Those of `inputTokens` that the provider had already.
    #[schema(example = 0)]
    pub cached_tokens: u32,
    /// Tokens of the answer, and of the calls of tools before it.
    #[schema(example = 17)]
    pub output_tokens: u32,
    /// Those of `outputTokens` that were thoughts.
    #[schema(example = 0)]
    pub reasoning_tokens: u32,
    /// Whether tokens were counted here, as the provider did not tell.
    pub estimated: bool,
    /// Millionths of a US dollar, all tries together; null if a price is not known.
    #[schema(example = 38)]
    pub cost_microusd: Option<i64>,
    /// The table of prices; null if there is no price.
    #[schema(example = "2026-11-28")]
    pub price_version: Option<String>,
    /// How many tries it took until a provider answered. A model that has tools called is asked again after each round of
    /// calls: then it is the most that it took for one of these times.
    #[schema(example = 1)]
    pub attempts: u32,
    /// How often the model was asked: once, and once more after each round of calls of tools, or to go on. 0 where nobody
    /// has counted.
    #[serde(default)]
    #[schema(example = 1)]
    pub rounds: u32,
    /// Milliseconds until the first word; null if there was none.
    #[schema(example = 212)]
    pub first_token_ms: Option<u32>,
    /// Milliseconds until the end.
    #[schema(example = 870)]
    pub latency_ms: u32,
    /// Milliseconds of these in which neither a provider nor a tool was waited for.
    #[schema(example = 1.4)]
    pub overhead_ms: f64,
}

/// What a model was shown.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AnswerContext {
    /// Tokens of all that was sent, as they are counted here.
    #[schema(example = 40)]
    pub tokens: u32,
    /// Up to how many tokens earlier messages and texts of attachments are sent.
    #[schema(example = 8_000)]
    pub limit: u32,
    /// Messages of the branch that were sent, the question included. What was asked of tools, and what they said, does not
    /// count.
    #[schema(example = 3)]
    pub included: u32,
    /// Messages of the branch, the question included, counted in the same way.
    #[schema(example = 3)]
    pub total: u32,
    /// Whether a summary of messages that were not sent went along.
    #[serde(default)]
    pub summarized: bool,
    /// `approaching_limit` from 80 % of the limit on.
    #[serde(default)]
    pub warning: Option<ContextWarning>,
    /// Messages, also of tools, of which only the beginning was sent.
    #[serde(default)]
    #[schema(example = 0)]
    pub cut: u32,
    /// Whether more tokens than the limit were sent. Either those of the question alone, with the instructions and what is told
    /// of tools, are more: it was sent whole, and no earlier messages with it. Or what tools said for this answer came in
    /// addition.
    #[serde(default)]
    pub exceeded: bool,
    /// Whether something could not be counted or put together; then tokens are estimated, and messages may be missing.
    #[serde(default)]
    pub estimated: bool,
    /// Attachments that could not be shown, or not whole.
    pub missing: Vec<MissingAttachment>,
}

impl AnswerContext {
    /// Percent of the limit from which on it is told that it is near.
    const NEAR: u64 = 80;

    /// What is to be told of so many tokens.
    pub fn warning(tokens: u32, limit: u32) -> Option<ContextWarning> {
        let is_near = u64::from(tokens) * 100 >= u64::from(limit) * Self::NEAR;
        is_near.then_some(ContextWarning::ApproachingLimit)
    }
}

/// What clients should know of what a model was shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ContextWarning {
    /// Soon, or now, earlier messages are left out.
    ApproachingLimit,
}

/// An attachment that a model did not see whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct MissingAttachment {
    /// Which one.
    pub attachment_id: AttachmentId,
    /// Its name.
    #[schema(example = "scan.png")]
    pub file_name: String,
    /// Why, for people.
    #[schema(example = "it is still being read")]
    pub reason: String,
}
