//! Bodies of webhooks.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use deserr::Deserr;
use serde::Serialize;
use shared::{
    ids::WebhookId,
    models::{
        user::Role,
        webhook::{
            self, Ordering, Schedule, Scope, Settings,
            secrets::{Kind, show_public_key},
        },
    },
};
use utoipa::{IntoParams, ToSchema};

use super::fields::{
    CustomHeaders, Description, EventPatterns, RateLimit, Signatures, Timeout, WebhookUrl,
    event_patterns, signatures,
};
use crate::{
    caller::Caller,
    denied::Denied,
    error::{Error, Result},
    extract::Fields,
    given::Given,
    page::Limit,
    text::{Change, Param},
};

/// A new endpoint.
#[derive(Debug, Deserr, ToSchema)]
#[deserr(error = Fields, deny_unknown_fields, rename_all = camelCase)]
#[schema(rename_all = "camelCase")]
pub(super) struct CreateWebhook {
    /// The URL to which events are posted: https on port 443, at a public address.
    #[schema(value_type = String, format = "uri", max_length = 2048, example = "https://example.com/hooks/baatcheet")]
    pub(super) url: WebhookUrl,
    /// Which events: names, groups such as `message.*`, or `*` for all of them.
    #[schema(schema_with = event_patterns)]
    events: EventPatterns,
    /// What it is for, in your own words.
    #[deserr(default)]
    #[schema(value_type = Option<String>, max_length = 500)]
    description: Option<Description>,
    /// Headers that every request carries, at most 20. They are not shown again. Those that belong to the connection, to the
    /// body or to us are refused.
    #[deserr(default)]
    #[schema(value_type = Option<BTreeMap<String, String>>, example = json!({ "Authorization": "Bearer 4711" }))]
    headers: Option<CustomHeaders>,
    /// Most attempts a minute; there is no limit if it is left out.
    #[deserr(default)]
    #[schema(value_type = Option<u32>, minimum = 1, maximum = 60_000)]
    rate_limit_per_minute: Option<RateLimit>,
    /// When a delivery that failed is tried again.
    #[deserr(default)]
    #[schema(value_type = Schedule, required = false, default = "standard")]
    schedule: Given<Param<Schedule>>,
    /// Which deliveries wait for each other.
    #[deserr(default)]
    #[schema(value_type = Ordering, required = false, default = "none")]
    ordering: Given<Param<Ordering>>,
    /// Longest time of an attempt, with the answer; the server's own limit if it is left out.
    #[deserr(default)]
    #[schema(value_type = Option<u32>, minimum = 1, maximum = 30)]
    timeout_seconds: Option<Timeout>,
    /// Whose events it gets; `all` is for administrators.
    #[deserr(default)]
    #[schema(value_type = Scope, required = false, default = "own")]
    scope: Given<Param<Scope>>,
    /// What requests are signed with: `v1`, or `v1` and `v1a`.
    #[deserr(default)]
    #[schema(value_type = Vec<Kind>, required = false, min_items = 1, max_items = 2, example = json!(["v1"]))]
    signatures: Given<Signatures>,
}

impl CreateWebhook {
    /// Checks that its caller may have such an endpoint.
    ///
    /// # Errors
    /// When it wants everybody's events, and they are no administrator.
    pub(super) fn check(&self, caller: &Caller) -> Result<()> {
        check_scope(self.scope.0, caller)
    }

    /// What is said of the endpoint.
    pub(super) fn settings(self) -> Settings {
        let new = Settings::new(self.url.0.into(), self.events.0);
        Settings {
            description: self.description.map(|description| description.0),
            rate_limit_per_minute: self.rate_limit_per_minute.map(|limit| limit.0),
            schedule: self.schedule.0.map_or(new.schedule, |schedule| schedule.0),
            ordering: self.ordering.0.map_or(new.ordering, |ordering| ordering.0),
            timeout_seconds: self.timeout_seconds.map(|timeout| timeout.0),
            scope: self.scope.0.map_or(new.scope, |scope| scope.0),
            is_asymmetric: self.signatures.0.is_some_and(|of| of.is_asymmetric),
            headers: self.headers.map(|headers| headers.0),
            ..new
        }
    }
}

fn check_scope(scope: Option<Param<Scope>>, caller: &Caller) -> Result<()> {
    match scope {
        Some(Param(Scope::All)) if caller.role != Role::Admin => Err(Denied::AdminRequired.into()),
        _ => Ok(()),
    }
}

/// Changes to an endpoint: a field that is left out keeps its value.
#[derive(Debug, Deserr, ToSchema)]
#[deserr(error = Fields, deny_unknown_fields, rename_all = camelCase)]
#[schema(rename_all = "camelCase", min_properties = 1)]
pub(super) struct UpdateWebhook {
    /// The URL to which events are posted: https on port 443, at a public address. Another one counts as a new server: it
    /// is forgotten that the former one failed or asked to be left alone, and what waits is tried now, where the endpoint is on.
    #[deserr(default)]
    #[schema(value_type = String, required = false, format = "uri", max_length = 2048)]
    pub(super) url: Given<WebhookUrl>,
    /// Which events: names, groups such as `message.*`, or `*` for all of them; the whole list.
    #[deserr(default)]
    #[schema(schema_with = event_patterns, required = false)]
    events: Given<EventPatterns>,
    /// For people; null clears it.
    #[deserr(default)]
    #[schema(value_type = Option<String>, max_length = 500, example = "Tells the archive")]
    description: Change<Description>,
    /// Whether events are sent to it. While it is off, deliveries that wait for an attempt are cancelled as they
    /// come due; if it is switched on before, they are sent. What happens while it is off is not sent later. Switching
    /// it on, also where it is on, forgets that it failed.
    #[deserr(default)]
    #[schema(value_type = bool, required = false, example = true)]
    is_active: Given<bool>,
    /// Headers that every request carries, all of them; null clears them.
    #[deserr(default)]
    #[schema(value_type = Option<BTreeMap<String, String>>)]
    headers: Change<CustomHeaders>,
    /// Most attempts a minute; null for no limit.
    #[deserr(default)]
    #[schema(value_type = Option<u32>, minimum = 1, maximum = 60_000)]
    rate_limit_per_minute: Change<RateLimit>,
    /// When a delivery that failed is tried again. Those that wait already keep theirs.
    #[deserr(default)]
    #[schema(value_type = Schedule, required = false)]
    schedule: Given<Param<Schedule>>,
    /// Which deliveries wait for each other.
    #[deserr(default)]
    #[schema(value_type = Ordering, required = false)]
    ordering: Given<Param<Ordering>>,
    /// Longest time of an attempt, with the answer; null for the server's own limit.
    #[deserr(default)]
    #[schema(value_type = Option<u32>, minimum = 1, maximum = 30)]
    timeout_seconds: Change<Timeout>,
    /// Whose events it gets; `all` is for administrators.
    #[deserr(default)]
    #[schema(value_type = Scope, required = false)]
    scope: Given<Param<Scope>>,
    /// What requests are signed with: `v1`, or `v1` and `v1a`. Adding `v1a` makes a key pair; taking it away deletes it.
    #[deserr(default)]
    #[schema(value_type = Vec<Kind>, required = false, min_items = 1, max_items = 2)]
    signatures: Given<Signatures>,
}

impl UpdateWebhook {
    /// Checks that it changes anything, and that its caller may do so.
    ///
    /// # Errors
    /// When nothing is changed, and when it wants everybody's events, and the caller is no administrator.
    pub(super) fn check(&self, caller: &Caller) -> Result<()> {
        let keeps = [
            self.url.0.is_none(),
            self.events.0.is_none(),
            self.description.is_keep(),
            self.is_active.0.is_none(),
            self.headers.is_keep(),
            self.rate_limit_per_minute.is_keep(),
            self.schedule.0.is_none(),
            self.ordering.0.is_none(),
            self.timeout_seconds.is_keep(),
            self.scope.0.is_none(),
            self.signatures.0.is_none(),
        ];
        if keeps.into_iter().all(|keeps| keeps) {
            return Err(Error::field("", "must have at least one field"));
        }
        check_scope(self.scope.0, caller)
    }

    /// Whether its user says that the endpoint is well.
    pub(super) fn switches_on(&self) -> bool {
        self.is_active.0 == Some(true)
    }

    /// What is set after the change.
    pub(super) fn apply(self, before: Settings) -> Settings {
        let (limit, timeout) = (before.rate_limit_per_minute, before.timeout_seconds);
        Settings {
            url: self.url.0.map_or(before.url, |url| url.0.into()),
            events: self.events.0.map_or(before.events, |events| events.0),
            description: self.description.apply(before.description, |text| text.0),
            is_active: self.is_active.0.unwrap_or(before.is_active),
            rate_limit_per_minute: self.rate_limit_per_minute.apply(limit, |limit| limit.0),
            schedule: self.schedule.0.map_or(before.schedule, |one| one.0),
            ordering: self.ordering.0.map_or(before.ordering, |one| one.0),
            timeout_seconds: self.timeout_seconds.apply(timeout, |timeout| timeout.0),
            scope: self.scope.0.map_or(before.scope, |one| one.0),
            is_asymmetric: self
                .signatures
                .0
                .map_or(before.is_asymmetric, |of| of.is_asymmetric),
            headers: match self.headers {
                Change::Keep => None,
                Change::Clear => Some(BTreeMap::new()),
                Change::Set(headers) => Some(headers.0),
            },
        }
    }
}

/// An endpoint.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Webhook {
    id: WebhookId,
    /// The URL to which events are posted.
    #[schema(format = "uri", example = "https://example.com/hooks/baatcheet")]
    url: String,
    /// Which events: names, groups, or `*`.
    #[schema(schema_with = event_patterns)]
    events: Vec<String>,
    /// What it is for, in your own words.
    #[schema(example = "Tells our search index")]
    description: Option<String>,
    /// Whether events are sent to it.
    #[schema(example = true)]
    is_active: bool,
    /// Why it is not active, if the server switched it off.
    disabled_reason: Option<String>,
    /// When the server switched it off.
    disabled_at: Option<DateTime<Utc>>,
    /// Names of the headers that every request carries, in lower case. Their values are not shown.
    #[schema(example = json!(["authorization"]))]
    header_names: Vec<String>,
    /// Most attempts a minute; null for no limit.
    #[schema(minimum = 1, maximum = 60_000)]
    rate_limit_per_minute: Option<i32>,
    /// When a delivery that failed is tried again.
    schedule: Schedule,
    /// Which deliveries wait for each other.
    ordering: Ordering,
    /// Longest time of an attempt; null for the server's own limit.
    #[schema(minimum = 1, maximum = 30)]
    timeout_seconds: Option<i16>,
    /// Whose events it gets.
    scope: Scope,
    /// What requests are signed with.
    #[schema(example = json!(["v1"]))]
    signatures: Vec<Kind>,
    /// What signatures of the kind `v1a` are checked with: `whpk_` and base64; null if there are none.
    public_key: Option<String>,
    /// Incremented by every change; also the `ETag`.
    version: i32,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl From<webhook::Model> for Webhook {
    fn from(row: webhook::Model) -> Self {
        let webhook::Model {
            id,
            user_id: _,
            url,
            events,
            description,
            secret: _,
            secret_id: _,
            secret_created_at: _,
            signing_key: _,
            signing_key_id: _,
            signing_key_created_at: _,
            public_key,
            old_secrets_until: _,
            sealed_headers: _,
            header_names,
            rate_limit_per_minute,
            schedule,
            ordering,
            timeout_seconds,
            scope,
            is_active,
            disabled_reason,
            disabled_at,
            version,
            created_at,
            updated_at,
            deleted_at: _,
        } = row;
        Self {
            id,
            url,
            events,
            description,
            is_active,
            disabled_reason,
            disabled_at,
            header_names,
            rate_limit_per_minute,
            schedule,
            ordering,
            timeout_seconds,
            scope,
            signatures: signatures(public_key.is_some()),
            public_key: public_key.as_deref().map(show_public_key),
            version,
            created_at,
            updated_at,
        }
    }
}

/// A new endpoint, with its secret.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct CreatedWebhook {
    #[serde(flatten)]
    pub(super) webhook: Webhook,
    /// Signs every request. It is shown only here: keep it.
    #[schema(example = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD")]
    pub(super) secret: String,
}

/// Which endpoints are listed.
#[derive(Debug, Deserr, IntoParams)]
#[deserr(error = Fields, deny_unknown_fields, rename_all = camelCase)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
pub(super) struct ListWebhooks {
    /// 1 to 100.
    #[deserr(default)]
    #[param(value_type = Option<u64>, minimum = 1, maximum = 100, default = 50)]
    pub(super) limit: Limit,
    /// `nextCursor` of the previous page.
    #[deserr(default)]
    pub(super) cursor: Option<String>,
}
