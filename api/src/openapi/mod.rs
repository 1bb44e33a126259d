//! The OpenAPI document: what the operations say of themselves, and what all of them have in common.

mod bodies;
mod common;
mod examples;
mod problems;

use serde_json::Value;
use utoipa::{
    Modify, OpenApi,
    openapi::{
        Server,
        security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
    },
};

pub(crate) use self::problems::Problems;
use crate::{
    error::{FieldProblem, Problem},
    openai::{OpenAiError, OpenAiErrorBody},
};

/// What every operation shares.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "BaatCheet",
        description = "A self-hosted backend for AI chat apps.\n\n\
            Errors are `application/problem+json` (RFC 9457); programs tell them apart by `code`. Every answer has an \
            `X-Request-Id`. A change that carries an `Idempotency-Key` is safe to send again. A resource with a \
            `version` has it as its `ETag`; with `If-Match`, only that version is changed. To get the next page of a \
            list, send `pagination.nextCursor` as `cursor`.",
        license(name = "MIT", identifier = "MIT"),
    ),
    components(schemas(Problem, FieldProblem, OpenAiError, OpenAiErrorBody)),
    modifiers(&Deployment),
    tags(
        (name = "accounts", description = "Creating an account, logging in and out, and changing one's own account"),
        (name = "admin", description = "How the deployment is, for administrators"),
        (name = "api-keys", description = "Credentials of programs"),
        (name = "attachments", description = "Uploaded files, and the text read from them"),
        (name = "chat", description = "Answers of models: asked for, streamed, resumed, stopped"),
        (name = "conversations", description = "Creating, finding, filing and deleting conversations"),
        (name = "events", description = "What has happened, and the kinds of events that there are"),
        (name = "exports", description = "Files made of conversations"),
        (name = "jobs", description = "Work in the background"),
        (name = "messages", description = "The messages of a conversation, which form a tree"),
        (name = "models", description = "Models that can be asked, and what they cost"),
        (name = "notifications", description = "What users are told inside the product"),
        (name = "openai", description = "The same models for clients of OpenAI's API, in its words and with its errors"),
        (name = "projects", description = "Folders of conversations, with instructions of their own"),
        (name = "search", description = "Full-text search in conversations"),
        (name = "tools", description = "What models may call in an answer"),
        (name = "usage", description = "What answers took: tokens and money"),
        (name = "webhooks", description = "Endpoints to which events are posted, and the deliveries to them"),
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
            .description(Some("The access token of a session, or an API key"))
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
