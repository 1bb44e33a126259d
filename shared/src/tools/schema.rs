//! Arguments of a tool: whether they keep to its JSON Schema, and how two of them are compared.

use std::collections::BTreeMap;

use jsonschema::{PatternOptions, Validator};
use serde_json::{Map, Value};

use super::{effort::Effort, output::cut};
use crate::keyring::sha256;

/// Longest arguments of a call, in bytes: whoever writes longer ones is told so.
pub const ARGUMENTS_MAX_BYTES: usize = 32 * 1024;
/// Most problems that are told, and characters of each.
const PROBLEMS_MAX: usize = 8;
const PROBLEM_MAX: usize = 200;

/// Largest regular expression, made ready, and what may be remembered of where one has looked, in bytes.
const PATTERN_BYTES: usize = 256 * 1024;
/// So many steps of checking take no time worth mentioning.
const QUICK: u64 = 1 << 15;

/// What arguments must keep to.
pub(super) struct Schema {
    validator: Validator,
    effort: Effort,
}

impl Schema {
    /// Reads a JSON Schema. What it refers to must be in it: nothing is fetched.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn new(schema: &Value) -> Result<Self, String> {
        let effort = Effort::of(schema)?;
        // Patterns of others must not take for ever, nor the whole memory.
        let patterns = PatternOptions::regex()
            .size_limit(PATTERN_BYTES)
            .dfa_size_limit(PATTERN_BYTES);
        // What is said to be an address or a date is for whoever reads it to judge.
        let options = jsonschema::options()
            .with_pattern_options(patterns)
            .should_validate_formats(false);
        let built = options.build(schema);
        let validator = built.map_err(|error| cut(&error.to_string(), PROBLEM_MAX))?;
        Ok(Self { validator, effort })
    }

    /// Whether arguments of this length are read in no time.
    pub(super) fn is_quick(&self, text: &str) -> bool {
        self.effort.of_bytes(text.len()) <= QUICK
    }

    /// Reads arguments, as a model writes them.
    ///
    /// # Errors
    /// What is wrong with them, for the model.
    pub(super) fn read(&self, text: &str) -> Result<Map<String, Value>, String> {
        if text.len() > ARGUMENTS_MAX_BYTES {
            return Err(format!(
                "they have more than {ARGUMENTS_MAX_BYTES} characters"
            ));
        }
        // Whoever has none to give may write nothing.
        let text = if text.trim().is_empty() { "{}" } else { text };
        let value: Value =
            serde_json::from_str(text).map_err(|error| format!("they are no JSON: {error}"))?;
        if !self.effort.allows(&value) {
            return Err("they are too many, or nested too deep".to_owned());
        }
        let problems: Vec<String> = self
            .validator
            .iter_errors(&value)
            .take(PROBLEMS_MAX)
            .map(|error| {
                let problem = cut(&error.to_string(), PROBLEM_MAX);
                let at = error.instance_path().to_string();
                if at.is_empty() {
                    problem
                } else {
                    format!("{at}: {problem}")
                }
            })
            .collect();
        match value {
            Value::Object(fields) if problems.is_empty() => Ok(fields),
            Value::Object(_) => Err(problems.join("; ")),
            _ => Err("they are no JSON object".to_owned()),
        }
    }
}

/// The same for arguments that mean the same: in whatever order they are written.
pub(super) fn fingerprint(arguments: &Map<String, Value>) -> [u8; 32] {
    let text = Value::Object(sorted_fields(arguments)).to_string();
    sha256(text.as_bytes())
}

fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(fields) => Value::Object(sorted_fields(fields)),
        Value::Array(items) => Value::Array(items.iter().map(sorted).collect()),
        other => other.clone(),
    }
}

fn sorted_fields(fields: &Map<String, Value>) -> Map<String, Value> {
    let fields: BTreeMap<String, Value> = fields
        .iter()
        .map(|(name, value)| (name.clone(), sorted(value)))
        .collect();
    fields.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn arguments_that_are_wrong_say_where() {
        let schema = json!({ "type": "object", "required": ["to"], "additionalProperties": false,
            "properties": { "to": { "type": "string", "minLength": 1 }, "days": { "type": "integer", "maximum": 5 } } });
        let schema = Schema::new(&schema).unwrap();
        let read = schema.read(r#"{"to":"x","days":2}"#).unwrap();
        assert_eq!(read["days"], 2);
        for (text, told) in [
            ("", "\"to\" is a required property"),
            ("{", "they are no JSON"),
            ("[]", "no JSON object"),
            (r#"{"to":""}"#, "/to: "),
            (r#"{"to":"x","days":9}"#, "/days: "),
            (r#"{"to":"x","and":1}"#, "and"),
        ] {
            let problem = schema.read(text).unwrap_err();
            assert!(problem.contains(told), "{text}: {problem}");
        }
        let long = format!(r#"{{"to":"{}"}}"#, "x".repeat(ARGUMENTS_MAX_BYTES));
        assert!(schema.read(&long).is_err());
    }

    #[test]
    fn a_schema_that_refers_to_elsewhere_is_refused() {
        for schema in [
            json!({ "$ref": "http://127.0.0.1:9/schema.json" }),
            json!({ "$ref": "file:///etc/passwd" }),
            json!({ "type": 7 }),
        ] {
            assert!(Schema::new(&schema).is_err(), "{schema}");
        }
        let within = json!({ "$defs": { "a": { "type": "object" } }, "$ref": "#/$defs/a" });
        assert!(Schema::new(&within).is_ok());
    }

    #[test]
    fn what_would_take_for_ever_is_not_checked() {
        let both = json!({ "anyOf": [
            { "properties": { "a": { "$ref": "#" } }, "required": ["b"] },
            { "properties": { "a": { "$ref": "#" } }, "required": ["c"] } ] });
        let schema = Schema::new(&both).unwrap();
        let nested = |depth: usize| format!("{}1{}", r#"{"a":"#.repeat(depth), "}".repeat(depth));
        let began = std::time::Instant::now();
        let told = schema.read(&nested(3)).unwrap_err();
        assert!(told.contains("anyOf"), "{told}");
        let told = schema.read(&nested(60)).unwrap_err();
        assert!(told.contains("nested too deep"), "{told}");
        let long = json!({ "properties": { "a": { "pattern": "(a{1,500}){1,500}" } } });
        assert!(Schema::new(&long).is_err());
        assert!(began.elapsed().as_secs() < 5);
        assert!(schema.is_quick("{}") && !schema.is_quick(&nested(60).repeat(20)));
    }

    #[test]
    fn the_order_of_arguments_does_not_matter() {
        let read = |text: &str| -> Map<String, Value> { serde_json::from_str(text).unwrap() };
        let one = fingerprint(&read(r#"{"a":{"x":1,"y":[{"p":1,"q":2}]},"b":2}"#));
        let other = fingerprint(&read(r#"{"b":2, "a":{"y":[{"q":2,"p":1}],"x":1}}"#));
        assert_eq!(one, other);
        assert_ne!(one, fingerprint(&read(r#"{"a":1,"b":2}"#)));
    }
}
