//! The request's id, its log line, and problems with that id in them.

use std::time::Instant;

use axum::{
    extract::{FromRequestParts, MatchedPath, Request, State},
    http::{HeaderName, HeaderValue, StatusCode, header, request::Parts},
    middleware::Next,
    response::Response,
};
use shared::telemetry::{Ended, Trace};
use tracing::Instrument as _;
use uuid::Uuid;

use crate::{
    app::App,
    client::Client,
    error::{Error, Problem},
    idempotency::Repeatable,
    metrics::UNMATCHED,
    openai,
};

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// How often a client of `OpenAI`'s making has asked the same before.
const RETRY_COUNT: HeaderName = HeaderName::from_static("x-stainless-retry-count");
/// How long `OpenAI` took, as its clients know it.
const PROCESSING: HeaderName = HeaderName::from_static("openai-processing-ms");
/// Longest id taken from a client.
const LONGEST_ID: usize = 128;
/// Routes that machines ask all the time; their traces would tell nothing.
const NOT_TRACED: [&str; 2] = ["/api/health", "/api/metrics"];

/// How a request is known, here and in everything it causes.
#[derive(Debug, Clone)]
pub(crate) struct RequestId {
    /// `X-Request-Id`: the client's where it is sane, else ours.
    pub id: String,
    /// W3C Trace Context of the client, where it sent one.
    pub traceparent: Option<String>,
    /// What it takes to answer its repetition alike.
    pub(crate) repeatable: Option<Repeatable>,
}

impl<S: Sync> FromRequestParts<S> for RequestId {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Error> {
        parts
            .extensions
            .get()
            .cloned()
            .ok_or_else(|| Error::Internal(anyhow::anyhow!("the request id middleware is missing")))
    }
}

/// Letters, digits and `-_.:` only: it goes into logs, headers and rows.
fn sane_id(value: &HeaderValue) -> Option<&str> {
    let id = value.to_str().ok()?;
    let is_sane = (1..=LONGEST_ID).contains(&id.len())
        && id
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte));
    is_sane.then_some(id)
}

/// Version 00 of W3C Trace Context: `00-<32 hex>-<16 hex>-<2 hex>`, ids not all zero.
fn sane_traceparent(value: &HeaderValue) -> Option<&str> {
    let text = value.to_str().ok()?;
    let parts: Vec<&str> = text.split('-').collect();
    let hex = |part: &str, length: usize| {
        part.len() == length
            && part
                .bytes()
                .all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
    };
    let some = |part: &str| part.bytes().any(|byte| byte != b'0');
    match parts.as_slice() {
        ["00", trace, span, flags]
            if hex(trace, 32) && hex(span, 16) && hex(flags, 2) && some(trace) && some(span) =>
        {
            Some(text)
        }
        _ => None,
    }
}

/// Gives the request its id, logs and counts it once it is answered, and completes problems.
pub(crate) async fn around(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let started = Instant::now();
    let id = request
        .headers()
        .get(&X_REQUEST_ID)
        .and_then(sane_id)
        .map_or_else(|| Uuid::new_v4().to_string(), str::to_owned);
    let traceparent = request
        .headers()
        .get(&TRACEPARENT)
        .and_then(sane_traceparent)
        .map(str::to_owned);
    let method = request.method().clone();
    let is_openai = openai::is_path(request.uri().path());
    let client_retry = request
        .headers()
        .get(&RETRY_COUNT)
        .and_then(|value| value.to_str().ok()?.parse::<u32>().ok());
    let route = request.extensions().get::<MatchedPath>().cloned();
    let route = route.as_ref().map(MatchedPath::as_str);
    // The route's template keeps ids out of the line; the whole path is logged only where nothing matched.
    let path = route.unwrap_or(request.uri().path()).to_owned();
    let client = Client::of(
        request.extensions(),
        request.headers(),
        &app.config.trusted_proxies,
    );
    let ip = client.and_then(|client| client.shown(app.config.log_ip));
    if let Some(client) = client {
        if client.is_unknown_proxy(request.headers(), &app.config.trusted_proxies) {
            app.unknown_proxy.call_once(|| {
                tracing::warn!(
                    "requests come through a proxy that is not in TRUSTED_PROXIES, so all clients look like one"
                );
            });
        }
        request.extensions_mut().insert(client);
    }
    let repeatable = Repeatable::of(&request);
    let trace = Trace::begin(
        "http.server",
        &format!("{method} {}", route.unwrap_or(UNMATCHED)),
        route.is_some_and(|route| !NOT_TRACED.iter().any(|known| route.starts_with(known))),
        traceparent.as_deref(),
        &[("requestId", &id)],
    );
    request.extensions_mut().insert(RequestId {
        id: id.clone(),
        traceparent,
        repeatable,
    });

    let span = tracing::info_span!("request", requestId = %id, userId = tracing::field::Empty);
    let work = next.run(request).instrument(span.clone());
    let mut response = trace.cover(work).await;
    if let Some(mut problem) = response.extensions_mut().remove::<Problem>() {
        problem.request_id = Some(id.clone());
        let mut kept = std::mem::take(response.headers_mut());
        response = if is_openai {
            openai::refuse(&problem)
        } else {
            problem.into_response()
        };
        if let Some(allow) = kept.remove(header::ALLOW) {
            response.headers_mut().insert(header::ALLOW, allow);
        }
    }
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(X_REQUEST_ID, value);
    }
    let (duration, status) = (started.elapsed(), response.status());
    if is_openai {
        let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        response.headers_mut().insert(PROCESSING, millis.into());
    }
    trace.end(ended(status), Some(status.as_u16()));
    app.metrics
        .answered(&method, route.unwrap_or(UNMATCHED), status, duration);
    span.in_scope(|| {
        let duration_ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let status = status.as_u16();
        tracing::info!(
            %method, path, status, durationMs = duration_ms, ip, clientRetry = client_retry, "{method} {path} {status}"
        );
    });
    response
}

fn ended(status: StatusCode) -> Ended {
    if status.is_server_error() {
        Ended::Failed
    } else if status.is_client_error() {
        Ended::Refused
    } else {
        Ended::Ok
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_sane_ids_are_kept() {
        assert_eq!(
            sane_id(&HeaderValue::from_static("req-1.a_b:c")),
            Some("req-1.a_b:c")
        );
        for bad in ["", "a b", "a\tb", "<script>"] {
            assert_eq!(
                sane_id(&HeaderValue::from_str(bad).unwrap()),
                None,
                "{bad:?}"
            );
        }
        assert_eq!(
            sane_id(&HeaderValue::from_str(&"a".repeat(129)).unwrap()),
            None
        );
    }

    #[test]
    fn only_whole_traceparents_are_kept() {
        let good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        assert_eq!(
            sane_traceparent(&HeaderValue::from_static(good)),
            Some(good)
        );
        for bad in [
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-short-b7ad6b7169203331-01",
        ] {
            assert_eq!(
                sane_traceparent(&HeaderValue::from_static(bad)),
                None,
                "{bad}"
            );
        }
    }
}
