//! Every answer that is not success, as `application/problem+json` (RFC 9457).

use std::time::Duration;

use axum::{
    body::Body,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use shared::{
    clients::{outbound::Refused, storage},
    database::{self, Refusal},
    ids::{ConversationId, MessageId},
    models::message,
};
use utoipa::ToSchema;

pub(crate) use crate::openapi::Problems;
use crate::{answer::Answer, denied::Denied, limits::Exhausted};

/// Results of handlers.
pub(crate) type Result<T, E = Error> = std::result::Result<T, E>;

/// What `OpenAI`'s clients look for before `Retry-After`.
pub(crate) const RETRY_AFTER_MS: HeaderName = HeaderName::from_static("retry-after-ms");
/// Tells `OpenAI`'s clients whether to ask again.
pub(crate) const SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");
/// When a client may ask again while we cannot serve.
const RETRY_LATER: Duration = Duration::from_secs(2);
/// The same, where there is no room just now.
const RETRY_SOON: Duration = Duration::from_secs(1);
/// Most characters of a client's own words that an error repeats.
const REPEATED: usize = 64;

/// Every answer that is not success.
///
/// A variant exists because a client acts differently on it, not because one more thing can break.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// No such route, or no such row for this caller.
    #[error("no such {0}")]
    NotFound(&'static str),
    /// The route is there, but not for this method.
    #[error("this method is not allowed here")]
    MethodNotAllowed,
    /// The request cannot be read at all.
    #[error("{0}")]
    Malformed(String),
    /// The request can be read, but some of its values are wrong.
    #[error("the request is not valid")]
    Invalid(Vec<FieldProblem>),
    /// No credentials, or none that are good now.
    #[error("{0}")]
    Unauthenticated(&'static str),
    /// Two hold the refresh token: it had been used before.
    #[error("the refresh token was used before, so the login has ended; log in again")]
    RefreshTokenReused,
    /// We know who asks, and still.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// Tried too often.
    #[error(transparent)]
    TooManyRequests(#[from] Exhausted),
    /// A rule says no.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// More than may be sent here.
    #[error("the request is larger than the {limit_bytes} bytes allowed here")]
    TooLarge {
        /// What is allowed.
        limit_bytes: u64,
    },
    /// A text with more characters than may be sent here.
    #[error("the message has more than the {limit_characters} characters allowed here")]
    TooLong {
        /// What is allowed.
        limit_characters: usize,
    },
    /// There is no such model.
    #[error("there is no model {:?}{}", repeat(.model), meant(.near))]
    ModelNotFound {
        /// What was asked for.
        model: String,
        /// What may have been meant.
        near: Vec<String>,
    },
    /// Nobody who has the model can be asked.
    #[error("no provider of {what} is configured: set {}", .variables.join(" or "))]
    NoProvider {
        /// A model, or answers at all.
        what: String,
        /// What would help.
        variables: Vec<String>,
    },
    /// All who have the model are used up, or left alone after failures.
    #[error("{}", told(*.is_limit))]
    Exhausted {
        /// When the first of them may be asked again.
        retry_after: Duration,
        /// Whether it is because of too many requests.
        is_limit: bool,
    },
    /// No provider takes a key any more.
    #[error("no provider of {model} takes our keys any more; an operator has to look at them")]
    KeysRetired {
        /// Which model.
        model: String,
    },
    /// A tool that is asked for may be one of a server that is away.
    #[error("the server of the tools {server}__… is away; try again in some seconds")]
    ToolsAway {
        /// Its name.
        server: String,
    },
    /// An answer was begun and not made to its end; what was said is kept.
    #[error("{}", .0.failure.detail)]
    AnswerFailed(Box<AnswerFailed>),
    /// The client has seen another version of the thing.
    #[error("the thing has been changed since; get it again")]
    PreconditionFailed,
    /// The first request with this key has not been answered yet.
    #[error("the first request with this Idempotency-Key still runs")]
    IdempotencyInProgress,
    /// Another request had this key.
    #[error("this Idempotency-Key came with another body before")]
    IdempotencyKeyReused,
    /// Carried out before, but the answer was too large to keep.
    #[error("the request was carried out before; its answer was too large to keep")]
    AnswerNotKept,
    /// Carried out before: this was the answer.
    #[error("the request was carried out before")]
    Repeated(Box<Answer>),
    /// A body of a kind that this route does not take.
    #[error("{0}")]
    UnsupportedMediaType(String),
    /// A picture with more pixels than we decode.
    #[error("{0}")]
    ImageTooLarge(String),
    /// None of the bytes that are asked for are there.
    #[error("the file has {length_bytes} bytes, and none of them is in the range")]
    RangeNotSatisfiable {
        /// What is there.
        length_bytes: u64,
    },
    /// A URL that we do not call.
    #[error("the URL is not allowed: {0}")]
    UrlRefused(Refused),
    /// The client sends next to nothing.
    #[error("the upload is too slow: less than 10 KiB a second came over 30 seconds")]
    SlowUpload,
    /// The client takes too long to send its body.
    #[error("the body did not come within {} seconds", .limit.as_secs())]
    SlowBody {
        /// How long it may take.
        limit: Duration,
    },
    /// It took too long.
    #[error("the request took too long")]
    Timeout,
    /// As much is being done as there is room for.
    #[error("too much is asked at once; try again in a second")]
    Overloaded,
    /// The database or the storage is away.
    #[error("the service is not available; try again in some seconds")]
    Unavailable(#[source] anyhow::Error),
    /// Ours.
    #[error("internal error")]
    Internal(#[source] anyhow::Error),
}

impl Error {
    /// Status, permanent code and title. Exhaustive, so a new variant cannot forget one.
    fn answer(&self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Self::NotFound(_) => (StatusCode::NOT_FOUND, "not_found", "Not found"),
            Self::MethodNotAllowed => (
                StatusCode::METHOD_NOT_ALLOWED,
                "method_not_allowed",
                "Method not allowed",
            ),
            Self::Malformed(_) => (
                StatusCode::BAD_REQUEST,
                "malformed_request",
                "Malformed request",
            ),
            Self::Invalid(_) => (
                StatusCode::UNPROCESSABLE_ENTITY,
                "invalid_request",
                "Invalid request",
            ),
            Self::Unauthenticated(_) => (
                StatusCode::UNAUTHORIZED,
                "unauthenticated",
                "Unauthenticated",
            ),
            Self::RefreshTokenReused => (
                StatusCode::UNAUTHORIZED,
                "refresh_token_reused",
                "Unauthenticated",
            ),
            Self::Denied(denied) => (StatusCode::FORBIDDEN, denied.code(), "Forbidden"),
            Self::TooManyRequests(_) => (
                StatusCode::TOO_MANY_REQUESTS,
                "too_many_requests",
                "Too many requests",
            ),
            Self::Refused(refusal) => (StatusCode::CONFLICT, refusal.code(), "Conflict"),
            Self::TooLarge { .. } | Self::TooLong { .. } => (
                StatusCode::PAYLOAD_TOO_LARGE,
                "payload_too_large",
                "Payload too large",
            ),
            Self::ModelNotFound { .. } => {
                (StatusCode::NOT_FOUND, "model_not_found", "Model not found")
            }
            Self::NoProvider { .. } => (
                StatusCode::SERVICE_UNAVAILABLE,
                "no_provider",
                "No provider",
            ),
            Self::Exhausted { is_limit: true, .. } => (
                StatusCode::TOO_MANY_REQUESTS,
                "provider_rate_limited",
                "Too many requests",
            ),
            Self::Exhausted {
                is_limit: false, ..
            } => (
                StatusCode::SERVICE_UNAVAILABLE,
                "provider_unavailable",
                "Provider unavailable",
            ),
            Self::KeysRetired { .. } => (
                StatusCode::SERVICE_UNAVAILABLE,
                "provider_keys_retired",
                "Provider unavailable",
            ),
            Self::ToolsAway { .. } => (
                StatusCode::SERVICE_UNAVAILABLE,
                "tools_unavailable",
                "Tools unavailable",
            ),
            Self::AnswerFailed(failed) => (failed.status, failed.code, "No answer"),
            Self::PreconditionFailed => (
                StatusCode::PRECONDITION_FAILED,
                "precondition_failed",
                "Precondition failed",
            ),
            Self::IdempotencyInProgress => {
                (StatusCode::CONFLICT, "idempotency_in_progress", "Conflict")
            }
            Self::IdempotencyKeyReused => (
                StatusCode::UNPROCESSABLE_ENTITY,
                "idempotency_key_reused",
                "Idempotency-Key reused",
            ),
            Self::AnswerNotKept => (StatusCode::CONFLICT, "answer_not_kept", "Conflict"),
            // Never seen: the first answer is sent instead.
            Self::Repeated(_) => (StatusCode::OK, "repeated", "Repeated"),
            Self::UnsupportedMediaType(_) => (
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "unsupported_media_type",
                "Unsupported media type",
            ),
            Self::ImageTooLarge(_) => (
                StatusCode::UNPROCESSABLE_ENTITY,
                "image_too_large",
                "Image too large",
            ),
            Self::RangeNotSatisfiable { .. } => (
                StatusCode::RANGE_NOT_SATISFIABLE,
                "range_not_satisfiable",
                "Range not satisfiable",
            ),
            Self::UrlRefused(refused) => (
                StatusCode::UNPROCESSABLE_ENTITY,
                refused.code(),
                "URL not allowed",
            ),
            Self::SlowUpload | Self::SlowBody { .. } => (
                StatusCode::REQUEST_TIMEOUT,
                "request_timeout",
                "Request timeout",
            ),
            Self::Timeout => (StatusCode::SERVICE_UNAVAILABLE, "timeout", "Timeout"),
            Self::Overloaded => (StatusCode::SERVICE_UNAVAILABLE, "overloaded", "Overloaded"),
            Self::Unavailable(_) => (
                StatusCode::SERVICE_UNAVAILABLE,
                "unavailable",
                "Unavailable",
            ),
            Self::Internal(_) => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "internal",
                "Internal error",
            ),
        }
    }

    /// Whether it is nobody's fault but ours.
    pub(crate) fn is_ours(&self) -> bool {
        self.answer().0.is_server_error()
    }

    /// Makes one field's problem the answer.
    pub(crate) fn field(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::Invalid(vec![FieldProblem {
            pointer: pointer.into(),
            detail: detail.into(),
        }])
    }
}

impl From<database::Error> for Error {
    fn from(error: database::Error) -> Self {
        match error {
            database::Error::Refused(refusal) => Self::Refused(refusal),
            database::Error::NotFound(what) => Self::NotFound(what),
            database::Error::Unavailable(_) => Self::Unavailable(error.into()),
            database::Error::Failed(_) => Self::Internal(error.into()),
        }
    }
}

impl From<storage::Error> for Error {
    /// An object that is not there is ours: a row names it. Whoever gives it out may say better.
    fn from(error: storage::Error) -> Self {
        match error {
            storage::Error::Failed(_) => Self::Unavailable(error.into()),
            storage::Error::Denied(_) | storage::Error::NotFound => Self::Internal(error.into()),
            storage::Error::Refused(reason) => {
                tracing::warn!(error = %format!("{reason:#}"), "the storage does not take a file");
                let told = "the storage does not take this file: it is damaged, or larger than it may be there";
                Self::UnsupportedMediaType(told.to_owned())
            }
        }
    }
}

impl From<anyhow::Error> for Error {
    fn from(error: anyhow::Error) -> Self {
        Self::Internal(error)
    }
}

/// What became of an answer that was not made to its end.
#[derive(Debug)]
pub(crate) struct AnswerFailed {
    /// 502, or 503 where asking again helps.
    pub status: StatusCode,
    /// Permanent.
    pub code: &'static str,
    /// Why.
    pub failure: message::Failure,
    /// The answer, with what was said of it.
    pub message: MessageId,
    /// Where it is.
    pub conversation: ConversationId,
}

fn told(is_limit: bool) -> &'static str {
    if is_limit {
        "all providers are asked too often now"
    } else {
        "the providers have failed too often, and are left alone for a moment"
    }
}

/// When to ask again, in all the ways in which clients look for it.
fn retry_later(wait: Duration) -> (Option<u64>, HeaderMap) {
    let millis = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
    let headers = HeaderMap::from_iter([
        (RETRY_AFTER_MS, HeaderValue::from(millis)),
        (SHOULD_RETRY, HeaderValue::from_static("true")),
    ]);
    (Some(millis.div_ceil(1_000).max(1)), headers)
}

/// The beginning of a client's own words, for an error that repeats them.
pub(crate) fn repeat(words: &str) -> String {
    words.chars().take(REPEATED).collect()
}

fn meant(near: &[String]) -> String {
    if near.is_empty() {
        String::new()
    } else {
        format!("; near are {}", near.join(", "))
    }
}

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
            message_id,
            conversation_id,
            headers,
        }
    }
}

impl IntoResponse for Error {
    /// Logs what is ours, and leaves the problem to the middleware that knows the request's id.
    fn into_response(self) -> Response {
        if let Self::Repeated(answer) = self {
            return answer.replay();
        }
        match &self {
            Self::Internal(source) => {
                tracing::error!(error = %format!("{source:#}"), "internal error");
            }
            Self::Unavailable(source) => {
                tracing::warn!(error = %format!("{source:#}"), "unavailable");
            }
            _ => {}
        }
        let mut response = self.answer().0.into_response();
        response.extensions_mut().insert(Problem::from(self));
        response
    }
}
