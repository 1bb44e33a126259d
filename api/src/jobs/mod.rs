//! Jobs of the caller: looking at them, watching, cancelling, trying again.

pub(crate) mod dto;
mod routes;
pub(crate) mod watch;

use utoipa_axum::{router::OpenApiRouter, routes};

use crate::app::App;

/// The feature's routes.
pub(crate) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(routes::list_jobs))
        .routes(routes!(routes::get_job))
        .routes(routes!(routes::watch_job))
        .routes(routes!(routes::cancel_job))
        .routes(routes!(routes::retry_job))
}
