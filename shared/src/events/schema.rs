//! JSON Schemas of payloads, from the types that they are made of.

use serde_json::{Value, json};
use utoipa::{PartialSchema, ToSchema};

/// The dialect in which OpenAPI 3.1 describes types.
const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";
/// Where OpenAPI keeps types, and where a schema by itself does.
const COMPONENTS: &str = "#/components/schemas/";
const DEFINITIONS: &str = "#/$defs/";
/// What stands for data that are too long; see [`super::bounds`].
const REFERENCE: &str = "Reference";
/// What stands for data that were deleted; see [`crate::models::event::withdraw`].
const WITHDRAWN: &str = "Withdrawn";

/// The schema of the payload of an event with these data.
pub(super) fn of<D: ToSchema>(name: &str, description: &str) -> Value {
    let mut parts = vec![(D::name().into_owned(), <D as PartialSchema>::schema())];
    D::schemas(&mut parts);
    let data = [&*D::name(), REFERENCE, WITHDRAWN]
        .map(|part| json!({ "$ref": format!("{DEFINITIONS}{part}") }));
    let mut schema = json!({
        "$schema": DIALECT,
        "title": name,
        "description": description,
        "type": "object",
        "required": ["type", "timestamp", "data"],
        "properties": {
            "type": { "const": name },
            "timestamp": { "type": "string", "format": "date-time", "description": "When it happened." },
            "data": { "anyOf": data },
        },
        "$defs": { REFERENCE: reference(), WITHDRAWN: withdrawn() },
    });
    for (part, described) in parts {
        schema["$defs"][part] = serde_json::to_value(described).expect("schemas are plain data");
    }
    point_inside(&mut schema);
    schema
}

fn reference() -> Value {
    json!({
        "description": "In the place of data that would make the body longer than 64 KiB: only their ids.",
        "type": "object",
        "required": ["truncated"],
        "properties": { "truncated": { "const": true } },
        "additionalProperties": { "type": ["string", "null"], "format": "uuid" },
    })
}

fn withdrawn() -> Value {
    json!({
        "description": "In the place of data of what its user has deleted since: only their ids.",
        "type": "object",
        "required": ["withdrawn"],
        "properties": { "withdrawn": { "const": true } },
        "additionalProperties": { "type": ["string", "null"], "format": "uuid" },
    })
}

/// Has all references point at what is in the schema itself.
fn point_inside(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            if let Some(Value::String(path)) = fields.get_mut("$ref")
                && let Some(name) = path.strip_prefix(COMPONENTS)
            {
                *path = format!("{DEFINITIONS}{name}");
            }
            fields.values_mut().for_each(point_inside);
        }
        Value::Array(items) => items.iter_mut().for_each(point_inside),
        _ => {}
    }
}
