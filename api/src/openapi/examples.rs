//! Examples of bodies, put together from those of their fields.

use serde_json::{Map, Value, json};

use super::{operations, problems, resolve};

/// Schemas within schemas are followed so far.
const DEPTH_MAX: u8 = 8;

/// Where a text has no example of its own; `tests/it/openapi.rs` refuses it.
const NOT_SAID: &str = "some text";

/// Whose body it is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Body {
    /// Shows what must be there, and what has an example of its own.
    Request,
    /// Shows everything.
    Answer,
}

/// Gives an example to every body that has none, and is not just bytes.
pub(super) fn give(document: &mut Value) {
    let schemas = document["components"]["schemas"].clone();
    for (_, _, operation) in operations(document) {
        if let Some(request) = operation.get_mut("requestBody") {
            give_all(request, Body::Request, &schemas);
        }
        let responses = operation["responses"].as_object_mut().into_iter().flatten();
        for (status, response) in responses {
            if let Some(content) = response.pointer_mut("/content/application~1problem+json") {
                content["example"] = problems::example(status);
            }
            give_all(response, Body::Answer, &schemas);
        }
    }
}

fn give_all(described: &mut Value, body: Body, schemas: &Value) {
    let contents = described.get_mut("content").and_then(Value::as_object_mut);
    for (media_type, content) in contents.into_iter().flatten() {
        if content.get("example").is_some() || content.get("examples").is_some() {
            continue;
        }
        match media_type.as_str() {
            "application/octet-stream" => {}
            "text/event-stream" => content["example"] = event(&content["schema"], schemas),
            _ => content["example"] = of(&content["schema"], body, schemas, 0),
        }
    }
}

/// One event of a stream, named like its data.
fn event(schema: &Value, schemas: &Value) -> Value {
    let data = &schema["properties"]["data"]["contentSchema"]["anyOf"][0];
    let name = data["$ref"]
        .as_str()
        .and_then(|path| path.rsplit('/').next());
    let example = of(data, Body::Answer, schemas, 0);
    json!({ "event": name.unwrap_or("message").to_lowercase(), "data": example.to_string() })
}

fn own(schema: &Value) -> Option<&Value> {
    let first = |list: &'static str| schema[list].as_array().and_then(|values| values.first());
    schema
        .get("example")
        .or_else(|| first("examples"))
        .or_else(|| schema.get("const"))
}

fn of(schema: &Value, body: Body, schemas: &Value, depth: u8) -> Value {
    if let Some(example) = own(schema) {
        return example.clone();
    }
    let schema = resolve(schema, schemas);
    if depth > DEPTH_MAX {
        return Value::Null;
    }
    let inner = |schema: &Value| of(schema, body, schemas, depth + 1);
    if let Some(example) = own(schema).or_else(|| schema["enum"].get(0)) {
        return example.clone();
    }
    if let Some(parts) = schema["allOf"].as_array() {
        return Value::Object(
            parts
                .iter()
                .map(inner)
                .filter_map(fields)
                .flatten()
                .collect(),
        );
    }
    for choice in ["oneOf", "anyOf"] {
        if let Some(choices) = schema[choice].as_array() {
            let something = choices.iter().find(|schema| schema["type"] != "null");
            return something.map_or(Value::Null, inner);
        }
    }
    let kind = match &schema["type"] {
        // Nothing is known of it but that it may be null.
        Value::Array(kinds) if kinds.iter().any(|kind| kind == "null") => return Value::Null,
        Value::Array(kinds) => kinds.first().and_then(Value::as_str),
        kind => kind.as_str(),
    };
    match kind {
        Some("object") => object(schema, body, inner),
        Some("array") => json!([inner(&schema["items"])]),
        Some("string") => json!(text(schema["format"].as_str())),
        Some("integer" | "number") => schema.get("minimum").cloned().unwrap_or(json!(1)),
        Some("boolean") => json!(false),
        _ => Value::Null,
    }
}

fn object(schema: &Value, body: Body, inner: impl Fn(&Value) -> Value) -> Value {
    let is_required = |name: &str| {
        let mut required = schema["required"].as_array().into_iter().flatten();
        required.any(|field| field == name)
    };
    let properties = schema["properties"].as_object().into_iter().flatten();
    let fields: Map<String, Value> = properties
        .filter(|(name, field)| body == Body::Answer || is_required(name) || own(field).is_some())
        .map(|(name, field)| (name.clone(), inner(field)))
        .collect();
    Value::Object(fields)
}

fn fields(value: Value) -> Option<Map<String, Value>> {
    match value {
        Value::Object(fields) => Some(fields),
        _ => None,
    }
}

fn text(format: Option<&str>) -> &'static str {
    match format {
        Some("date-time") => "2026-11-21T09:30:00Z",
        Some("email") => "ana@example.com",
        Some("uri") => "https://example.com/",
        Some("uuid") => "019aa5c1-7d3a-7c62-9f0b-5e1d2a3b4c5d",
        Some("binary") => "(the bytes of the file)",
        _ => NOT_SAID,
    }
}
