//! Endpoints of clients' servers, to which events are posted.

mod dto;
mod routes;

use utoipa_axum::{router::OpenApiRouter, routes};

use crate::app::App;

/// The feature's routes.
pub(crate) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(routes::create_webhook, routes::list_webhooks))
        .routes(routes!(
            routes::get_webhook,
            routes::update_webhook,
            routes::delete_webhook
        ))
}
