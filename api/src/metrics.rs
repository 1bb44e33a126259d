//! Metrics for Prometheus: requests, and what all programs tell.

use std::time::Duration;

use axum::{
    extract::State,
    http::{HeaderMap, Method, StatusCode, header},
    response::{IntoResponse, Response},
};
use prometheus::{HistogramVec, IntCounterVec};
use shared::metrics::{CONTENT_TYPE, Exposition, may_read};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    app::App,
    error::{Error, Problems, Result},
};

/// Label of requests that no route matches: their paths are without number.
pub(crate) const UNMATCHED: &str = "unmatched";
/// Upper bounds in seconds; the last one is the limit on a request's time.
const BUCKETS: [f64; 13] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 25.0,
];

/// The feature's routes.
pub(crate) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(get_metrics))
}

/// What the API counts.
pub(crate) struct Metrics {
    exposition: Exposition,
    requests: IntCounterVec,
    durations: HistogramVec,
}

impl Default for Metrics {
    fn default() -> Self {
        let exposition = Exposition::default();
        Self {
            requests: exposition.counters(
                "http_requests_total",
                "Requests answered, by method, template of the route, and status.",
                &["method", "route", "status"],
            ),
            durations: exposition.histograms(
                "http_request_duration_seconds",
                "Time to the head of the answer, by method and template of the route.",
                &["method", "route"],
                &BUCKETS,
            ),
            exposition,
        }
    }
}

impl Metrics {
    /// Counts an answer. `route` is a template, or [`UNMATCHED`].
    pub(crate) fn answered(
        &self,
        method: &Method,
        route: &str,
        status: StatusCode,
        duration: Duration,
    ) {
        let method = known(method);
        self.requests
            .with_label_values(&[method, route, status.as_str()])
            .inc();
        self.durations
            .with_label_values(&[method, route])
            .observe(duration.as_secs_f64());
    }
}

/// A client may invent methods; there must not be a time series for each.
fn known(method: &Method) -> &str {
    match *method {
        Method::GET
        | Method::POST
        | Method::PUT
        | Method::PATCH
        | Method::DELETE
        | Method::HEAD
        | Method::OPTIONS => method.as_str(),
        _ => "other",
    }
}

/// Serves metrics in the text format of Prometheus. If `METRICS_TOKEN` is set, it is required as the bearer token.
#[utoipa::path(
    get, path = "/api/metrics", tag = "health",
    responses(
        (
            status = 200, description = "The metrics", body = String, content_type = "text/plain",
            example = json!("# TYPE http_requests_total counter\nhttp_requests_total{method=\"GET\",route=\"/api/v1/jobs\",status=\"200\"} 3\n"),
        ),
        Problems,
    ),
    security(()),
)]
async fn get_metrics(State(app): State<App>, headers: HeaderMap) -> Result<Response> {
    let authorization = headers
        .get(header::AUTHORIZATION)
        .map(header::HeaderValue::as_bytes);
    if !may_read(app.config.common.metrics_token.as_ref(), authorization) {
        return Err(Error::Unauthenticated(
            "the metrics are read with METRICS_TOKEN as bearer token",
        ));
    }
    let page = app.metrics.exposition.render(&app.db).await;
    Ok(([(header::CONTENT_TYPE, CONTENT_TYPE)], page).into_response())
}
