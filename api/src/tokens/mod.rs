//! Counting tokens for whoever wants to know before asking.

mod dto;
mod routes;

use axum::extract::DefaultBodyLimit;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{app::App, extract::BodyLimit};

/// The largest text takes three times its size where a client escapes all of it.
const BODY_LIMIT_BYTES: usize = 3 * dto::TEXT_MAX_BYTES + 64 * 1024;

/// The feature's routes.
pub(crate) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(routes::count_tokens))
        .layer(DefaultBodyLimit::max(BODY_LIMIT_BYTES))
        .layer(axum::Extension(BodyLimit(BODY_LIMIT_BYTES)))
}
