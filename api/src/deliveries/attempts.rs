//! Bodies of attempts.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use deserr::Deserr;
use serde::Serialize;
use serde_json::Value;
use shared::{
    ids::{AttemptId, DeliveryId, WebhookId},
    models::delivery::attempt::{self, Details, Outcome},
};
use utoipa::{IntoParams, ToSchema};

use super::dto::{Delivery, EventFilter, parse_list};
use crate::{
    extract::{Fields, Rule},
    moment::Moment,
    page::Limit,
};

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
    /// The body that was sent; in lists of the attempts of a delivery only.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>, nullable = false)]
    payload: Option<Value>,
    /// What became of it.
    status: Outcome,
    /// Whether the endpoint answered with 2xx, and its answer did not break off.
    success: bool,
    /// The status with which the endpoint answered, even if the rest of its answer did not come; 0 for no answer.
    #[schema(minimum = 0, maximum = 999)]
    status_code: i16,
    /// Why it did not succeed, for people; begins with `blocked:` if its address is not allowed.
    error_message: Option<String>,
    /// The same for programs: `http_status`, `timeout`, `connect_failed`, `tls_failed`, `answer_broken`, `unresolvable`,
    /// `cancelled`, `secret_unreadable`, or the code with which the URL would be refused.
    error_code: Option<String>,
    /// Headers of the request; secrets are `[redacted]`.
    #[schema(example = json!({ "content-type": "application/json", "webhook-signature": "[redacted]" }))]
    request_headers: BTreeMap<String, String>,
    /// Headers of the answer.
    #[schema(example = json!({ "content-length": "0" }))]
    response_headers: BTreeMap<String, String>,
    /// The first 16 KiB of the answer, as text, with `[redacted]` for signatures and values of custom headers; null if there was no
    /// answer.
    response_body: Option<String>,
    /// Whether the answer was longer than what is read of one, or broke off.
    response_truncated: bool,
    /// The address to which it was sent; null if it was not.
    address: Option<String>,
    /// The protocol, such as `HTTP/1.1`; null if there was no answer.
    http_version: Option<String>,
    /// How it was encrypted; null if it was not.
    tls: Option<AttemptTls>,
    /// How long each step took.
    timings: AttemptTimings,
    /// Whether a connection was used that had been made before.
    connection_reused: bool,
    /// From the first byte sent to the last byte read.
    duration_ms: i32,
    /// When it began.
    pub(super) created_at: DateTime<Utc>,
}

/// How an attempt was encrypted.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct AttemptTls {
    #[schema(example = "TLSv1.3")]
    version: String,
    #[schema(example = "TLS13_AES_256_GCM_SHA384")]
    cipher: String,
}

/// How long each step of an attempt took; null for those that were not taken.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::struct_field_names, reason = "clients read units in names")]
struct AttemptTimings {
    /// Resolving the name.
    #[schema(example = 2)]
    dns_ms: Option<u32>,
    /// Connecting.
    #[schema(example = 11)]
    connect_ms: Option<u32>,
    /// The handshake of TLS.
    #[schema(example = 24)]
    tls_ms: Option<u32>,
    /// From the beginning to the first byte of the answer.
    #[schema(example = 80)]
    first_byte_ms: Option<u32>,
    /// From the beginning to the end of the answer.
    #[schema(example = 81)]
    total_ms: Option<u32>,
}

impl DeliveryAttempt {
    /// Puts a try together, with the payload where it is wanted.
    pub(super) fn new(
        row: attempt::Model,
        webhook: WebhookId,
        event: String,
        payload: Option<Value>,
    ) -> Self {
        let status = row.outcome();
        let attempt::Model {
            id,
            delivery_id,
            webhook_id: _,
            attempt,
            status_code,
            error,
            error_code,
            response_body,
            details,
            duration_ms,
            created_at,
        } = row;
        let is_known = details.is_some();
        let Details {
            request_headers,
            response_headers,
            address,
            http_version,
            tls,
            timings,
            reused_connection,
            body_truncated,
        } = details.unwrap_or_default();
        Self {
            id,
            webhook_id: webhook,
            delivery_id,
            attempt,
            event,
            payload,
            status,
            success: error.is_none(),
            status_code,
            error_message: error,
            error_code,
            request_headers,
            response_headers,
            response_body,
            response_truncated: body_truncated,
            address: address.map(|address| address.to_string()),
            http_version,
            tls: tls.map(|tls| AttemptTls {
                version: tls.version,
                cipher: tls.cipher,
            }),
            timings: AttemptTimings {
                dns_ms: timings.dns_ms,
                connect_ms: timings.connect_ms,
                tls_ms: timings.tls_ms,
                first_byte_ms: timings.first_byte_ms,
                total_ms: is_known.then_some(timings.total_ms),
            },
            connection_reused: reused_connection,
            duration_ms,
            created_at,
        }
    }
}

/// Which attempts of a delivery are listed.
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
    /// Only attempts that came to this, or to one of several, separated by commas.
    #[deserr(default)]
    #[param(value_type = Option<Vec<Outcome>>, style = Form, explode = false)]
    pub(super) status: Option<Outcomes>,
    /// Only attempts that were answered with this status; 0 for no answer.
    #[deserr(default)]
    #[param(value_type = Option<i16>, minimum = 0, maximum = 999)]
    pub(super) status_code: Option<StatusCode>,
}

/// Which attempts of an endpoint are listed.
#[derive(Debug, Deserr, IntoParams)]
#[deserr(error = Fields, deny_unknown_fields, rename_all = camelCase)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
pub(super) struct ListAttempts {
    /// 1 to 100.
    #[deserr(default)]
    #[param(value_type = Option<u64>, minimum = 1, maximum = 100, default = 50)]
    pub(super) limit: Limit,
    /// `nextCursor` of the previous page.
    #[deserr(default)]
    pub(super) cursor: Option<String>,
    /// Only attempts that came to this, or to one of several, separated by commas.
    #[deserr(default)]
    #[param(value_type = Option<Vec<Outcome>>, style = Form, explode = false)]
    pub(super) status: Option<Outcomes>,
    /// Only attempts at deliveries of events with this name, or of a group such as `message.*`.
    #[deserr(default)]
    #[param(value_type = Option<String>)]
    pub(super) event: Option<EventFilter>,
    /// Only attempts that began at this time or later.
    #[deserr(default)]
    #[param(value_type = Option<DateTime<Utc>>)]
    pub(super) since: Option<Moment>,
    /// Only attempts that began before this time.
    #[deserr(default)]
    #[param(value_type = Option<DateTime<Utc>>)]
    pub(super) until: Option<Moment>,
    /// Only attempts that were answered with this status; 0 for no answer.
    #[deserr(default)]
    #[param(value_type = Option<i16>, minimum = 0, maximum = 999)]
    pub(super) status_code: Option<StatusCode>,
}

/// Outcomes in a query, separated by commas.
#[derive(Debug, Deserr)]
#[deserr(error = Fields, try_from(&String) = Outcomes::parse -> Rule)]
pub(super) struct Outcomes(pub(super) Vec<Outcome>);

impl Outcomes {
    fn parse(text: &str) -> Result<Self, Rule> {
        let rule = "must be some of succeeded, failed and blocked, separated by commas";
        parse_list(text, rule).map(Self)
    }
}

/// The status of an answer in a query; 0 for no answer.
#[derive(Debug, Deserr)]
#[deserr(error = Fields, try_from(&String) = StatusCode::parse -> Rule)]
pub(super) struct StatusCode(pub(super) i16);

impl StatusCode {
    fn parse(text: &str) -> Result<Self, Rule> {
        match text.parse() {
            Ok(code @ 0..=999) => Ok(Self(code)),
            _ => Err(Rule::new("must be a number from 0 to 999")),
        }
    }
}
