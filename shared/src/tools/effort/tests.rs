use serde_json::{Map, json};

use super::*;

fn refused(schema: &Value) -> String {
    Effort::of(schema).unwrap_err()
}

/// Definitions `a0` to `a…`, each made of the name of the next.
fn chain(length: usize, link: impl Fn(&str) -> Value) -> Value {
    let mut definitions = Map::new();
    for number in 0..length {
        let next = format!("#/$defs/a{}", number + 1);
        definitions.insert(format!("a{number}"), link(&next));
    }
    definitions.insert(format!("a{length}"), json!({ "type": "object" }));
    json!({ "type": "object", "$defs": definitions, "$ref": "#/$defs/a0" })
}

#[test]
fn schemas_that_unfold_without_measure_are_refused() {
    let twice = |length| {
        chain(
            length,
            |next| json!({ "allOf": [{ "$ref": next }, { "$ref": next }] }),
        )
    };
    assert!(twice(40).to_string().len() < 4_000);
    assert!(Effort::of(&twice(40)).is_err());
    let twice = twice(24);
    assert!(refused(&twice).contains("too much work"));
    let below = json!({ "type": "object", "properties": { "x": { "$ref": "#/$defs/a0" } }, "$defs": twice["$defs"] });
    assert!(refused(&below).contains("too much work"));
    let long = chain(1_200, |next| json!({ "$ref": next }));
    assert!(refused(&long).contains("too deep"));
    let long = chain(
        1_200,
        |next| json!({ "properties": { "x": { "$ref": next } } }),
    );
    assert!(refused(&long).contains("too deep"));
    let nested = (0..100).fold(json!({}), |within, _| json!({ "items": within }));
    assert!(refused(&nested).contains("too deep"));
    // Each asks again what those within have asked.
    let again = (0..20).fold(
        json!({}),
        |within, _| json!({ "allOf": [within], "unevaluatedProperties": false }),
    );
    assert!(refused(&again).contains("too much work"));
}

#[test]
fn recursion_ends_with_the_arguments_or_is_refused() {
    let round = json!({ "$defs": { "a": { "allOf": [{ "$ref": "#/$defs/b" }] }, "b": { "anyOf": [{ "$ref": "#/$defs/a" }] } },
                        "properties": { "x": { "$ref": "#/$defs/a" } } });
    assert!(refused(&round).contains("without an end"));
    assert!(refused(&json!({ "$ref": "#" })).contains("without an end"));
    let tree = json!({ "type": "object", "properties": { "left": { "$ref": "#" }, "right": { "$ref": "#" } } });
    let tree = Effort::of(&tree).unwrap();
    let deep = |depth: usize| (0..depth).fold(json!({}), |within, _| json!({ "left": within }));
    assert!(tree.allows(&deep(LEVELS_MAX)));
    assert!(!tree.allows(&deep(LEVELS_MAX + 1)));
    // Both of them look at all below.
    let one = json!({ "properties": { "left": { "$ref": "#" } } });
    let both = json!({ "anyOf": [one, one] });
    let both = Effort::of(&both).unwrap();
    assert!(both.allows(&deep(4)));
    assert!(!both.allows(&deep(20)));
}

#[test]
fn references_lead_to_where_they_seem_to() {
    for (schema, told) in [
        (
            json!({ "$ref": "http://127.0.0.1:9/x" }),
            "refers to another",
        ),
        (
            json!({ "$defs": { "a": { "$ref": "other.json" } } }),
            "refers to another",
        ),
        (json!({ "$ref": "#/$defs/a" }), "not in it"),
        (
            json!({ "$ref": "#name", "$defs": { "a": { "$anchor": "name" } } }),
            "not in it",
        ),
        (json!({ "$dynamicRef": "#name" }), "$dynamicRef"),
        (
            json!({ "properties": { "x": { "$id": "http://x.example/" } } }),
            "another within",
        ),
        (
            json!({ "$schema": "http://json-schema.org/draft-04/schema#", "not": { "id": "x" } }),
            "another within",
        ),
    ] {
        let refused = refused(&schema);
        assert!(refused.contains(told), "{schema}: {refused}");
    }
    for schema in [
        json!({ "$id": "http://x.example/", "$ref": "#/$defs/a%20b~1c", "$defs": { "a b/c": true } }),
        json!({ "properties": { "$ref": { "type": "string" }, "$id": { "type": "string" }, "id": { "default": "x" } } }),
        json!({ "properties": { "x": { "default": { "id": "x" } } } }),
    ] {
        assert!(Effort::of(&schema).is_ok(), "{schema}");
    }
}

#[test]
fn patterns_are_few_and_short() {
    let with = |pattern: String| json!({ "properties": { "x": { "pattern": pattern } } });
    assert!(Effort::of(&with("a".repeat(1_000))).is_ok());
    assert!(refused(&with("a".repeat(1_001))).contains("patterns"));
    let many = |number: usize| {
        let fields = (0..number).map(|at| (format!("^{at}"), json!(true)));
        json!({ "patternProperties": fields.collect::<Map<String, Value>>() })
    };
    assert!(Effort::of(&many(graph::PATTERNS_MAX)).is_ok());
    assert!(refused(&many(graph::PATTERNS_MAX + 1)).contains("patterns"));
}

#[test]
fn usual_arguments_are_little_work() {
    let schema = json!({ "$schema": "http://json-schema.org/draft-07/schema#", "type": "object",
        "properties": { "country": { "enum": vec!["PK"; 250] }, "text": { "type": "string", "minLength": 1 },
            "parts": { "type": "array", "items": { "anyOf": [{ "$ref": "#/definitions/Part" }, { "type": "null" }] } } },
        "definitions": { "Part": { "type": "object", "required": ["name"], "additionalProperties": false,
            "properties": { "name": { "type": "string", "pattern": "^[a-z]+$" }, "size": { "type": "integer" } } } } });
    let effort = Effort::of(&schema).unwrap();
    let part = json!({ "name": "wheel", "size": 3 });
    assert!(
        effort.allows(
            &json!({ "country": "PK", "text": "x".repeat(30_000), "parts": vec![part; 500] })
        )
    );
    assert!(effort.of_bytes(40) < 1 << 15, "{effort:?}");
    assert!(!effort.allows(&json!({ "parts": vec![1; 15_000] })));
}
