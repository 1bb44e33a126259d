//! Bodies of deliveries.

use chrono::{DateTime, Utc};
use deserr::Deserr;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use shared::{
    events,
    ids::{DeliveryId, EventId, WebhookId},
    models::{
        delivery::{Overview, Status},
        event,
        webhook::pattern,
    },
};
use utoipa::{IntoParams, ToSchema};

use crate::{
    extract::{Fields, Rule},
    jobs::dto::Job,
    moment::Moment,
    page::Limit,
    webhooks::unknown_event,
};

/// An event on its way to an endpoint, with the figures of its latest attempt.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Delivery {
    /// `X-BaatCheet-Delivery-ID` of the requests.
    pub(super) id: DeliveryId,
    webhook_id: WebhookId,
    /// `webhook-id` of the requests: the same for every delivery of the event.
    event_id: EventId,
    /// Name of the event.
    #[schema(example = "image.ocr_completed")]
    pub(super) event: String,
    status: Status,
    /// The body that is sent: `{type, timestamp, data}`.
    #[schema(value_type = Object)]
    pub(super) payload: Value,
    /// Whether the endpoint answered with 2xx, and its answer did not break off.
    success: bool,
    /// The status with which the endpoint answered, even if the rest of its answer did not come; 0 for no answer.
    #[schema(minimum = 0, maximum = 999)]
    status_code: i16,
    /// Why it did not succeed, for people; begins with `blocked:` if its address is not allowed.
    error_message: Option<String>,
    /// Why the latest attempt did not succeed, for programs: `http_status`, `timeout`, `connect_failed`, `tls_failed`,
    /// `answer_broken`, `unresolvable`, `cancelled`, `secret_unreadable`, or the code with which the URL would be refused.
    error_code: Option<String>,
    /// Whether it is a test.
    is_test: bool,
    /// From the first byte sent to the last byte read; null before the first attempt.
    duration_ms: Option<i32>,
    /// How many attempts there were.
    attempt_count: i32,
    created_at: DateTime<Utc>,
    finished_at: Option<DateTime<Utc>>,
    /// When the next attempt is due; null if there is none.
    next_attempt_at: Option<DateTime<Utc>>,
}

impl From<Overview> for Delivery {
    fn from(row: Overview) -> Self {
        let Overview {
            id,
            webhook_id,
            event_id,
            job_id: _,
            status,
            error,
            created_at,
            finished_at,
            event,
            event_data,
            event_user_id: _,
            happened_at,
            subject: _,
            is_test,
            attempts,
            status_code,
            attempt_error,
            error_code,
            duration_ms,
            next_attempt_at,
        } = row;
        Self {
            id,
            webhook_id,
            event_id,
            payload: event::payload(&event, happened_at, &event_data),
            event,
            status,
            success: status == Status::Succeeded,
            status_code: status_code.unwrap_or(0),
            error_message: error.or(attempt_error),
            error_code,
            is_test,
            duration_ms,
            attempt_count: attempts.unwrap_or(0),
            created_at,
            finished_at,
            next_attempt_at,
        }
    }
}

/// A delivery that is being sent.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct SentDelivery {
    pub(super) delivery: Delivery,
    /// The job that makes its attempts.
    pub(super) job: Job,
}

/// Which deliveries are listed.
#[derive(Debug, Deserr, IntoParams)]
#[deserr(error = Fields, deny_unknown_fields, rename_all = camelCase)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
pub(super) struct ListDeliveries {
    /// 1 to 100.
    #[deserr(default)]
    #[param(value_type = Option<u64>, minimum = 1, maximum = 100, default = 50)]
    pub(super) limit: Limit,
    /// `nextCursor` of the previous page.
    #[deserr(default)]
    pub(super) cursor: Option<String>,
    /// Only deliveries with this status, or one of several, separated by commas.
    #[deserr(default)]
    #[param(value_type = Option<Vec<Status>>, style = Form, explode = false)]
    pub(super) status: Option<Statuses>,
    /// Only deliveries of events with this name, or of a group such as `message.*`.
    #[deserr(default)]
    #[param(value_type = Option<String>)]
    pub(super) event: Option<EventFilter>,
    /// Only deliveries that were created at this time or later.
    #[deserr(default)]
    #[param(value_type = Option<DateTime<Utc>>)]
    pub(super) since: Option<Moment>,
    /// Only deliveries that were created before this time.
    #[deserr(default)]
    #[param(value_type = Option<DateTime<Utc>>)]
    pub(super) until: Option<Moment>,
}

/// Statuses in a query, separated by commas.
#[derive(Debug, Deserr)]
#[deserr(error = Fields, try_from(&String) = Statuses::parse -> Rule)]
pub(super) struct Statuses(pub(super) Vec<Status>);

impl Statuses {
    fn parse(text: &str) -> Result<Self, Rule> {
        let rule = "must be some of pending, succeeded, failed and cancelled, separated by commas";
        parse_list(text, rule).map(Self)
    }
}

/// Reads names that are separated by commas; `rule` says which there are.
pub(super) fn parse_list<T: DeserializeOwned>(text: &str, rule: &str) -> Result<Vec<T>, Rule> {
    text.split(',')
        .map(|name| serde_json::from_value(name.trim().into()))
        .collect::<Result<_, serde_json::Error>>()
        .map_err(|_| Rule::new(rule))
}

/// Name of an event in a query, or a pattern.
#[derive(Debug, Deserr)]
#[deserr(error = Fields, try_from(&String) = EventFilter::parse -> Rule)]
pub(super) struct EventFilter(pub(super) String);

impl EventFilter {
    fn parse(text: &str) -> Result<Self, Rule> {
        let mut known = pattern::known();
        known.push(events::PING.to_owned());
        if known.iter().any(|pattern| pattern == text) {
            Ok(Self(text.to_owned()))
        } else {
            Err(unknown_event(text, &known))
        }
    }
}
