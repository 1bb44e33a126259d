//! API keys: credentials that programs use for a user, with only some of the user's rights.

mod dto;
mod routes;

use utoipa_axum::{router::OpenApiRouter, routes};

use crate::app::App;

/// The feature's routes.
pub(crate) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(routes::create_api_key, routes::list_api_keys))
        .routes(routes!(routes::delete_api_key))
}
