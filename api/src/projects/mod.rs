//! Projects: folders of conversations, with instructions for the models that answer there.

mod dto;
mod routes;

use utoipa_axum::{router::OpenApiRouter, routes};

use crate::app::App;

/// The feature's routes.
pub(crate) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(routes::create_project, routes::list_projects))
        .routes(routes!(
            routes::get_project,
            routes::update_project,
            routes::delete_project
        ))
}
