//! Accounts: making one, logging in and out, changing one's own, and deleting it.
//!
//! Passwords are kept as Argon2id only; tokens as SHA-256 only.

mod attempts;
pub(crate) mod commands;
mod device;
mod dto;
mod fields;
mod passwords;
mod prompt;
mod routes;
mod sessions;

use utoipa_axum::{router::OpenApiRouter, routes};

use crate::app::App;

/// The feature's routes.
pub(crate) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(routes::register))
        .routes(routes!(routes::login))
        .routes(routes!(sessions::refresh_session))
        .routes(routes!(sessions::logout))
        .routes(routes!(sessions::logout_everywhere))
        .routes(routes!(
            routes::get_me,
            routes::update_me,
            routes::delete_me
        ))
        .routes(routes!(routes::update_privacy))
        .routes(routes!(routes::change_password))
        .routes(routes!(sessions::list_sessions))
        .routes(routes!(sessions::delete_session))
}
