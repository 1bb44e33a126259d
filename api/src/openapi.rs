//! The OpenAPI document.

use utoipa::{
    Modify, OpenApi,
    openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
};

use crate::error::{FieldProblem, Problem};

/// What every operation shares.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "BaatCheet",
        description = "A self-hosted backend for AI chat apps. Errors are `application/problem+json` (RFC 9457).",
        license(name = "MIT", identifier = "MIT"),
    ),
    components(schemas(Problem, FieldProblem)),
    modifiers(&Bearer),
    tags(
        (name = "accounts", description = "Making an account, logging in and out, changing one's own"),
        (name = "api-keys", description = "Credentials of programs"),
        (name = "attachments", description = "Uploaded files, and what was read in them"),
        (name = "conversations", description = "Beginning, finding, filing and deleting conversations"),
        (name = "jobs", description = "Work in the background"),
        (name = "messages", description = "What is said in a conversation: a tree of messages"),
        (name = "notifications", description = "What a user is told inside the product"),
        (name = "projects", description = "Folders of conversations, with instructions of their own"),
        (name = "search", description = "Finding what was said"),
        (name = "webhooks", description = "Endpoints to which events are posted, and what came of it"),
        (name = "health", description = "How the service is"),
    ),
)]
pub(crate) struct Document;

struct Bearer;

impl Modify for Bearer {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let scheme = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some("The access token of a login, or an API key"))
            .build();
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("bearer", SecurityScheme::Http(scheme));
    }
}
