//! Every answer that is not success, as `application/problem+json` (RFC 9457).

mod codes;
mod problem;
mod retry;

use std::time::Duration;

use axum::{
    http::StatusCode,
    response::{IntoResponse, Response},
};
use shared::{
    clients::{outbound::Refused, storage},
    database::{self, Refusal},
    ids::{ConversationId, MessageId},
    models::{message, usage_month, webhook},
};

pub(crate) use self::{
    codes::USAGE_LIMIT_REACHED,
    problem::{FieldProblem, Problem},
    retry::{RETRY_AFTER_MS, SHOULD_RETRY},
};
pub(crate) use crate::openapi::Problems;
use crate::{answer::Answer, denied::Denied, limits::Exhausted};

/// Results of handlers.
pub(crate) type Result<T, E = Error> = std::result::Result<T, E>;

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
    /// Nothing more that costs may be asked this month.
    #[error("{used}")]
    UsageLimitReached {
        /// Which limit.
        used: usage_month::Used,
        /// Until the next month.
        retry_after: Duration,
    },
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
    /// There are no events of such a name.
    #[error("there is no such event type{}", meant(.near))]
    EventTypeNotFound {
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

impl From<webhook::NotOpened> for Error {
    fn from(error: webhook::NotOpened) -> Self {
        match error {
            webhook::NotOpened::Database(error) => error.into(),
            webhook::NotOpened::Sealed(error) => {
                tracing::error!(error = %error, "a secret of a webhook cannot be opened");
                Self::Refused(Refusal::WebhookSecretUnreadable)
            }
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
