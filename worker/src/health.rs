//! `/live` and `/ready` of the worker, on a port of their own.

use std::{sync::Arc, time::Duration};

use axum::{Router, extract::State, http::StatusCode, routing::get};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::runner::Engine;

/// An engine that has not seen Postgres for this long cannot do its work.
const LONGEST_SILENCE: Duration = Duration::from_secs(30);

/// Serves until `stop`.
pub(crate) async fn serve(listener: TcpListener, engine: Arc<Engine>, stop: CancellationToken) {
    let router = Router::new()
        .route("/live", get(live))
        .route("/ready", get(ready))
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
