//! Pages of other origins: which may use the API, and how (Fetch Standard §3.3).
//!
//! Our own and not tower-http's layer: that one takes every `OPTIONS` for a preflight, and tells pages of any origin
//! which methods and headers there are.

use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse as _, Response},
};

use crate::app::App;

const METHODS: &str = "GET, HEAD, POST, PUT, PATCH, DELETE";
/// Those of `OpenAI`'s client for browsers, too, which says who it is where a browser lets it: Firefox does.
const REQUEST_HEADERS: &str = "authorization, content-type, idempotency-key, if-match, if-none-match, last-event-id, \
    openai-beta, openai-organization, openai-project, range, traceparent, user-agent, x-request-id, x-stainless-arch, \
    x-stainless-helper-method, x-stainless-lang, x-stainless-os, x-stainless-package-version, \
    x-stainless-retry-count, x-stainless-runtime, x-stainless-runtime-version, x-stainless-timeout";
const ANSWER_HEADERS: &str = "content-disposition, content-range, etag, idempotent-replayed, link, location, \
    openai-processing-ms, ratelimit, ratelimit-limit, ratelimit-policy, ratelimit-remaining, ratelimit-reset, retry-after, \
    retry-after-ms, x-baatcheet-attempts, x-baatcheet-cost-microusd, x-baatcheet-overhead-ms, x-baatcheet-provider, \
    x-request-id, x-should-retry";
/// Two hours, in seconds; Chromium keeps a preflight's answer no longer.
const MAX_AGE: &str = "7200";

/// The origin of the request, if its pages may use the API.
pub(super) fn allowed(origins: &[String], headers: &HeaderMap) -> Option<HeaderValue> {
    let origin = headers.get(header::ORIGIN)?;
    let is_allowed = origins.iter().any(|known| origin == known.as_str());
    is_allowed.then(|| origin.clone())
}

/// Answers a browser that asks whether it may ask. Nobody needs credentials for that.
pub(crate) async fn preflight(State(app): State<App>, request: Request, next: Next) -> Response {
    let headers = request.headers();
    let is_preflight = !app.config.cors_origins.is_empty()
        && request.method() == Method::OPTIONS
        && headers.contains_key(header::ORIGIN)
        && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    if !is_preflight {
        return next.run(request).await;
    }
    let mut response = StatusCode::NO_CONTENT.into_response();
    if allowed(&app.config.cors_origins, headers).is_some() {
        let headers = response.headers_mut();
        for (name, value) in [
            (header::ACCESS_CONTROL_ALLOW_METHODS, METHODS),
            (header::ACCESS_CONTROL_ALLOW_HEADERS, REQUEST_HEADERS),
            (header::ACCESS_CONTROL_MAX_AGE, MAX_AGE),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
    }
    response
}

/// Shares an answer with the pages of an origin, or with none.
pub(super) fn share(headers: &mut HeaderMap, origin: Option<HeaderValue>) {
    // Always: a cache must not give one origin the answer to another.
    headers.append(header::VARY, HeaderValue::from_static("Origin"));
    let Some(origin) = origin else { return };
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    for (name, value) in [
        (header::ACCESS_CONTROL_ALLOW_CREDENTIALS, "true"),
        (header::ACCESS_CONTROL_EXPOSE_HEADERS, ANSWER_HEADERS),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
}
