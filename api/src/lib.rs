//! The API.

mod accounts;
mod answer;
mod api_keys;
mod app;
mod attachments;
mod authentication;
mod caller;
mod client;
pub mod config;
mod conversations;
mod deliveries;
mod denied;
mod downloads;
mod error;
mod exports;
mod extract;
mod given;
mod health;
mod idempotency;
mod jobs;
mod limits;
mod messages;
mod metrics;
mod middleware;
mod notifications;
mod openapi;
mod page;
mod preconditions;
mod projects;
mod router;
mod search;
mod text;
mod variants;
mod webhooks;
mod write;

use std::{net::SocketAddr, time::Duration};

use axum::Router;
use shared::{clock::Clock, telemetry::log_feature};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub use self::{accounts::commands::manage_users, router::document};
use crate::{
    app::App,
    config::{ApiConfig, Registration},
};

/// How long requests may go on after a shutdown began; platforms kill after 30 s.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(20);
/// After that, for what tidies up.
const LAST_TASKS: Duration = Duration::from_secs(2);

/// How a shutdown went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drained {
    /// All requests were answered.
    Whole,
    /// Some were cut.
    Forced,
}

/// Serves until `stop`, and then ends in order: it is not ready any more, takes no new requests some seconds later, and
/// ends with the last answer.
///
/// # Errors
/// When something cannot be set up.
pub async fn serve(
    config: ApiConfig,
    clock: Clock,
    listener: TcpListener,
    stop: CancellationToken,
) -> anyhow::Result<Drained> {
    log_feature(
        "private addresses for webhooks",
        !config.common.outbound_allow.is_empty(),
        "OUTBOUND_ALLOW",
    );
    log_feature(
        "error reports to Sentry",
        config.common.telemetry.sentry.is_some(),
        "SENTRY_DSN",
    );
    log_feature(
        "the bearer token of /api/metrics",
        config.common.metrics_token.is_some(),
        "METRICS_TOKEN",
    );
    log_feature(
        "registration",
        config.registration == Registration::Open,
        "REGISTRATION",
    );
    log_feature(
        "the limit of tries to log in",
        config.rate_limit_auth.is_some(),
        "RATE_LIMIT_AUTH",
    );
    log_feature(
        "use by pages of other origins",
        !config.cors_origins.is_empty(),
        "CORS_ORIGINS",
    );
    log_feature(
        "trust in proxies",
        !config.trusted_proxies.is_empty(),
        "TRUSTED_PROXIES",
    );
    // Routers go on sending requests here until they have seen that we are not ready.
    let delay = config.shutdown_delay;
    let closing = CancellationToken::new();
    let app = App::new(config, clock, stop.clone(), closing.clone())?;
    let close = {
        let stop = stop.clone();
        async move {
            stop.cancelled().await;
            tokio::time::sleep(delay).await;
            closing.cancel();
        }
    };
    tracing::info!("listening on {}", listener.local_addr()?);
    let router: Router = router::router(app.clone());
    let serving = axum::serve(
        listener,
        router.into_make_service_with_connect_info::<SocketAddr>(),
    )
    .with_graceful_shutdown(close);
    let late = async {
        stop.cancelled().await;
        tokio::time::sleep(SHUTDOWN_GRACE).await;
    };
    let drained = tokio::select! {
        served = serving => served.map(|()| Drained::Whole)?,
        () = late => Drained::Forced,
    };
    app.tasks.close();
    let _ = tokio::time::timeout(LAST_TASKS, app.tasks.wait()).await;
    app.redis.quit().await;
    Ok(drained)
}
