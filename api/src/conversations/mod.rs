//! Conversations: beginning, finding, filing and deleting them. What is said in them is in `messages`.
//!
//! An archived one is only read. A deleted one is gone for everybody at once; a job removes what is left of it.

mod dto;
mod routes;

use utoipa_axum::{router::OpenApiRouter, routes};

use crate::app::App;

/// The feature's routes.
pub(crate) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(
            routes::create_conversation,
            routes::list_conversations
        ))
        .routes(routes!(
            routes::get_conversation,
            routes::update_conversation,
            routes::delete_conversation
        ))
        .routes(routes!(routes::archive_conversation))
        .routes(routes!(routes::unarchive_conversation))
}
