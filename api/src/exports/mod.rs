//! Exports: files made of conversations, in the background.
//!
//! They are kept for a week, and are at a signed URL meanwhile. They go with their conversation.

mod content;
mod create_export;
mod dto;
mod routes;

use utoipa_axum::{router::OpenApiRouter, routes};

use crate::app::App;

/// The feature's routes.
pub(crate) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(routes::create_export))
        .routes(routes!(routes::list_exports))
        .routes(routes!(routes::get_export, routes::delete_export))
        .routes(routes!(content::get_export_content))
}
