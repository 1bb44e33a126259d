//! A limit on the time to an answer.

use std::time::Duration;

use axum::{
    extract::Request,
    middleware::Next,
    response::{IntoResponse as _, Response},
};

use crate::error::Error;

/// Platforms give up after 30 s without a first byte; our own answer says more.
const LIMIT: Duration = Duration::from_secs(25);

/// Answers with a problem when the handler does not. What it did not commit is rolled back.
pub(crate) async fn limit(request: Request, next: Next) -> Response {
    if let Ok(response) = tokio::time::timeout(LIMIT, next.run(request)).await {
        response
    } else {
        tracing::error!(seconds = LIMIT.as_secs(), "a request took too long");
        Error::Timeout.into_response()
    }
}
