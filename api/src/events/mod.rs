//! What has happened, and what may: the events themselves, and the kinds of which they are.

mod dto;
mod routes;

use utoipa_axum::{router::OpenApiRouter, routes};

use crate::app::App;

/// The feature's routes.
pub(crate) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(routes::list_events))
        .routes(routes!(routes::get_event))
        .routes(routes!(routes::list_event_types))
        .routes(routes!(routes::get_event_type))
}
