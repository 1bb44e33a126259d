//! Messages of a conversation: writing, reading, editing and deleting them.
//!
//! They are a tree. A message follows its parent; an edited one becomes a sibling of the old one; the conversation
//! shows the branch that ends with its current message.

mod content;
pub(crate) mod dto;
mod routes;
pub(crate) mod send_message;

use axum::extract::DefaultBodyLimit;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{app::App, extract::BodyLimit};

/// The largest text of a message takes three times its size where a client escapes all of it.
const BODY_LIMIT_BYTES: usize = 3 * content::TEXT_MAX_BYTES + 64 * 1024;

/// The feature's routes.
pub(crate) fn router() -> OpenApiRouter<App> {
    let writes = OpenApiRouter::new()
        .routes(routes!(routes::create_message, routes::list_messages))
        .routes(routes!(routes::edit_message))
        .layer(DefaultBodyLimit::max(BODY_LIMIT_BYTES))
        .layer(axum::Extension(BodyLimit(BODY_LIMIT_BYTES)));
    OpenApiRouter::new()
        .merge(writes)
        .routes(routes!(routes::get_message, routes::delete_message))
        .routes(routes!(routes::list_siblings))
        .routes(routes!(routes::rate_message, routes::clear_rating))
}
