//! What each error is called: its status, its permanent code and its title.

use axum::http::StatusCode;

use super::Error;

/// The code of a limit of usage, which `OpenAI`'s surface words in its own way.
pub(crate) const USAGE_LIMIT_REACHED: &str = "usage_limit_reached";

impl Error {
    /// Status, permanent code and title. Exhaustive, so a new variant cannot forget one.
    pub(super) fn answer(&self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Self::NotFound(_) | Self::EventTypeNotFound { .. } => {
                (StatusCode::NOT_FOUND, "not_found", "Not found")
            }
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
            Self::UsageLimitReached { .. } => (
                StatusCode::TOO_MANY_REQUESTS,
                USAGE_LIMIT_REACHED,
                "Usage limit reached",
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
}
