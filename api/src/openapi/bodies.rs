//! What a body may hold beyond what its type says: no unknown fields in requests, events in streams.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::operations;

const SCHEMAS: &str = "#/components/schemas/";

/// Completes the schemas of all bodies.
pub(super) fn describe(document: &mut Value) {
    let mut requests = BTreeSet::new();
    let mut waiting = Vec::new();
    for (_, _, operation) in operations(document) {
        if let Some(request) = operation.get_mut("requestBody") {
            close(request, &mut waiting);
        }
        let responses = operation["responses"].as_object_mut().into_iter().flatten();
        for (_, response) in responses {
            if let Some(schema) = response.pointer_mut("/content/text~1event-stream/schema") {
                *schema = event(schema);
            }
        }
    }
    while let Some(name) = waiting.pop() {
        if requests.insert(name.clone()) {
            close(&mut document["components"]["schemas"][name], &mut waiting);
        }
    }
}

/// Every body that we read refuses unknown fields. Schemas that it refers to go to `waiting`.
fn close(value: &mut Value, waiting: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            let reference = fields.get("$ref").and_then(Value::as_str);
            waiting.extend(
                reference
                    .and_then(|path| path.strip_prefix(SCHEMAS))
                    .map(str::to_owned),
            );
            // Parts of an `allOf` do not know each other's fields.
            if fields.get("properties").is_some_and(Value::is_object) {
                fields.entry("additionalProperties").or_insert(json!(false));
            }
            for (name, field) in fields.iter_mut() {
                if !matches!(name.as_str(), "allOf" | "example" | "examples" | "default") {
                    close(field, waiting);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| close(item, waiting)),
        _ => {}
    }
}

/// One event of a stream, in the form that OpenAPI 3.2 gives it; `data` is the JSON that the operation names, or
/// empty in an event that tells of the stream itself.
fn event(data: &Value) -> Value {
    json!({
        "type": "object",
        "required": ["data"],
        "properties": {
            "event": { "type": "string" },
            "id": { "type": "string" },
            "data": {
                "type": "string",
                "contentMediaType": "application/json",
                "contentSchema": { "anyOf": [data, { "type": "object", "maxProperties": 0 }] },
            },
        },
    })
}
