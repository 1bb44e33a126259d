//! The JSON Schema of a tool's arguments, in a form that providers take: one that they do not like would be the end of the
//! whole question, whatever else is in it.

use serde_json::{Map, Value, json};

/// What it is called: nothing may refer to it by that.
const NAMES: [&str; 2] = ["$id", "id"];
/// What must not stand at the top, as `OpenAI` says with its 400, or is of no use there. Arguments are checked against it
/// nevertheless.
const NOT_AT_THE_TOP: [&str; 6] = ["$schema", "oneOf", "anyOf", "allOf", "not", "enum"];

/// What a server says of the arguments of a tool.
#[derive(Debug)]
pub(super) struct Parameters {
    /// What models are told.
    pub(super) told: Value,
    /// What arguments are checked against.
    pub(super) checked: Value,
}

impl Parameters {
    /// Reads it.
    ///
    /// # Errors
    /// Why nobody would take it.
    pub(super) fn of(schema: &Map<String, Value>) -> Result<Self, String> {
        let mut checked = schema.clone();
        for name in NAMES {
            // A schema may have a property of the name, but not here.
            if checked.get(name).is_some_and(Value::is_string) {
                checked.remove(name);
            }
        }
        let kind = checked.entry("type").or_insert_with(|| json!("object"));
        if *kind != "object" {
            return Err("its arguments are no object".to_owned());
        }
        let properties = checked.entry("properties").or_insert_with(|| json!({}));
        if !properties.is_object() {
            return Err("its properties are no object".to_owned());
        }
        let mut told = checked.clone();
        told.retain(|name, _| !NOT_AT_THE_TOP.contains(&name.as_str()));
        Ok(Self {
            told: Value::Object(told),
            checked: Value::Object(checked),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(schema: Value) -> Result<Parameters, String> {
        let Value::Object(schema) = schema else {
            panic!("an object");
        };
        Parameters::of(&schema)
    }

    #[test]
    fn arguments_are_an_object_with_properties() {
        let empty = json!({ "type": "object", "properties": {} });
        for schema in [
            json!({}),
            json!({ "type": "object" }),
            json!({ "properties": {} }),
            json!({ "$id": "http://x.example/", "id": "x", "$schema": "http://json-schema.org/draft-07/schema#" }),
        ] {
            assert_eq!(read(schema).unwrap().told, empty);
        }
        for schema in [
            json!({ "type": "array" }),
            json!({ "type": ["object", "null"] }),
            json!({ "type": null }),
            json!({ "properties": [] }),
        ] {
            assert!(read(schema.clone()).is_err(), "{schema}");
        }
    }

    #[test]
    fn what_providers_refuse_is_only_checked() {
        let schema = json!({ "$schema": "http://json-schema.org/draft-07/schema#", "type": "object",
            "properties": { "a": { "anyOf": [{ "type": "string" }, { "type": "null" }] } },
            "anyOf": [{ "required": ["a"] }, { "required": ["b"] }] });
        let read = read(schema.clone()).unwrap();
        let told = json!({ "type": "object", "properties": schema["properties"] });
        assert_eq!((read.told, read.checked), (told, schema));
    }
}
