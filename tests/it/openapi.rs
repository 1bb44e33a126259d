//! The OpenAPI document: its snapshot, and what every operation has.

use std::{collections::BTreeSet, path::Path};

use serde_json::Value;

/// An operation of the document.
struct Operation {
    path: String,
    method: String,
    says: Value,
}

impl Operation {
    fn name(&self) -> String {
        format!("{} {}", self.method, self.path)
    }

    fn responses(&self) -> impl Iterator<Item = (&str, &Value)> {
        let responses = self.says["responses"].as_object().into_iter().flatten();
        responses.map(|(status, response)| (status.as_str(), response))
    }
}

fn operations() -> Vec<Operation> {
    let document = api::document();
    let mut operations = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, says) in item.as_object().unwrap() {
            operations.push(Operation {
                path: path.clone(),
                method: method.clone(),
                says: says.clone(),
            });
        }
    }
    assert!(operations.len() > 10, "the document is nearly empty");
    operations
}

/// Finds what a `$ref` points at.
fn resolve<'a>(document: &'a Value, value: &'a Value) -> &'a Value {
    value["$ref"].as_str().map_or(value, |path| {
        document
            .pointer(path.trim_start_matches('#'))
            .unwrap_or_else(|| panic!("{path} is not there"))
    })
}

#[test]
fn the_document_is_the_reviewed_one() {
    insta::assert_json_snapshot!(api::document());
}

#[test]
fn the_document_is_the_same_for_every_deployment() {
    let document = api::document();
    assert_eq!(document["openapi"], "3.1.0");
    assert_eq!(document["servers"], serde_json::json!([{ "url": "/" }]));
}

#[test]
fn every_operation_has_an_id_of_its_own_a_known_tag_and_a_summary() {
    let document = api::document();
    let tags: BTreeSet<&str> = document["tags"]
        .as_array()
        .unwrap()
        .iter()
        .map(|tag| tag["name"].as_str().unwrap())
        .collect();
    let mut ids = BTreeSet::new();
    for operation in operations() {
        let (name, says) = (operation.name(), &operation.says);
        let id = says["operationId"].as_str();
        let id = id.unwrap_or_else(|| panic!("{name} has no id"));
        assert!(ids.insert(id.to_owned()), "{id} is there twice");
        let of = says["tags"].as_array().map_or(&[][..], Vec::as_slice);
        assert_eq!(of.len(), 1, "{name} has not one tag");
        let tag = of[0].as_str().unwrap();
        assert!(tags.contains(tag), "{name} has the unknown tag {tag}");
        let summary = says["summary"].as_str().unwrap_or_default();
        assert!(!summary.is_empty(), "{name} has no summary");
    }
}

#[test]
fn every_operation_says_who_may_ask() {
    for operation in operations() {
        let security = operation.says["security"].to_string();
        assert!(
            matches!(security.as_str(), r#"[{"bearer":[]}]"# | "[{}]"),
            "{}: `security` is {security}; a public operation says `security(())`",
            operation.name()
        );
    }
}

#[test]
fn every_operation_says_what_it_answers() {
    let document = api::document();
    for operation in operations() {
        let name = operation.name();
        let successes: Vec<_> = operation
            .responses()
            .filter(|(status, _)| status.starts_with('2'))
            .collect();
        assert!(!successes.is_empty(), "{name} never succeeds");
        for (status, response) in successes {
            let content = response["content"].as_object();
            let has_schema = content.is_some_and(|content| {
                !content.is_empty() && content.values().all(|body| body["schema"].is_object())
            });
            assert_eq!(has_schema, status != "204", "{name}: the body of {status}");
        }
        let problems = ["400", "401", "404", "422", "429", "500", "503"];
        let problems = if operation.path.starts_with("/api/v1/") {
            &problems[..]
        } else {
            &["500"]
        };
        // The surface that speaks like OpenAI's has its errors.
        let (problems, kind, called) = if operation.path.starts_with("/v1/") {
            let statuses = ["400", "401", "403", "404", "429", "500", "503"];
            (statuses.to_vec(), "application/json", "OpenAiError")
        } else {
            (problems.to_vec(), "application/problem+json", "Problem")
        };
        for status in problems {
            let response = resolve(&document, &operation.says["responses"][status]);
            let schema = &response["content"][kind]["schema"]["$ref"];
            let expected = format!("#/components/schemas/{called}");
            assert_eq!(*schema, expected, "{name}: {status}");
        }
        for (status, response) in operation.responses() {
            let response = resolve(&document, response);
            assert!(
                response["headers"]["X-Request-Id"].is_object(),
                "{name}: {status}"
            );
        }
    }
}

#[test]
fn every_parameter_has_a_type() {
    let document = api::document();
    for operation in operations() {
        let name = operation.name();
        let parameters = operation.says["parameters"].as_array();
        let parameters = parameters.map_or(&[][..], Vec::as_slice);
        let mut in_path = BTreeSet::new();
        for parameter in parameters {
            let parameter = resolve(&document, parameter);
            let called = parameter["name"].as_str().unwrap();
            if parameter["in"] == "path" {
                in_path.insert(called);
            }
            let schema = resolve(&document, &parameter["schema"]);
            let has_type = ["type", "enum", "oneOf"]
                .iter()
                .any(|key| schema.get(key).is_some());
            assert!(has_type, "{name}: {called} has no type");
        }
        let parts = operation.path.split('/');
        let named: BTreeSet<&str> = parts
            .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
            .collect();
        assert_eq!(in_path, named, "{name}: the parameters of the path");
    }
}

#[test]
fn every_body_has_an_example_that_means_something() {
    let document = api::document();
    for operation in operations() {
        let name = operation.name();
        let answers = operation
            .responses()
            .map(|(_, response)| resolve(&document, response));
        let bodies = answers
            .chain([&operation.says["requestBody"]])
            .filter_map(|body| body["content"].as_object())
            .flatten();
        // Of a file there is nothing to show.
        for (kind, body) in bodies.filter(|(kind, _)| *kind != "application/octet-stream") {
            let example = &body["example"];
            assert!(!example.is_null(), "{name}: {kind} without example");
            // Whoever tries it out would send it, whoever reads it would learn nothing.
            assert!(
                !example.to_string().contains("some text"),
                "{name}: give the fields of its body examples: {example}"
            );
        }
    }
}

#[test]
fn every_problem_shows_what_is_sent_with_its_status() {
    let document = api::document();
    let responses = document["components"]["responses"].as_object().unwrap();
    assert!(responses.len() > 10);
    for (name, response) in responses {
        let example = &response["content"]["application/problem+json"]["example"];
        assert_eq!(format!("Problem{}", example["status"]), *name);
        for field in ["type", "title", "error", "detail", "code", "requestId"] {
            assert!(example[field].is_string(), "{name} without {field}");
        }
        let is_repeatable = matches!(name.as_str(), "Problem429" | "Problem503");
        assert_eq!(example["retryAfter"].is_number(), is_repeatable, "{name}");
    }
}

/// The name of the schema of the type whose derive ends with this text; a macro's has no name yet.
fn derived(text: &str) -> Option<String> {
    let is_derive = text.starts_with([',', ')']);
    let mut lines = text.lines().map(str::trim_start);
    let line = lines.find(|line| {
        !line.starts_with("//") && (line.contains("struct ") || line.contains("enum "))
    })?;
    let (_, name) = line.split_once("struct ").or(line.split_once("enum "))?;
    let written = &text[..text.find(line)?];
    let name = written
        .split_once("#[schema(as = ")
        .map_or(name, |(_, name)| name);
    let end = name.find(|c: char| !c.is_alphanumeric())?;
    (is_derive && end > 0).then(|| name[..end].to_owned())
}

/// Two types of one name would be one schema, and one of them would be described wrongly.
#[test]
fn no_two_schemas_share_a_name() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut names: BTreeSet<String> = BTreeSet::new();
    let mut folders = vec![root.join("api/src"), root.join("shared/src")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            for name in text.split("ToSchema").skip(1).filter_map(derived) {
                let file = path.display();
                let is_new = names.insert(name.clone());
                assert!(is_new, "{name} of {file} is the name of another schema too");
            }
        }
    }
    assert!(
        names.contains("CreateWebhook") && names.contains("HealthStatus"),
        "{names:?}"
    );
}

#[test]
fn requests_are_closed_and_streams_hold_events() {
    let document = api::document();
    let schemas = &document["components"]["schemas"];
    assert_eq!(schemas["CreateWebhook"]["additionalProperties"], false);
    assert!(schemas["Webhook"].get("additionalProperties").is_none());
    let watch = &document["paths"]["/api/v1/jobs/{id}/events"]["get"]["responses"]["200"];
    let data = &watch["content"]["text/event-stream"]["schema"]["properties"]["data"];
    let job = &data["contentSchema"]["anyOf"][0]["$ref"];
    assert_eq!(job, "#/components/schemas/Job");
}

#[test]
fn what_changes_and_what_has_a_version_says_so() {
    let document = api::document();
    let parameters = |path: &str, method: &str| -> Vec<String> {
        let list = document["paths"][path][method]["parameters"].as_array();
        list.into_iter()
            .flatten()
            .map(|parameter| {
                resolve(&document, parameter)["name"]
                    .as_str()
                    .unwrap()
                    .to_owned()
            })
            .filter(|name| name.starts_with('I'))
            .collect()
    };
    let one = "/api/v1/webhooks/{id}";
    assert_eq!(parameters("/api/v1/webhooks", "post"), ["Idempotency-Key"]);
    assert_eq!(parameters(one, "get"), ["If-None-Match"]);
    assert_eq!(parameters(one, "delete"), ["Idempotency-Key", "If-Match"]);
    assert!(parameters("/api/v1/jobs", "get").is_empty());
    assert!(parameters("/api/v1/auth/login", "post").is_empty());
    // Its `version` is the program's.
    assert!(parameters("/api/health", "get").is_empty());
    let get = &document["paths"][one]["get"]["responses"];
    assert!(get["200"]["headers"]["ETag"].is_object() && get["304"].is_object());
}
