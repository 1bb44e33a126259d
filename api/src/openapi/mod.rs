//! The OpenAPI document: what the operations say of themselves, and what all of them have in common.

mod bodies;
mod common;
mod examples;

use serde_json::Value;
use utoipa::{
    Modify, OpenApi,
    openapi::{
        Server,
        security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
    },
};

use crate::error::{FieldProblem, Problem};

/// What every operation shares.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "BaatCheet",
        description = "A self-hosted backend for AI chat apps.\n\n\
            Errors are `application/problem+json` (RFC 9457); `code` tells programs which. Every answer has an \
            `X-Request-Id`. A change may carry an `Idempotency-Key`, and then be sent again. A thing with a `version` \
            has it as `ETag`; `If-Match` changes only that version. Lists go on at `pagination.nextCursor`.",
        license(name = "MIT", identifier = "MIT"),
    ),
    components(schemas(Problem, FieldProblem)),
    modifiers(&Deployment),
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

struct Deployment;

impl Modify for Deployment {
    /// The same document for every deployment: paths are relative to where it was got.
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        document.servers = Some(vec![Server::new("/")]);
        let scheme = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some("The access token of a login, or an API key"))
            .build();
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("bearer", SecurityScheme::Http(scheme));
    }
}

/// Adds what follows from the operations: what bodies may hold, problems, headers and examples.
pub(crate) fn complete(document: &utoipa::openapi::OpenApi) -> Value {
    let mut document = serde_json::to_value(document).expect("the document is plain data");
    bodies::describe(&mut document);
    common::describe(&mut document);
    examples::give(&mut document);
    document
}

/// Every operation with its path and method.
fn operations(document: &mut Value) -> impl Iterator<Item = (&str, &str, &mut Value)> {
    let paths = document["paths"].as_object_mut().into_iter().flatten();
    paths.flat_map(|(path, item)| {
        let operations = item.as_object_mut().into_iter().flatten();
        operations.map(|(method, operation)| (path.as_str(), method.as_str(), operation))
    })
}

/// The schema itself, where there is only a reference to it.
fn resolve<'a>(schema: &'a Value, schemas: &'a Value) -> &'a Value {
    let name = schema["$ref"]
        .as_str()
        .and_then(|path| path.strip_prefix("#/components/schemas/"));
    name.map_or(schema, |name| &schemas[name])
}
