//! Bodies of administration.

use deserr::Deserr;
use serde::Serialize;
use shared::{
    config::ProviderKey,
    providers::{GroupView, KeyView, ModelView, ProviderView},
};
use utoipa::ToSchema;

use crate::extract::{Fields, Rule};

/// All providers that have keys.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ProviderList {
    pub(super) data: Vec<AdminProvider>,
}

/// A provider of models.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct AdminProvider {
    #[schema(example = "groq")]
    name: String,
    #[schema(example = "https://api.groq.com/openai/v1")]
    base_url: String,
    /// Most requests of a key in a day; null: no limit.
    #[schema(example = 14_400)]
    daily_requests_per_key: Option<u64>,
    /// Accounts: keys of one share its quota.
    groups: Vec<KeyGroup>,
    /// The breakers that are not closed.
    breakers: Vec<Breaker>,
}

/// An account at a provider.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct KeyGroup {
    /// As the operator calls it, or the id of its only key.
    #[schema(example = "acme")]
    name: String,
    /// Milliseconds for which it is left alone, as it asked too much; null if it is not.
    #[schema(example = 6_200)]
    cooldown_ms: Option<u64>,
    keys: Vec<AdminKey>,
}

/// A key.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct AdminKey {
    /// Made of the key; it tells nothing of it.
    #[schema(example = "9f86d081884c")]
    id: String,
    /// Its first and last letters.
    #[schema(example = "gsk_…4f2a")]
    masked: String,
    /// How often it was used today; null if it was not, or nobody knows.
    #[schema(example = 112)]
    used_today: Option<u64>,
    /// Milliseconds until its day ends.
    #[schema(example = 3_600_000)]
    resets_in_ms: Option<u64>,
    /// Milliseconds for which the provider says that nothing is left of its day; null if it does not.
    #[schema(example = json!(null))]
    spent_ms: Option<u64>,
    /// Why the provider does not take it; null if it does.
    #[schema(example = "401: Incorrect API key provided")]
    retired: Option<String>,
}

/// A breaker that is not closed.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Breaker {
    /// The model, as the provider calls it.
    #[schema(example = "llama-3.3-70b-versatile")]
    model: String,
    state: BreakerState,
    /// Milliseconds for which nobody is let through.
    #[schema(example = 12_400)]
    open_ms: Option<u64>,
    /// How often it opened in a row.
    #[schema(example = 1)]
    times: u64,
}

/// How a breaker is.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
enum BreakerState {
    /// Nobody is let through.
    Open,
    /// One is let through at a time.
    HalfOpen,
}

fn millis(time: std::time::Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

impl From<ProviderView> for AdminProvider {
    fn from(view: ProviderView) -> Self {
        let ProviderView {
            name,
            base_url,
            daily_limit,
            groups,
            models,
        } = view;
        Self {
            name,
            base_url,
            daily_requests_per_key: daily_limit,
            groups: groups.into_iter().map(KeyGroup::from).collect(),
            breakers: models.into_iter().map(Breaker::from).collect(),
        }
    }
}

impl From<GroupView> for KeyGroup {
    fn from(view: GroupView) -> Self {
        let GroupView { name, cool, keys } = view;
        Self {
            name,
            cooldown_ms: cool.map(millis),
            keys: keys.into_iter().map(AdminKey::from).collect(),
        }
    }
}

impl From<KeyView> for AdminKey {
    fn from(view: KeyView) -> Self {
        let KeyView {
            id,
            masked,
            used,
            resets_in,
            spent,
            retired,
        } = view;
        Self {
            id,
            masked,
            used_today: used,
            resets_in_ms: resets_in.map(millis),
            spent_ms: spent.map(millis),
            retired,
        }
    }
}

impl From<ModelView> for Breaker {
    fn from(view: ModelView) -> Self {
        let ModelView { model, open, times } = view;
        Self {
            model,
            state: match open {
                Some(_) => BreakerState::Open,
                None => BreakerState::HalfOpen,
            },
            open_ms: open.map(millis),
            times,
        }
    }
}

/// Which key is tried again.
#[derive(Debug, Default, Deserr, ToSchema)]
#[deserr(error = Fields, deny_unknown_fields, rename_all = camelCase)]
#[schema(rename_all = "camelCase")]
pub(super) struct ReviveProvider {
    /// The id of a key; by default all keys are tried again, and cooldowns, days and breakers are forgotten.
    #[deserr(default)]
    #[schema(example = "9f86d081884c")]
    pub(super) key_id: Option<String>,
}

/// Other keys for a provider.
#[derive(Debug, Deserr, ToSchema)]
#[deserr(error = Fields, deny_unknown_fields, rename_all = camelCase)]
#[schema(rename_all = "camelCase")]
pub(super) struct SetProviderKeys {
    /// Like `KEY` or `ACCOUNT:KEY`; keys of one account share its quota.
    #[schema(value_type = Vec<String>, min_items = 1, max_items = 1_000, example = json!(["acme:gsk_…"]))]
    pub(super) keys: Keys,
}

/// Keys as they are written in a variable.
#[derive(Debug, Deserr)]
#[deserr(error = Fields, try_from(Vec<String>) = Keys::parse -> Rule)]
pub(super) struct Keys(pub(super) String);

impl Keys {
    #[expect(
        clippy::needless_pass_by_value,
        reason = "it is how deserr gives a list"
    )]
    fn parse(keys: Vec<String>) -> Result<Self, Rule> {
        if !(1..=1_000).contains(&keys.len()) {
            return Err(Rule::new("must have 1 to 1,000 keys"));
        }
        if keys
            .iter()
            .any(|key| key.contains(',') || key.trim().is_empty())
        {
            return Err(Rule::new(
                "has an entry that is neither KEY nor ACCOUNT:KEY",
            ));
        }
        let keys = keys.join(",");
        ProviderKey::parse_all(&keys).map_err(Rule::new)?;
        Ok(Self(keys))
    }
}
