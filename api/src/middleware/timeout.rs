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
    within(LIMIT, next.run(request)).await
}

async fn within(limit: Duration, answer: impl Future<Output = Response>) -> Response {
    tokio::time::timeout(limit, answer)
        .await
        .unwrap_or_else(|_| {
            tracing::error!(seconds = limit.as_secs(), "a request took too long");
            Error::Timeout.into_response()
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Problem;

    #[tokio::test]
    async fn a_request_that_takes_too_long_is_a_problem() {
        let response = within(Duration::from_millis(1), std::future::pending()).await;
        let problem = response.extensions().get::<Problem>().unwrap();
        assert_eq!(
            (problem.status, problem.code, problem.retry_after),
            (503, "timeout", Some(2))
        );
    }
}
