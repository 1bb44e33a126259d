//! What was sent to an endpoint, every try, sending it again, and sending a test.

mod attempts;
mod dto;
mod ping;
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
        .routes(routes!(routes::list_attempts))
        .routes(routes!(routes::ping_webhook))
}
