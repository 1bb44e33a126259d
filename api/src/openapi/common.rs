//! Problems and headers, described once and referred to.
//!
//! What an operation has of them follows from what it says: a private change may carry an `Idempotency-Key`, a thing
//! with a `version` has an `ETag`, and changing that thing honours `If-Match`. `tests/it/matrix.rs` asks whether it is so.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{
    operations,
    problems::{self, PROBLEMS},
    resolve,
};
use crate::{idempotency, openai};

const CHANGES: [&str; 4] = ["delete", "patch", "post", "put"];

/// Completes every operation.
pub(super) fn describe(document: &mut Value) {
    let schemas = document["components"]["schemas"].clone();
    let versioned: BTreeMap<String, Value> = operations(document)
        .filter(|(_, method, _)| *method == "get")
        .filter_map(|(path, _, operation)| {
            let schema = success(operation)?;
            has_version(schema, &schemas).then(|| (path.to_owned(), schema.clone()))
        })
        .collect();
    for (path, method, operation) in operations(document) {
        let is_change = CHANGES.contains(&method);
        // What `OpenAI`'s clients ask for is kept nowhere.
        let is_kept = !path.starts_with(idempotency::EXCLUDED) && !openai::is_path(path);
        let is_repeatable = is_change && is_private(operation) && is_kept;
        if is_repeatable {
            add_parameter(operation, "IdempotencyKey");
        }
        if is_change && changes_version(path, method, operation, &versioned) {
            add_parameter(operation, "IfMatch");
        }
        if method == "get" && versioned.contains_key(path) {
            add_parameter(operation, "IfNoneMatch");
            operation["responses"]["304"] = json!({
                "description": "The client has the present version",
                "headers": { "ETag": reference("headers", "ETag") },
            });
        }
        let has_version = success(operation).is_some_and(|schema| has_version(schema, &schemas));
        describe_responses(operation, has_version, is_repeatable);
    }
    let components = &mut document["components"];
    components["headers"] = headers();
    components["parameters"] = parameters();
    components["responses"] = problem_responses();
}

/// The schema of the body of success, if that is JSON.
fn success(operation: &Value) -> Option<&Value> {
    let responses = operation["responses"].as_object()?;
    let (_, response) = responses
        .iter()
        .find(|(status, _)| status.starts_with('2'))?;
    response
        .get("content")?
        .get("application/json")?
        .get("schema")
}

fn has_version(schema: &Value, schemas: &Value) -> bool {
    let schema = resolve(schema, schemas);
    let parts = schema["allOf"].as_array().into_iter().flatten();
    schema["properties"]["version"]["type"] == "integer"
        || parts.into_iter().any(|part| has_version(part, schemas))
}

fn is_private(operation: &Value) -> bool {
    let mut ways = operation["security"].as_array().into_iter().flatten();
    ways.any(|way| way["bearer"].is_array())
}

/// Whether it changes the thing that its own path names, or acts on the one above and answers with it.
fn changes_version(
    path: &str,
    method: &str,
    operation: &Value,
    versioned: &BTreeMap<String, Value>,
) -> bool {
    let above = path.rsplit_once('/').map_or("", |(above, _)| above);
    (method != "post" && versioned.contains_key(path))
        || versioned
            .get(above)
            .is_some_and(|thing| success(operation) == Some(thing))
}

fn reference(kind: &str, name: &str) -> Value {
    json!({ "$ref": format!("#/components/{kind}/{name}") })
}

fn add_parameter(operation: &mut Value, name: &str) {
    let parameter = reference("parameters", name);
    match operation["parameters"].as_array_mut() {
        Some(parameters) => parameters.push(parameter),
        None => operation["parameters"] = json!([parameter]),
    }
}

fn describe_responses(operation: &mut Value, has_version: bool, is_repeatable: bool) {
    let Some(responses) = operation["responses"].as_object_mut() else {
        return;
    };
    for (status, response) in responses.iter_mut() {
        if response.get("$ref").is_some() {
            continue;
        }
        let is_success = status.starts_with('2');
        let mut names = vec![("X-Request-Id", "XRequestId")];
        if has_version && is_success {
            names.push(("ETag", "ETag"));
        }
        if is_repeatable && is_success {
            names.push(("Idempotent-Replayed", "IdempotentReplayed"));
        }
        for (name, component) in names {
            response["headers"][name] = reference("headers", component);
        }
    }
    // Whatever an operation does, it may break.
    responses
        .entry("500")
        .or_insert_with(|| reference("responses", "Problem500"));
}

fn headers() -> Value {
    json!({
        "XRequestId": {
            "description": "The id of the request: the client's own if it sent a valid one. Quote it when you report a problem.",
            "required": true,
            "schema": { "type": "string", "maxLength": 128 },
            "example": "3f1c9a52-8f0e-4b7e-9a39-0d6a5f1f2b10",
        },
        "ETag": {
            "description": "The version of the resource, in quotes.",
            "required": true,
            "schema": { "type": "string" },
            "example": "\"3\"",
        },
        "IdempotentReplayed": {
            "description": "`true` if this is the answer to an earlier request with the same `Idempotency-Key`.",
            "schema": { "type": "string", "const": "true" },
        },
        "RetryAfter": {
            "description": "Seconds after which the request may be tried again.",
            "required": true,
            "schema": { "type": "integer", "minimum": 0 },
            "example": 2,
        },
        "WwwAuthenticate": {
            "description": "How to authenticate (RFC 9110 §11.6.1).",
            "required": true,
            "schema": { "type": "string" },
            "example": "Bearer",
        },
    })
}

fn parameters() -> Value {
    json!({
        "IdempotencyKey": {
            "name": "Idempotency-Key",
            "in": "header",
            "description": "Makes the request safe to send again: under one key it is carried out once, and for 24 h \
                it gets the same answer. The same key with another body is a 422.",
            "schema": { "type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$" },
        },
        "IfMatch": {
            "name": "If-Match",
            "in": "header",
            "description": "`ETag` of the version to be changed; if that is not the present one, the answer is a 412.",
            "schema": { "type": "string" },
        },
        "IfNoneMatch": {
            "name": "If-None-Match",
            "in": "header",
            "description": "`ETag` of the version that the client has; if it is the present one, the answer is a 304.",
            "schema": { "type": "string" },
        },
    })
}

fn problem_responses() -> Value {
    let of = |&(status, description): &(&str, &str)| {
        let mut headers = Map::new();
        headers.insert(
            "X-Request-Id".to_owned(),
            reference("headers", "XRequestId"),
        );
        if matches!(status, "429" | "503") {
            headers.insert("Retry-After".to_owned(), reference("headers", "RetryAfter"));
        }
        if status == "401" {
            let header = reference("headers", "WwwAuthenticate");
            headers.insert("WWW-Authenticate".to_owned(), header);
        }
        let response = json!({
            "description": description,
            "headers": headers,
            "content": { "application/problem+json": {
                "schema": reference("schemas", "Problem"),
                "example": problems::example(status),
            } },
        });
        (format!("Problem{status}"), response)
    };
    Value::Object(PROBLEMS.iter().map(of).collect())
}
