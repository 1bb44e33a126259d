//! What administrators see and do: providers and their keys.

mod dto;
mod routes;

use utoipa_axum::{router::OpenApiRouter, routes};

use crate::app::App;

/// The feature's routes.
pub(crate) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(routes::list_providers))
        .routes(routes!(routes::revive_provider))
        .routes(routes!(
            routes::set_provider_keys,
            routes::reset_provider_keys
        ))
}
