//! Pictures made of uploaded ones: those that every picture has, and those that somebody asks for.
//!
//! A variant is a row of the request's transaction, and is made by a job. The same request is the same variant.

mod content;
pub(crate) mod dto;
mod recipe;
mod routes;

use utoipa_axum::{router::OpenApiRouter, routes};

use crate::app::App;

pub(crate) use self::content::show;

/// The feature's routes.
pub(crate) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(routes::create_variant, routes::list_variants))
        .routes(routes!(routes::get_variant, routes::delete_variant))
        .routes(routes!(content::get_variant_content))
}
