//! Bodies of events.

use deserr::Deserr;
use serde::Serialize;
use serde_json::Value;
use shared::{
    events::{self, Audience, Kind},
    ids::EventId,
    models::event,
};
use utoipa::{IntoParams, ToSchema};

use crate::{
    extract::{Fields, Rule},
    page::Limit,
};

/// Something that happened, as endpoints are told of it.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Event {
    /// `webhook-id` of its deliveries.
    id: EventId,
    /// Its name: see the list of event types.
    #[serde(rename = "type")]
    #[schema(example = "conversation.created")]
    kind: String,
    /// When it happened.
    #[schema(format = "date-time", example = "2026-11-21T09:30:00.250000Z")]
    timestamp: String,
    /// Its shape depends on `type`.
    #[schema(value_type = Object, example = json!({
        "conversationId": "019aa5c1-7d3a-7c62-9f0b-5e1d2a3b4c02", "projectId": null, "title": "The sea", "tags": ["water"],
        "pinned": false, "archived": false, "version": 1,
    }))]
    data: Value,
}

impl From<event::Model> for Event {
    fn from(row: event::Model) -> Self {
        let event::Model {
            id,
            user_id: _,
            kind,
            data,
            created_at,
            subject: _,
        } = row;
        Self {
            id,
            kind,
            timestamp: event::timestamp(created_at),
            data,
        }
    }
}

/// Which events are listed.
#[derive(Debug, Deserr, IntoParams)]
#[deserr(error = Fields, deny_unknown_fields, rename_all = camelCase)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
pub(super) struct ListEvents {
    /// 1 to 100.
    #[deserr(default)]
    #[param(value_type = Option<u64>, minimum = 1, maximum = 100, default = 50)]
    pub(super) limit: Limit,
    /// `nextCursor` of the previous page.
    #[deserr(default)]
    pub(super) cursor: Option<String>,
    /// Only events of this name, or of all names of a pattern: `message.completed`, `message.*`.
    #[deserr(rename = "type", default)]
    #[param(rename = "type", value_type = Option<String>, example = "message.*")]
    pub(super) kinds: Option<EventPattern>,
    /// `all`: for administrators, those events of all users that are shown to them.
    #[deserr(default)]
    #[param(value_type = Option<String>, default = "own", pattern = "^(own|all)$")]
    pub(super) scope: Scope,
}

/// The names of events that a name or a pattern means.
#[derive(Debug, Deserr)]
#[deserr(error = Fields, try_from(&String) = EventPattern::parse -> Rule)]
pub(super) struct EventPattern(pub(super) Vec<&'static Kind>);

impl EventPattern {
    fn parse(text: &str) -> Result<Self, Rule> {
        let kinds = events::matching(text);
        if !kinds.is_empty() {
            return Ok(Self(kinds));
        }
        let near = match events::near(text).join(", ") {
            near if near.is_empty() => near,
            near => format!("; near are {near}"),
        };
        Err(Rule::new(format!(
            "must be an event, or a pattern such as attachment.*{near}"
        )))
    }
}

/// Whose events are listed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserr)]
#[deserr(error = Fields, try_from(&String) = Scope::parse -> Rule)]
pub(super) enum Scope {
    /// The caller's.
    #[default]
    Own,
    /// Everybody's.
    All,
}

impl Scope {
    fn parse(text: &str) -> Result<Self, Rule> {
        match text {
            "own" => Ok(Self::Own),
            "all" => Ok(Self::All),
            _ => Err(Rule::new("must be own or all")),
        }
    }
}

/// All kinds of events.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct EventTypeList {
    pub(super) data: Vec<EventType>,
}

/// A kind of event.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct EventType {
    #[schema(example = "message.completed")]
    name: &'static str,
    /// When it happens.
    #[schema(example = "An answer was made, to its end or until it was stopped.")]
    description: &'static str,
    /// Who hears of it.
    audience: Audience,
    /// Whether endpoints can subscribe to it. Others are sent because somebody asked for it.
    #[schema(example = true)]
    subscribable: bool,
    /// The JSON Schema (2020-12) of what receivers get: `{type, timestamp, data}`.
    #[schema(value_type = Object)]
    schema: Value,
    /// What receivers get, for instance.
    #[schema(value_type = Object)]
    example: Value,
}

impl From<&Kind> for EventType {
    fn from(kind: &Kind) -> Self {
        Self {
            name: kind.name,
            description: kind.description(),
            audience: kind.audience,
            subscribable: kind.is_subscribable,
            schema: kind.schema(),
            example: kind.example(),
        }
    }
}
