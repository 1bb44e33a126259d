//! How the service is.

mod providers;

use axum::{extract::State, http::StatusCode};
use chrono::{DateTime, Utc};
use serde::Serialize;
use shared::{clients::storage, database, models::storage_view};
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{app::App, extract::Json};

/// Longest wait for a sign of life.
const LIMIT: Duration = Duration::from_secs(2);
/// What to do when workers see other files.
const OTHER_STORAGE: &str = "a worker sees another storage than the API: STORAGE_URL must name one bucket, or a folder that all programs share";

/// The feature's routes.
pub(crate) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(get_health))
        .routes(routes!(get_live))
        .routes(routes!(get_ready))
}

/// Starts what looks now and then.
pub(crate) fn start(app: &App) {
    providers::start(app);
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum HealthStatus {
    Healthy,
    Degraded,
    Unhealthy,
}

/// How the service is.
#[derive(Debug, Serialize, ToSchema)]
struct Health {
    /// `unhealthy` without Postgres, `degraded` without Redis or with a failing storage or provider.
    status: HealthStatus,
    timestamp: DateTime<Utc>,
    /// Seconds since the start.
    #[schema(example = 86400)]
    uptime: u64,
    #[schema(example = "0.1.0")]
    version: &'static str,
    services: Services,
}

#[derive(Debug, Serialize, ToSchema)]
struct Services {
    database: Service,
    redis: Service,
    storage: Service,
    /// Each provider of models that has keys, by its name.
    #[serde(flatten)]
    providers: BTreeMap<String, Service>,
}

#[derive(Debug, Serialize, ToSchema)]
struct Service {
    status: HealthStatus,
    /// Milliseconds until it answered, or until the check gave up.
    #[schema(example = 1)]
    latency: u64,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<&'static str>,
}

async fn probe<E>(probe: impl Future<Output = Result<(), E>>) -> Service {
    let started = Instant::now();
    let is_well = matches!(tokio::time::timeout(LIMIT, probe).await, Ok(Ok(())));
    let latency = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    Service {
        status: if is_well {
            HealthStatus::Healthy
        } else {
            HealthStatus::Unhealthy
        },
        latency,
        hint: None,
    }
}

/// The store, and whether workers see the same one.
async fn probe_storage(app: &App) -> Service {
    let mut is_another_seen = false;
    let mut service = probe(async {
        let identity = app.storage.identity().await?;
        // Postgres is looked at by itself.
        is_another_seen = storage_view::is_another_seen(&app.db, &identity)
            .await
            .unwrap_or(false);
        Ok::<_, storage::Error>(())
    })
    .await;
    if is_another_seen {
        service.status = HealthStatus::Degraded;
        service.hint = Some(OTHER_STORAGE);
    }
    service
}

/// Reports the health of the service and of what it depends on; 503 when it cannot serve.
#[utoipa::path(
    get, path = "/api/health", tag = "health",
    responses(
        (status = 200, description = "Healthy or degraded", body = Health),
        (status = 503, description = "Unhealthy", body = Health),
    ),
    security(()),
)]
async fn get_health(State(app): State<App>) -> (StatusCode, Json<Health>) {
    let (database, redis, storage, providers) = tokio::join!(
        probe(database::ping(&app.db)),
        probe(app.redis.ping()),
        probe_storage(&app),
        providers::services(&app),
    );
    let mut services = providers.values();
    let has_trouble = services.any(|service| service.status != HealthStatus::Healthy);
    let redis_is_down = redis.status != HealthStatus::Healthy;
    let is_degraded = redis_is_down || has_trouble || storage.status != HealthStatus::Healthy;
    let is_down = database.status != HealthStatus::Healthy
        || (redis_is_down && app.config.health_redis_required);
    let status = match (is_down, is_degraded) {
        (true, _) => HealthStatus::Unhealthy,
        (false, true) => HealthStatus::Degraded,
        (false, false) => HealthStatus::Healthy,
    };
    let health = Health {
        status,
        timestamp: app.clock.now(),
        uptime: app.uptime().as_secs(),
        version: env!("CARGO_PKG_VERSION"),
        services: Services {
            database,
            redis,
            storage,
            providers,
        },
    };
    let code = if is_down {
        StatusCode::SERVICE_UNAVAILABLE
    } else {
        StatusCode::OK
    };
    (code, Json(health))
}

/// Tells whether the process is running; nothing else is checked.
#[utoipa::path(
    get, path = "/api/health/live", tag = "health",
    responses((status = 200, description = "The process is running", body = String, example = json!("live\n"))),
    security(()),
)]
async fn get_live() -> &'static str {
    "live\n"
}

/// Tells whether to send requests to this instance: Postgres answers, and no shutdown has begun.
#[utoipa::path(
    get, path = "/api/health/ready", tag = "health",
    responses(
        (status = 200, description = "Ready", body = String, example = json!("ready\n")),
        (status = 503, description = "Not ready", body = String, example = json!("shutting down\n")),
    ),
    security(()),
)]
async fn get_ready(State(app): State<App>) -> (StatusCode, &'static str) {
    if app.stop.is_cancelled() {
        return (StatusCode::SERVICE_UNAVAILABLE, "shutting down\n");
    }
    match probe(database::ping(&app.db)).await.status {
        HealthStatus::Healthy => (StatusCode::OK, "ready\n"),
        _ => (StatusCode::SERVICE_UNAVAILABLE, "postgres is away\n"),
    }
}

#[cfg(test)]
mod tests {
    use shared::catalogue::OTHER_SERVICES;

    use super::*;

    #[test]
    fn no_provider_can_hide_another_service() {
        let service = || Service {
            status: HealthStatus::Healthy,
            latency: 0,
            hint: None,
        };
        let services = Services {
            database: service(),
            redis: service(),
            storage: service(),
            providers: BTreeMap::new(),
        };
        let shown = serde_json::to_value(services).unwrap();
        let names: Vec<&String> = shown.as_object().unwrap().keys().collect();
        assert_eq!(names, OTHER_SERVICES);
    }
}
