//! Accounts: making one, logging in, and looking at one's own.
//!
//! Passwords are kept as Argon2id only; tokens as SHA-256 only.

mod dto;
mod passwords;
mod routes;

use utoipa_axum::{router::OpenApiRouter, routes};

use crate::app::App;

/// The feature's routes.
pub(crate) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(routes::register))
        .routes(routes!(routes::login))
        .routes(routes!(routes::get_me))
}
