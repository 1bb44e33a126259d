//! Bodies of API keys.

use chrono::{DateTime, Datelike as _, Utc};
use deserr::Deserr;
use serde::Serialize;
use shared::{
    ids::ApiKeyId,
    models::api_key::{self, Scopes},
};
use utoipa::{IntoParams, ToSchema};

use crate::{
    extract::{Fields, Rule},
    page::Limit,
};

/// Longest name, in characters.
const NAME_MAX: usize = 100;

/// A name for people.
#[derive(Debug, Deserr)]
#[deserr(error = Fields, try_from(&String) = Name::parse -> Rule)]
pub(super) struct Name(pub(super) String);

impl Name {
    fn parse(text: &str) -> Result<Self, Rule> {
        let text = text.trim();
        if !(1..=NAME_MAX).contains(&text.chars().count()) {
            return Err(Rule::new(format!("must have 1 to {NAME_MAX} characters")));
        }
        if text.chars().any(char::is_control) {
            return Err(Rule::new("must not contain control characters"));
        }
        Ok(Self(text.to_owned()))
    }
}

/// What a key may do, by name.
#[derive(Debug, Deserr)]
#[deserr(error = Fields, try_from(Vec<String>) = ScopeNames::parse -> Rule)]
pub(super) struct ScopeNames(pub(super) Scopes);

impl ScopeNames {
    fn parse(names: Vec<String>) -> Result<Self, Rule> {
        let known = Scopes::NAMES;
        let (scopes, is_empty) = (Scopes::of(&names), names.is_empty());
        let unknown = names
            .into_iter()
            .find(|name| !known.contains(&name.as_str()));
        match unknown {
            Some(unknown) => Err(Rule::new(format!(
                "{unknown:?} is none of {}",
                known.join(", ")
            ))),
            None if is_empty => Err(Rule::new(format!(
                "must name at least one of {}",
                known.join(", ")
            ))),
            None => Ok(Self(scopes)),
        }
    }
}

/// A time.
#[derive(Debug, Deserr)]
#[deserr(error = Fields, try_from(&String) = Time::parse -> Rule)]
pub(super) struct Time(pub(super) DateTime<Utc>);

impl Time {
    fn parse(text: &str) -> Result<Self, Rule> {
        DateTime::parse_from_rfc3339(text)
            .ok()
            .map(|time| time.to_utc())
            .filter(|time| (1970..10_000).contains(&time.year()))
            .map(Self)
            .ok_or_else(|| Rule::new("must be a time like 2027-01-31T12:00:00Z"))
    }
}

/// A new key.
#[derive(Debug, Deserr, ToSchema)]
#[deserr(error = Fields, deny_unknown_fields, rename_all = camelCase)]
#[schema(rename_all = "camelCase")]
pub(super) struct CreateApiKey {
    /// A name to recognize it by.
    #[schema(value_type = String, min_length = 1, max_length = 100, example = "nightly export")]
    pub(super) name: Name,
    /// `read`: GET and HEAD; `write`: everything else.
    #[schema(value_type = Vec<String>, min_items = 1, example = json!(["read"]))]
    pub(super) scopes: ScopeNames,
    /// When it expires; never if left out or null.
    #[deserr(default)]
    #[schema(value_type = Option<DateTime<Utc>>)]
    pub(super) expires_at: Option<Time>,
}

/// A key, without the key itself.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ApiKey {
    id: ApiKeyId,
    /// A name to recognize it by.
    #[schema(example = "nightly export")]
    name: String,
    /// The key's last four characters.
    #[schema(example = "x9Qz")]
    hint: String,
    /// What it may do.
    #[schema(example = json!(["read"]))]
    scopes: Vec<String>,
    /// When it expires; null for never.
    expires_at: Option<DateTime<Utc>>,
    /// Accurate to the minute; null if never used.
    last_used_at: Option<DateTime<Utc>>,
    created_at: DateTime<Utc>,
}

impl From<api_key::Model> for ApiKey {
    fn from(row: api_key::Model) -> Self {
        let api_key::Model {
            id,
            user_id: _,
            name,
            key_hash: _,
            hint,
            scopes,
            expires_at,
            last_used_at,
            created_at,
        } = row;
        Self {
            id,
            name,
            hint,
            scopes,
            expires_at,
            last_used_at,
            created_at,
        }
    }
}

/// A new key, with the key itself.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct CreatedApiKey {
    #[serde(flatten)]
    pub(super) api_key: ApiKey,
    /// Send it as `Authorization: Bearer <key>`. It is shown only here: keep it.
    #[schema(example = "bck_2JkVxXCQ0xmX3yyUWdVQzJ4vXz1GqTn0s1r6k5x8H9M")]
    pub(super) key: String,
}

/// Which keys are listed.
#[derive(Debug, Deserr, IntoParams)]
#[deserr(error = Fields, deny_unknown_fields, rename_all = camelCase)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
pub(super) struct ListApiKeys {
    /// 1 to 100.
    #[deserr(default)]
    #[param(value_type = Option<u64>, minimum = 1, maximum = 100, default = 50)]
    pub(super) limit: Limit,
    /// `nextCursor` of the previous page.
    #[deserr(default)]
    pub(super) cursor: Option<String>,
}
