//! `/live`, `/ready` and `/metrics` of the worker, on a port of their own.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
    routing::get,
};
use secrecy::SecretString;
use shared::metrics::{CONTENT_TYPE, may_read};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::runner::Engine;

/// An engine that has not seen Postgres for this long cannot do its work.
const LONGEST_SILENCE: Duration = Duration::from_secs(30);

/// Serves until `stop`. Where there is a token, the metrics need it.
pub(crate) async fn serve(
    listener: TcpListener,
    engine: Arc<Engine>,
    token: Option<SecretString>,
    stop: CancellationToken,
) {
    let metrics = move |State(engine): State<Arc<Engine>>, headers: HeaderMap| async move {
        let authorization = headers
            .get(header::AUTHORIZATION)
            .map(HeaderValue::as_bytes);
        metrics(&engine, token.as_ref(), authorization).await
    };
    let router = Router::new()
        .route("/live", get(live))
        .route("/ready", get(ready))
        .route("/metrics", get(metrics))
        .with_state(engine);
    if let Err(error) = axum::serve(listener, router)
        .with_graceful_shutdown(stop.cancelled_owned())
        .await
    {
        tracing::error!(error = %error, "the health port failed");
    }
}

async fn live() -> &'static str {
    "live\n"
}

async fn metrics(
    engine: &Engine,
    token: Option<&SecretString>,
    authorization: Option<&[u8]>,
) -> Response {
    if !may_read(token, authorization) {
        let challenge = [(header::WWW_AUTHENTICATE, "Bearer")];
        return (
            StatusCode::UNAUTHORIZED,
            challenge,
            "the metrics are read with METRICS_TOKEN as bearer token\n",
        )
            .into_response();
    }
    let page = engine.metrics().await;
    ([(header::CONTENT_TYPE, CONTENT_TYPE)], page).into_response()
}

async fn ready(State(engine): State<Arc<Engine>>) -> (StatusCode, String) {
    match engine.since_last_tick() {
        Some(silence) if silence < LONGEST_SILENCE => (StatusCode::OK, "ready\n".to_owned()),
        Some(silence) => (
            StatusCode::SERVICE_UNAVAILABLE,
            format!("the last engine tick was {} s ago\n", silence.as_secs()),
        ),
        None => (
            StatusCode::SERVICE_UNAVAILABLE,
            "there was no engine tick yet\n".to_owned(),
        ),
    }
}
