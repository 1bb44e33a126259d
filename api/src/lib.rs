//! The API.

mod accounts;
mod admin;
mod answer;
mod api_keys;
mod app;
mod attachments;
mod authentication;
mod caller;
mod chat;
mod client;
pub mod config;
mod conversations;
mod deliveries;
mod denied;
mod downloads;
mod error;
mod events;
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
mod models;
mod moment;
mod notifications;
mod openai;
mod openapi;
mod page;
mod preconditions;
mod projects;
mod router;
mod search;
mod text;
mod tokens;
mod tools;
mod usage;
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
const SHUTDOWN_GRACE: Duration = Duration::from_secs(22);
/// How long answers of models may go on: then they are interrupted, and their texts stored.
const ANSWERS_GRACE: Duration = Duration::from_secs(20);
/// After that, for what tidies up.
const LAST_TASKS: Duration = Duration::from_secs(1);

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
    for provider in &config.common.ai.catalogue.providers {
        let known = config.common.ai.provider(&provider.name);
        log_feature(
            &format!("answers by {}", provider.name),
            known.is_some(),
            &provider.variable("API_KEYS"),
        );
    }
    let tools = &config.tools;
    // Google is asked where there is a key for it, else Nominatim.
    let (places, places_variable) = match &tools.google_places {
        Some(_) => (true, "GOOGLE_PLACES_API_KEY"),
        None => (tools.nominatim.is_some(), "NOMINATIM_BASE_URL"),
    };
    for (feature, is_on, variable) in [
        (
            "the tool weather",
            tools.weather.is_some(),
            "OPENWEATHER_API_KEY",
        ),
        (
            "the tool currency",
            tools.currency.is_some(),
            "EXCHANGE_RATE_API_KEY",
        ),
        ("the tool news", tools.news.is_some(), "NEWS_API_KEY"),
        (
            "the tool web_search",
            tools.web_search.is_some(),
            "TAVILY_API_KEY",
        ),
        ("the tool places", places, places_variable),
        ("tools of MCP servers", !tools.mcp.is_empty(), "MCP_SERVERS"),
        ("naming conversations", config.chat.auto_title, "AUTO_TITLE"),
        (
            "summarising conversations",
            config.chat.auto_summary,
            "AUTO_SUMMARY",
        ),
    ] {
        log_feature(feature, is_on, variable);
    }
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
    let ended = CancellationToken::new();
    chat::start(&app, &ended)?;
    health::start(&app);
    let (db, clock) = (app.db.clone(), app.clock.clone());
    let learning = app.tokens.clone().follow(db, clock, ended.clone());
    app.tasks.spawn(learning);
    let interrupted = {
        let (app, stop) = (app.clone(), stop.clone());
        async move {
            stop.cancelled().await;
            tokio::time::sleep(ANSWERS_GRACE).await;
            app.chat.interrupt()
        }
    };
    let interrupted = app
        .tasks
        .spawn(ended.clone().run_until_cancelled_owned(interrupted));
    // Requests may name tools of servers, and each may come here first.
    tokio::join!(app.providers.ready(), app.tools.ready());
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
    let work = async {
        serving.await?;
        // Answers that nobody listens to any more.
        app.chat.wait().await;
        anyhow::Ok(Drained::Whole)
    };
    let mut drained = tokio::select! {
        worked = work => worked?,
        () = late => Drained::Forced,
    };
    if interrupted.is_finished() && matches!(interrupted.await, Ok(Some(true))) {
        drained = Drained::Forced;
        let _ = tokio::time::timeout(LAST_TASKS, app.chat.wait()).await;
    }
    ended.cancel();
    app.tasks.close();
    let _ = tokio::time::timeout(LAST_TASKS, app.tasks.wait()).await;
    app.redis.quit().await;
    Ok(drained)
}
