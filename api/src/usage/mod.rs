//! What a user's answers took: tokens and money, by the ledger, and what of it a month allows.

mod admit;
mod dto;
mod routes;

use utoipa_axum::{router::OpenApiRouter, routes};

pub(crate) use self::{admit::admit, dto::MonthlyLimit};
use crate::app::App;

/// The feature's routes.
pub(crate) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(routes::get_usage))
        .routes(routes!(routes::list_usage_limits))
        .routes(routes!(routes::get_conversation_usage))
}
