//! What a user's answers took: tokens and money, by the ledger.

mod dto;
mod routes;

use utoipa_axum::{router::OpenApiRouter, routes};

use crate::app::App;

/// The feature's routes.
pub(crate) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(routes::get_usage))
        .routes(routes!(routes::get_conversation_usage))
}
