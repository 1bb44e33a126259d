//! Bodies of usage.

use chrono::{DateTime, NaiveDate, Utc};
use deserr::Deserr;
use serde::Serialize;
use shared::{
    ids::ProjectId,
    models::{
        usage,
        usage_month::{self, Used},
    },
};
use utoipa::{IntoParams, ToSchema};

use crate::{
    extract::{Fields, Rule},
    text::Param,
};

/// By what usage is summed up.
#[derive(Debug, Clone, Copy, Deserr)]
#[deserr(error = Fields, try_from(&String) = By::parse -> Rule)]
pub(super) struct By(pub(super) usage::By);

impl By {
    fn parse(text: &str) -> Result<Self, Rule> {
        match text {
            "day" => Ok(Self(usage::By::Day)),
            "model" => Ok(Self(usage::By::Model)),
            "project" => Ok(Self(usage::By::Project)),
            _ => Err(Rule::new("must be day, model or project")),
        }
    }

    fn day() -> Self {
        Self(usage::By::Day)
    }
}

/// Which part of the ledger is summed up.
#[derive(Debug, Deserr, IntoParams)]
#[deserr(error = Fields, deny_unknown_fields, rename_all = camelCase)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
pub(super) struct GetUsage {
    /// Only what was asked at this time or later; by default 30 days before `to`.
    #[deserr(default)]
    #[param(value_type = Option<DateTime<Utc>>)]
    pub(super) from: Option<Param<DateTime<Utc>>>,
    /// Only what was asked before this time; by default now. At most 366 days after `from`.
    #[deserr(default)]
    #[param(value_type = Option<DateTime<Utc>>)]
    pub(super) to: Option<Param<DateTime<Utc>>>,
    /// `day` (of UTC), `model` or `project`.
    #[deserr(default = By::day())]
    #[param(value_type = Option<String>, default = "day", pattern = "^(day|model|project)$")]
    pub(super) by: By,
}

/// A part of the ledger, summed up.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Usage {
    pub(super) from: DateTime<Utc>,
    pub(super) to: DateTime<Utc>,
    /// One for each day, model or project in which something was asked.
    pub(super) data: Vec<UsageGroup>,
    pub(super) total: UsageTotal,
}

/// What is summed up of one day, model or project.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct UsageGroup {
    /// The day, if it is summed up by days.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = Date, example = "2026-11-28")]
    day: Option<NaiveDate>,
    /// The model, if it is summed up by models.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "gpt-4o-mini")]
    model: Option<String>,
    /// The project, if it is summed up by projects; absent for conversations without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    project_id: Option<ProjectId>,
    #[serde(flatten)]
    total: UsageTotal,
}

/// A sum.
#[derive(Debug, Default, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct UsageTotal {
    /// How often a provider was asked; an answer may take several tries.
    #[schema(example = 12)]
    attempts: i64,
    /// How many of these failed.
    #[schema(example = 1)]
    failed: i64,
    #[schema(example = 4_120)]
    input_tokens: i64,
    /// Those of `inputTokens` that a provider had already.
    #[schema(example = 0)]
    cached_tokens: i64,
    #[schema(example = 1_874)]
    output_tokens: i64,
    /// Those of `outputTokens` that were thoughts.
    #[schema(example = 0)]
    reasoning_tokens: i64,
    /// Millionths of a US dollar, of all whose price is known.
    #[schema(example = 1_742)]
    cost_microusd: i64,
    /// How many are estimates, as the provider did not tell what it counted, or whether it heard a sound and how long that is.
    #[schema(example = 0)]
    estimated: i64,
    /// How many have no price, so that their cost is not in the sum.
    #[schema(example = 0)]
    unpriced: i64,
}

impl From<usage::Total> for UsageGroup {
    fn from(total: usage::Total) -> Self {
        let usage::Total {
            day,
            model,
            project_id,
            attempts,
            failed,
            input_tokens,
            cached_tokens,
            output_tokens,
            reasoning_tokens,
            cost_microusd,
            estimated,
            unpriced,
        } = total;
        Self {
            day,
            model,
            project_id,
            total: UsageTotal {
                attempts,
                failed,
                input_tokens,
                cached_tokens,
                output_tokens,
                reasoning_tokens,
                cost_microusd,
                estimated,
                unpriced,
            },
        }
    }
}

impl From<Vec<usage::Total>> for UsageTotal {
    fn from(totals: Vec<usage::Total>) -> Self {
        let total = totals.into_iter().next().unwrap_or_default();
        UsageGroup::from(total).total
    }
}

/// What the caller may use in a month.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct MonthlyLimits {
    /// One for each limit; empty where there is none.
    pub(super) data: Vec<MonthlyLimit>,
}

/// What is limited.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LimitUnit {
    /// Tokens of questions and answers.
    Tokens,
    /// Millionths of a US dollar.
    Microusd,
}

/// How much of something a user may use in a month of UTC, and how much of it is used.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct MonthlyLimit {
    /// What is limited.
    unit: LimitUnit,
    /// The month.
    #[schema(example = "2026-11")]
    month: String,
    /// How much of it may be used.
    #[schema(example = 1_000_000)]
    limit: i64,
    /// How much of it is used; more than `limit` where answers were under way.
    #[schema(example = 812_430)]
    used: i64,
    /// How much of it is left, 0 or more.
    #[schema(example = 187_570)]
    remaining: i64,
    /// `used` in whole percent of `limit`, rounded down; more than 100 where answers were under way.
    #[schema(example = 81)]
    percentage: i64,
    /// When the next month begins.
    resets_at: DateTime<Utc>,
}

impl From<Used> for MonthlyLimit {
    fn from(used: Used) -> Self {
        let Used {
            unit,
            limit,
            used: amount,
            month,
            ..
        } = used;
        let percentage = (i128::from(amount) * 100).checked_div(limit.into());
        Self {
            unit: match unit {
                usage_month::Unit::Tokens => LimitUnit::Tokens,
                usage_month::Unit::Microusd => LimitUnit::Microusd,
            },
            month: month.format("%Y-%m").to_string(),
            limit,
            used: amount,
            remaining: used.remaining(),
            percentage: percentage.map_or(100, |whole| i64::try_from(whole).unwrap_or(i64::MAX)),
            resets_at: used.resets_at(),
        }
    }
}
