//! Times that a provider was asked for an answer or for vectors, and what they came to.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{Kind, MOST_MICROUSD, Model, Outcome, Purpose};
use crate::{catalogue::Price, ids::UsageId, tokens::TokenCounts};

/// Instead of a table of prices: the provider told what it costs.
const REPORTED: &str = "reported";

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
