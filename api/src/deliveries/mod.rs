//! What was sent to an endpoint, every try, and sending it again.

mod dto;
mod resend;
mod routes;

use utoipa_axum::{router::OpenApiRouter, routes};

use crate::app::App;

/// The feature's routes.
pub(crate) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(routes::list_deliveries))
        .routes(routes!(routes::get_delivery))
        .routes(routes!(routes::list_delivery_attempts))
        .routes(routes!(routes::resend_delivery))
}
