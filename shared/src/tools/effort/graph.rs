//! A schema as a graph of schemas: which of them are for the same place of the arguments, and which for places below it.

use std::{collections::HashMap, ptr};

use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};

use super::{DEPTH_MAX, TOO_DEEP};

/// Most regular expressions, and bytes of each.
pub(super) const PATTERNS_MAX: usize = 32;
const PATTERN_MAX_BYTES: usize = 1_000;
/// What looking for one is like, in steps.
const PATTERN_STEPS: u64 = 64;

/// A schema of the graph.
#[derive(Debug, Default)]
pub(super) struct Node {
    /// Its own work.
    pub(super) steps: u64,
    /// Whether it asks what others have looked at.
    pub(super) asks_again: bool,
    /// Schemas for the same place.
    pub(super) here: Vec<usize>,
    /// Schemas for places below it; of each list one at most is for one place.
    pub(super) below: Vec<Vec<usize>>,
}

/// The schemas that one leads to, which is the first of them.
///
/// # Errors
/// Why it had better not be read.
pub(super) fn of(schema: &Value) -> Result<Vec<Node>, String> {
    look_over(schema)?;
    Graph::of(schema)
}

/// Refuses what leads elsewhere, what means another thing than it seems to, and what is too deep or too long.
fn look_over(schema: &Value) -> Result<(), String> {
    // Before the sixth draft, another word had the meaning of `$id`.
    let is_old = schema["$schema"]
        .as_str()
        .is_some_and(|draft| draft.contains("draft-03") || draft.contains("draft-04"));
    let mut patterns: Vec<&str> = Vec::new();
    let mut open = vec![(schema, 1)];
    while let Some((value, depth)) = open.pop() {
        if depth > DEPTH_MAX {
            return Err(TOO_DEEP.to_owned());
        }
        if let Value::Array(items) = value {
            open.extend(items.iter().map(|item| (item, depth + 1)));
        }
        for (name, value) in value.as_object().into_iter().flatten() {
            match (name.as_str(), value) {
                ("$ref", Value::String(reference)) if !reference.starts_with('#') => {
                    return Err("its schema refers to another".to_owned());
                }
                ("$dynamicRef" | "$recursiveRef", Value::String(_)) => {
                    return Err(format!("its schema has a {name}"));
                }
                // What is referred to below would be looked for there.
                ("$id" | "$schema", Value::String(_)) if depth > 1 => {
                    return Err("its schema has another within".to_owned());
                }
                ("id", Value::String(_)) if depth > 1 && is_old => {
                    return Err("its schema has another within".to_owned());
                }
                ("pattern", Value::String(pattern)) => patterns.push(pattern),
                ("patternProperties", Value::Object(fields)) => {
                    patterns.extend(fields.keys().map(String::as_str));
                }
                _ => {}
            }
            open.push((value, depth + 1));
        }
    }
    let is_long = |pattern: &&str| pattern.len() > PATTERN_MAX_BYTES;
    if patterns.len() > PATTERNS_MAX || patterns.iter().any(is_long) {
        return Err("its schema has too many or too long patterns".to_owned());
    }
    Ok(())
}

/// The graph while it is made.
struct Graph<'a> {
    root: &'a Value,
    nodes: Vec<Node>,
    /// The places of schemas among the nodes.
    known: HashMap<*const Value, usize>,
    /// Those that were not looked at yet.
    open: Vec<(usize, &'a Value)>,
}

impl<'a> Graph<'a> {
    /// All that the first of them leads to.
    fn of(root: &'a Value) -> Result<Vec<Node>, String> {
        let mut graph = Self {
            root,
            nodes: Vec::new(),
            known: HashMap::new(),
            open: Vec::new(),
        };
        graph.place(root);
        while let Some((place, schema)) = graph.open.pop() {
            let node = match schema {
                Value::Object(fields) => graph.node(fields)?,
                _ => Node::of(1),
            };
            graph.nodes[place] = node;
        }
        Ok(graph.nodes)
    }

    fn place(&mut self, schema: &'a Value) -> usize {
        let next = self.nodes.len();
        let place = *self.known.entry(ptr::from_ref(schema)).or_insert(next);
        if place == next {
            self.nodes.push(Node::default());
            self.open.push((place, schema));
        }
        place
    }

    fn places(&mut self, schemas: impl IntoIterator<Item = &'a Value>) -> Vec<usize> {
        let schemas = schemas.into_iter();
        schemas.map(|schema| self.place(schema)).collect()
    }

    fn node(&mut self, fields: &'a Map<String, Value>) -> Result<Node, String> {
        let mut node = Node::of(1);
        for (keyword, value) in fields {
            match (keyword.as_str(), value) {
                ("$ref", Value::String(reference)) => {
                    let target = target(self.root, reference);
                    let target = target.ok_or("its schema refers to what is not in it")?;
                    node.here.push(self.place(target));
                }
                ("allOf" | "anyOf" | "oneOf", Value::Array(schemas)) => {
                    node.here.extend(self.places(schemas));
                }
                ("not" | "if" | "then" | "else", schema) => node.here.push(self.place(schema)),
                ("dependentSchemas" | "dependencies", Value::Object(fields)) => {
                    node.steps += size(value);
                    let schemas = fields.values().filter(|value| !value.is_array());
                    node.here.extend(self.places(schemas));
                }
                ("properties", Value::Object(fields)) => {
                    node.steps += length(fields.len());
                    node.below.push(self.places(fields.values()));
                }
                ("patternProperties", Value::Object(fields)) => {
                    for schema in fields.values() {
                        let matching = Node {
                            here: vec![self.place(schema)],
                            ..Node::of(PATTERN_STEPS)
                        };
                        node.below.push(vec![self.nodes.len()]);
                        self.nodes.push(matching);
                    }
                }
                ("items" | "prefixItems", Value::Array(schemas)) => {
                    node.below.push(self.places(schemas));
                }
                (
                    "items"
                    | "additionalItems"
                    | "unevaluatedItems"
                    | "contains"
                    | "additionalProperties"
                    | "unevaluatedProperties"
                    | "propertyNames",
                    schema,
                ) => {
                    node.asks_again |= keyword.starts_with("unevaluated");
                    node.below.push(vec![self.place(schema)]);
                }
                ("pattern", _) => node.steps += PATTERN_STEPS,
                ("enum" | "const" | "required" | "dependentRequired", value) => {
                    node.steps += size(value);
                }
                // Of `$defs` only what is referred to makes work.
                _ => node.steps += 1,
            }
        }
        Ok(node)
    }
}

impl Node {
    fn of(steps: u64) -> Self {
        Self {
            steps,
            ..Self::default()
        }
    }

    pub(super) fn children(&self) -> Vec<usize> {
        let below = self.below.iter().flatten();
        self.here.iter().chain(below).copied().collect()
    }
}

/// What a reference within a schema refers to.
fn target<'a>(root: &'a Value, reference: &str) -> Option<&'a Value> {
    let pointer = percent_decode_str(reference.strip_prefix('#')?);
    root.pointer(&pointer.decode_utf8().ok()?)
}

/// How many values there are in one.
fn size(value: &Value) -> u64 {
    let mut size = 0;
    let mut open = vec![value];
    while let Some(value) = open.pop() {
        size += 1;
        match value {
            Value::Array(items) => open.extend(items),
            Value::Object(fields) => open.extend(fields.values()),
            _ => {}
        }
    }
    size
}

fn length(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}
