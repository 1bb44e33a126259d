//! Every answer that is not success, as `OpenAI`'s clients read it: `{"error": {message, type, param, code}}`.
//!
//! Clients try again after 408, 409, 429 and any 5xx, unless `x-should-retry` says otherwise; they wait as long as
//! `retry-after-ms` or `retry-after` say, if that is not too long for them.

mod meaning;

use std::time::Duration;

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};

pub(crate) use self::meaning::refuse;
use crate::error::{self, RETRY_AFTER_MS, SHOULD_RETRY};

const INVALID_REQUEST: &str = "invalid_request_error";
const PERMISSION: &str = "permission_error";
const RATE_LIMIT: &str = "rate_limit_error";
const QUOTA: &str = "insufficient_quota";
const SERVER: &str = "server_error";
/// The code of a question that is longer than a model takes.
const CONTEXT_LENGTH: &str = "context_length_exceeded";

/// For longer than this no client is told to try again. Older ones of Python's wait no longer than that, but try again at once
/// where they are told to; newer ones wait for two minutes at most, and Node's for any time.
const LONGEST_WAIT: Duration = Duration::from_mins(1);
/// Who has to wait longer than this has used up a quota.
const QUOTA_WAIT: Duration = Duration::from_hours(1);

/// Results of this surface's handlers.
pub(super) type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a handler does not answer.
#[derive(Debug)]
pub(super) enum Error {
    /// As anywhere in this API; it is worded by [`refuse`].
    Ours(error::Error),
    /// In the words of this surface.
    Fault(Box<Fault>),
}

impl From<error::Error> for Error {
    fn from(error: error::Error) -> Self {
        Self::Ours(error)
    }
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        Self::Fault(Box::new(fault))
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        match self {
            Self::Ours(error) => error.into_response(),
            Self::Fault(fault) => fault.into_response(),
        }
    }
}

/// What went wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    status: StatusCode,
    kind: &'static str,
    code: Option<String>,
    /// The parameter that is to blame.
    param: Option<String>,
    message: String,
    retry: Retry,
}

/// Whether asking again helps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Retry {
    /// As clients see fit.
    Unsaid,
    /// It does not.
    Never,
    /// It may, after this time.
    After(Duration),
}

impl Fault {
    /// A parameter is wrong.
    pub(super) fn invalid(param: impl Into<String>, message: impl Into<String>) -> Self {
        Self::request(Some(param.into()), "invalid_value", message)
    }

    /// A parameter is missing.
    pub(super) fn missing(param: impl Into<String>) -> Self {
        let param = param.into();
        let message = format!("Missing required parameter: '{param}'.");
        Self::request(Some(param), "missing_required_parameter", message)
    }

    /// There is no such parameter.
    pub(super) fn unknown(param: impl Into<String>) -> Self {
        let param = error::repeat(&param.into());
        let message = format!("Unrecognized request argument supplied: {param}");
        Self::request(Some(param), "unknown_parameter", message)
    }

    /// There is such a parameter, or such a value of it, but not here.
    pub(super) fn unsupported(param: impl Into<String>, message: impl Into<String>) -> Self {
        Self::request(Some(param.into()), "unsupported_value", message)
    }

    /// More is said than a model takes.
    pub(super) fn context_length(limit: u32, tokens: u32) -> Self {
        let message = format!(
            "This model's maximum context length is {limit} tokens. However, your messages resulted in {tokens} \
             tokens. Please reduce the length of the messages."
        );
        Self::request(Some("messages".to_owned()), CONTEXT_LENGTH, message)
    }

    /// There is no such model.
    pub(super) fn no_model(message: impl Into<String>) -> Self {
        Self {
            status: StatusCode::NOT_FOUND,
            ..Self::request(Some("model".to_owned()), "model_not_found", message)
        }
    }

    /// Too much was asked, for so long.
    pub(super) fn limit(wait: Duration, message: impl Into<String>) -> Self {
        let (kind, code) = if wait >= QUOTA_WAIT {
            (QUOTA, QUOTA)
        } else {
            (RATE_LIMIT, "rate_limit_exceeded")
        };
        Self {
            status: StatusCode::TOO_MANY_REQUESTS,
            kind,
            code: Some(code.to_owned()),
            param: None,
            message: message.into(),
            retry: Retry::After(wait),
        }
    }

    /// It is not the client's fault.
    pub(super) fn server(
        status: StatusCode,
        code: impl Into<String>,
        message: impl Into<String>,
    ) -> Self {
        Self {
            status,
            kind: SERVER,
            code: Some(code.into()),
            param: None,
            message: message.into(),
            retry: Retry::Unsaid,
        }
    }

    /// Says when asking again helps.
    #[must_use]
    pub(super) fn after(self, wait: Duration) -> Self {
        Self {
            retry: Retry::After(wait),
            ..self
        }
    }

    /// Says that asking again does not help.
    #[must_use]
    pub(super) fn for_good(self) -> Self {
        Self {
            retry: Retry::Never,
            ..self
        }
    }

    /// The client is to blame, by its status.
    pub(super) fn of_status(status: StatusCode, code: &str, message: &str) -> Self {
        let kind = if status == StatusCode::FORBIDDEN {
            PERMISSION
        } else {
            INVALID_REQUEST
        };
        Self {
            status,
            kind,
            ..Self::request(None, code, message)
        }
    }

    fn request(param: Option<String>, code: &str, message: impl Into<String>) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            kind: INVALID_REQUEST,
            code: Some(code.to_owned()),
            param,
            message: message.into(),
            retry: Retry::Never,
        }
    }

    /// The body, which is also what a stream ends with that breaks off.
    pub(super) fn body(&self) -> Value {
        json!({ "error": {
            "message": self.message,
            "type": self.kind,
            "param": self.param,
            "code": self.code,
        } })
    }
}

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        let mut response = (self.status, self.body().to_string()).into_response();
        let headers = response.headers_mut();
        let json = HeaderValue::from_static("application/json");
        headers.insert(header::CONTENT_TYPE, json);
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        let should_retry = match self.retry {
            Retry::Unsaid => None,
            Retry::Never => Some("false"),
            Retry::After(wait) => {
                let millis = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
                headers.insert(RETRY_AFTER_MS, HeaderValue::from(millis));
                let seconds = millis.div_ceil(1_000).max(1);
                headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
                Some(if wait <= LONGEST_WAIT {
                    "true"
                } else {
                    "false"
                })
            }
        };
        if let Some(should_retry) = should_retry {
            headers.insert(SHOULD_RETRY, HeaderValue::from_static(should_retry));
        }
        response
    }
}
