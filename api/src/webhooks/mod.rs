//! Endpoints of clients' servers, to which events are posted.

mod dto;
mod fields;
mod health;
mod recoveries;
mod routes;
mod secrets;

use utoipa_axum::{router::OpenApiRouter, routes};

pub(crate) use self::fields::unknown_event;
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
        .routes(routes!(secrets::rotate_webhook_secret))
        .routes(routes!(secrets::list_webhook_secrets))
        .routes(routes!(health::get_webhook_health))
        .routes(routes!(recoveries::recover_webhook))
        .routes(routes!(recoveries::list_webhook_recoveries))
        .routes(routes!(recoveries::get_webhook_recovery))
}
