//! When to ask again, for those who can.

use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue};

/// What `OpenAI`'s clients look for before `Retry-After`.
pub(crate) const RETRY_AFTER_MS: HeaderName = HeaderName::from_static("retry-after-ms");
/// Tells `OpenAI`'s clients whether to ask again.
pub(crate) const SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");
/// When a client may ask again while we cannot serve.
pub(super) const RETRY_LATER: Duration = Duration::from_secs(2);
/// The same, where there is no room just now.
pub(super) const RETRY_SOON: Duration = Duration::from_secs(1);

/// When to ask again, in all the ways in which clients look for it.
pub(super) fn retry_later(wait: Duration) -> (Option<u64>, HeaderMap) {
    let millis = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
    let headers = HeaderMap::from_iter([
        (RETRY_AFTER_MS, HeaderValue::from(millis)),
        (SHOULD_RETRY, HeaderValue::from_static("true")),
    ]);
    (Some(millis.div_ceil(1_000).max(1)), headers)
}
