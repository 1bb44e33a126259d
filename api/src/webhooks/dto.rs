//! Bodies of webhooks.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use deserr::Deserr;
use serde::Serialize;
use serde_json::json;
use shared::{
    events,
    ids::WebhookId,
    models::webhook::{self, Settings},
};
use url::Url;
use utoipa::{
    IntoParams, ToSchema,
    openapi::{Array, ArrayBuilder, ObjectBuilder, Type},
};

use crate::{
    error::Error,
    extract::{Fields, Rule},
    given::Given,
    page::Limit,
    text::Change,
};

/// Longest URL, in characters.
const URL_MAX: usize = 2048;
/// Longest description, in characters.
const DESCRIPTION_MAX: usize = 500;

/// A URL; whether we call it is the guard's decision.
#[derive(Debug, Deserr)]
#[deserr(error = Fields, try_from(&String) = WebhookUrl::parse -> Rule)]
pub(super) struct WebhookUrl(pub(super) Url);

impl WebhookUrl {
    fn parse(text: &str) -> Result<Self, Rule> {
        let text = text.trim();
        if text.chars().count() > URL_MAX {
            return Err(Rule::new(format!("must have at most {URL_MAX} characters")));
        }
        text.parse()
            .map(Self)
            .map_err(|error| Rule::new(format!("is not a URL: {error}")))
    }
}

/// Names of events, each once, in alphabetical order.
#[derive(Debug, Deserr)]
#[deserr(error = Fields, try_from(Vec<String>) = EventNames::parse -> Rule)]
pub(super) struct EventNames(pub(super) Vec<String>);

impl EventNames {
    fn parse(names: Vec<String>) -> Result<Self, Rule> {
        let known = events::NAMES;
        let names: BTreeSet<String> = names.into_iter().collect();
        if names.is_empty() {
            return Err(Rule::new(format!(
                "must name at least one of {}",
                known.join(", ")
            )));
        }
        if let Some(unknown) = names.iter().find(|name| !known.contains(&name.as_str())) {
            return Err(Rule::new(format!(
                "{unknown:?} is none of {}",
                known.join(", ")
            )));
        }
        Ok(Self(names.into_iter().collect()))
    }
}

fn event_names() -> Array {
    let names = ObjectBuilder::new()
        .schema_type(Type::String)
        .enum_values(Some(events::NAMES.iter().copied()));
    ArrayBuilder::new()
        .items(names)
        .min_items(Some(1))
        .examples([json!(["image.ocr_completed", "image.ocr_failed"])])
        .build()
}

/// A text for people.
#[derive(Debug, Deserr)]
#[deserr(error = Fields, try_from(&String) = Description::parse -> Rule)]
pub(super) struct Description(pub(super) String);

impl Description {
    fn parse(text: &str) -> Result<Self, Rule> {
        if text.chars().count() > DESCRIPTION_MAX {
            return Err(Rule::new(format!(
                "must have at most {DESCRIPTION_MAX} characters"
            )));
        }
        Ok(Self(text.to_owned()))
    }
}

/// A new endpoint.
#[derive(Debug, Deserr, ToSchema)]
#[deserr(error = Fields, deny_unknown_fields, rename_all = camelCase)]
#[schema(rename_all = "camelCase")]
pub(super) struct CreateWebhook {
    /// The URL to which events are posted: https on port 443, at a public address.
    #[schema(value_type = String, format = "uri", max_length = 2048, example = "https://example.com/hooks/baatcheet")]
    pub(super) url: WebhookUrl,
    /// Which events.
    #[schema(schema_with = event_names)]
    pub(super) events: EventNames,
    /// What it is for, in your own words.
    #[deserr(default)]
    #[schema(value_type = Option<String>, max_length = 500)]
    pub(super) description: Option<Description>,
}

/// Changes to an endpoint: a field that is left out keeps its value.
#[derive(Debug, Deserr, ToSchema)]
#[deserr(error = Fields, deny_unknown_fields, rename_all = camelCase)]
#[schema(rename_all = "camelCase", min_properties = 1)]
pub(super) struct UpdateWebhook {
    /// The URL to which events are posted: https on port 443, at a public address.
    #[deserr(default)]
    #[schema(value_type = String, required = false, format = "uri", max_length = 2048)]
    pub(super) url: Given<WebhookUrl>,
    /// Which events; the whole list.
    #[deserr(default)]
    #[schema(schema_with = event_names, required = false)]
    events: Given<EventNames>,
    /// For people; null clears it.
    #[deserr(default)]
    #[schema(value_type = Option<String>, max_length = 500, example = "Tells the archive")]
    description: Change<Description>,
    /// Whether events are sent to it. Switching it off cancels deliveries that wait for their next attempt; what
    /// happens while it is off is not sent later.
    #[deserr(default)]
    #[schema(value_type = bool, required = false, example = true)]
    is_active: Given<bool>,
}

impl UpdateWebhook {
    /// Checks that it changes anything.
    ///
    /// # Errors
    /// When nothing is changed.
    pub(super) fn check(&self) -> Result<(), Error> {
        let keeps = [
            self.url.0.is_none(),
            self.events.0.is_none(),
            self.description.is_keep(),
            self.is_active.0.is_none(),
        ];
        if keeps.into_iter().all(|keeps| keeps) {
            return Err(Error::field("", "must have at least one field"));
        }
        Ok(())
    }

    /// What is set after the change.
    pub(super) fn apply(self, before: Settings) -> Settings {
        Settings {
            url: self.url.0.map_or(before.url, |url| url.0.into()),
            events: self.events.0.map_or(before.events, |events| events.0),
            description: self.description.apply(before.description, |text| text.0),
            is_active: self.is_active.0.unwrap_or(before.is_active),
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
    /// Which events.
    #[schema(schema_with = event_names)]
    events: Vec<String>,
    /// What it is for, in your own words.
    #[schema(example = "Tells our search index")]
    description: Option<String>,
    /// Whether events are sent to it.
    #[schema(example = true)]
    is_active: bool,
    /// Why it is not active, if the server switched it off.
    disabled_reason: Option<String>,
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
            is_active,
            disabled_reason,
            version,
            created_at,
            updated_at,
        } = row;
        Self {
            id,
            url,
            events,
            description,
            is_active,
            disabled_reason,
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
