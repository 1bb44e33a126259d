//! Bodies of deliveries.

use chrono::{DateTime, Utc};
use deserr::Deserr;
use serde::Serialize;
use serde_json::Value;
use shared::{
    events,
    ids::{AttemptId, DeliveryId, EventId, WebhookId},
    models::{
        delivery::{Overview, Status, attempt},
        event,
    },
};
use utoipa::{IntoParams, ToSchema};

use crate::{
    extract::{Fields, Rule},
    jobs::dto::Job,
    page::Limit,
    text::Param,
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
    /// Whether the endpoint answered with 2xx.
    success: bool,
    /// The status with which the endpoint answered; 0 for no answer.
    #[schema(minimum = 0, maximum = 999)]
    status_code: i16,
    /// Why it did not succeed, for people; begins with `blocked:` if its address is not allowed.
    error_message: Option<String>,
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
            happened_at,
            attempts,
            status_code,
            attempt_error,
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
            duration_ms,
            attempt_count: attempts.unwrap_or(0),
            created_at,
            finished_at,
            next_attempt_at,
        }
    }
}

/// A delivery with its attempts.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct DeliveryWithAttempts {
    #[serde(flatten)]
    pub(super) delivery: Delivery,
    /// The latest 100 attempts, newest first, without the payload.
    pub(super) attempts: Vec<DeliveryAttempt>,
}

/// One attempt at a delivery.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct DeliveryAttempt {
    pub(super) id: AttemptId,
    webhook_id: WebhookId,
    delivery_id: DeliveryId,
    /// 1, 2, …; continues when the delivery is sent again.
    attempt: i32,
    /// Name of the event.
    #[schema(example = "image.ocr_completed")]
    event: String,
    /// The body that was sent; in lists of attempts only.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>, nullable = false)]
    payload: Option<Value>,
    /// Whether the endpoint answered with 2xx.
    success: bool,
    /// The status with which the endpoint answered; 0 for no answer.
    #[schema(minimum = 0, maximum = 999)]
    status_code: i16,
    /// Why it did not succeed, for people; begins with `blocked:` if its address is not allowed.
    error_message: Option<String>,
    /// The first 16 KiB of the answer, as text; null if there was no answer.
    response_body: Option<String>,
    /// From the first byte sent to the last byte read.
    duration_ms: i32,
    /// When it began.
    pub(super) created_at: DateTime<Utc>,
}

impl DeliveryAttempt {
    /// Puts a try together, with the payload where it is wanted.
    pub(super) fn new(row: attempt::Model, of: &Delivery, payload: Option<Value>) -> Self {
        let attempt::Model {
            id,
            delivery_id,
            attempt,
            status_code,
            error,
            response_body,
            duration_ms,
            created_at,
        } = row;
        Self {
            id,
            webhook_id: of.webhook_id,
            delivery_id,
            attempt,
            event: of.event.clone(),
            payload,
            success: error.is_none(),
            status_code,
            error_message: error,
            response_body,
            duration_ms,
            created_at,
        }
    }
}

/// A delivery that is being sent again.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ResentDelivery {
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
    /// Only deliveries with this status.
    #[deserr(default)]
    #[param(value_type = Option<Status>)]
    pub(super) status: Option<Param<Status>>,
    /// Only deliveries of events with this name.
    #[deserr(default)]
    #[param(value_type = Option<String>)]
    pub(super) event: Option<EventFilter>,
}

/// Which tries are listed.
#[derive(Debug, Deserr, IntoParams)]
#[deserr(error = Fields, deny_unknown_fields, rename_all = camelCase)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
pub(super) struct ListDeliveryAttempts {
    /// 1 to 100.
    #[deserr(default)]
    #[param(value_type = Option<u64>, minimum = 1, maximum = 100, default = 50)]
    pub(super) limit: Limit,
    /// `nextCursor` of the previous page.
    #[deserr(default)]
    pub(super) cursor: Option<String>,
}

/// Name of an event in a query.
#[derive(Debug, Deserr)]
#[deserr(error = Fields, try_from(&String) = EventFilter::parse -> Rule)]
pub(super) struct EventFilter(pub(super) String);

impl EventFilter {
    fn parse(text: &str) -> Result<Self, Rule> {
        if events::NAMES.contains(&text) {
            Ok(Self(text.to_owned()))
        } else {
            Err(Rule::new(format!(
                "must be one of {}",
                events::NAMES.join(", ")
            )))
        }
    }
}
