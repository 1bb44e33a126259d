//! The body of every error answer, and how it is sent.

use std::time::Duration;

use axum::{
    body::Body,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use serde::Serialize;
use shared::ids::{ConversationId, MessageId};
use utoipa::ToSchema;

use super::{
    Error,
    retry::{RETRY_LATER, RETRY_SOON, SHOULD_RETRY, retry_later},
};
use crate::usage::MonthlyLimit;

/// What is wrong with one field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct FieldProblem {
    /// JSON pointer (RFC 6901) into the body, or `/name` of a query parameter.
    #[schema(example = "/password")]
    pub pointer: String,
    /// What is wrong, in words.
    #[schema(example = "must have at least 10 characters")]
    pub detail: String,
}

/// The body of every error answer.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Problem {
    /// `about:blank`, as the status describes the problem (RFC 9457 §4.2.1); `code` tells which one it is.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// The kind of problem, for people.
    pub title: &'static str,
    /// The title again, for clients that expect `error`.
    pub error: &'static str,
    /// The HTTP status.
    pub status: u16,
    /// This problem, for people.
    pub detail: String,
    /// This kind of problem, for programs; permanent.
    #[schema(example = "invalid_request")]
    pub code: &'static str,
    /// Quote it when you report a problem.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// Every bad field of the request.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldProblem>,
    /// Seconds after which the request may be tried again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<u64>,
    /// The limit that the caller has reached.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage_limit: Option<MonthlyLimit>,
    /// The answer of a model that was not made to its end: what was said of it is kept there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message_id: Option<MessageId>,
    /// Where that answer is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conversation_id: Option<ConversationId>,
    /// More headers of the answer.
    #[serde(skip)]
    #[schema(ignore)]
    pub headers: HeaderMap,
}

impl Problem {
    /// Turns into an answer, once the request's id is known.
    pub(crate) fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_vec(&self).expect("a problem is plain data");
        let mut response = (status, Body::from(body)).into_response();
        let headers = response.headers_mut();
        headers.extend(self.headers);
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let (status, code, title) = error.answer();
        let detail = error.to_string();
        let (retry_after, mut headers) = match &error {
            Error::TooManyRequests(exhausted) => (Some(exhausted.retry_after), exhausted.headers()),
            Error::Exhausted { retry_after, .. } => retry_later(*retry_after),
            Error::UsageLimitReached { retry_after, .. } => {
                let (seconds, mut headers) = retry_later(*retry_after);
                headers.insert(SHOULD_RETRY, HeaderValue::from_static("false"));
                (seconds, headers)
            }
            Error::Overloaded => retry_later(RETRY_SOON),
            Error::AnswerFailed(failed)
                if [
                    StatusCode::TOO_MANY_REQUESTS,
                    StatusCode::SERVICE_UNAVAILABLE,
                ]
                .contains(&failed.status) =>
            {
                let said = failed.failure.retry_after_ms.map(Duration::from_millis);
                retry_later(said.unwrap_or(RETRY_LATER))
            }
            // Asking again does not help.
            Error::KeysRetired { .. } | Error::NoProvider { .. } => {
                let headers =
                    HeaderMap::from_iter([(SHOULD_RETRY, HeaderValue::from_static("false"))]);
                (Some(RETRY_LATER.as_secs()), headers)
            }
            _ => (
                (status == StatusCode::SERVICE_UNAVAILABLE).then_some(RETRY_LATER.as_secs()),
                HeaderMap::new(),
            ),
        };
        if let Error::RangeNotSatisfiable { length_bytes } = &error
            && let Ok(length) = HeaderValue::try_from(format!("bytes */{length_bytes}"))
        {
            headers.insert(header::CONTENT_RANGE, length);
        }
        let (message_id, conversation_id) = match &error {
            Error::AnswerFailed(failed) => (Some(failed.message), Some(failed.conversation)),
            _ => (None, None),
        };
        let usage_limit = match &error {
            Error::UsageLimitReached { used, .. } => Some(MonthlyLimit::from(*used)),
            _ => None,
        };
        let errors = if let Error::Invalid(fields) = error {
            fields
        } else {
            Vec::new()
        };
        Self {
            kind: "about:blank",
            title,
            error: title,
            status: status.as_u16(),
            detail,
            code,
            request_id: None,
            errors,
            retry_after,
            usage_limit,
            message_id,
            conversation_id,
            headers,
        }
    }
}
