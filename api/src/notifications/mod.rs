//! What users are told inside the product: reading it, and getting rid of it.

mod dto;
mod routes;

use utoipa_axum::{router::OpenApiRouter, routes};

use crate::app::App;

/// The feature's routes.
pub(crate) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(routes::list_notifications))
        .routes(routes!(routes::count_unread_notifications))
        .routes(routes!(routes::read_notification))
        .routes(routes!(routes::read_all_notifications))
        .routes(routes!(routes::delete_notification))
}
