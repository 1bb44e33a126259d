//! The OpenAPI document: its snapshot, and what every operation has.

use serde_json::Value;

fn document() -> Value {
    serde_json::to_value(api::document()).unwrap()
}

#[test]
fn the_document_is_the_reviewed_one() {
    insta::assert_json_snapshot!(document());
}

#[test]
fn every_operation_has_an_id_a_tag_and_its_problems() {
    let document = document();
    let mut ids = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let id = operation["operationId"]
                .as_str()
                .unwrap_or_else(|| panic!("{method} {path} has no id"));
            ids.push(id.to_owned());
            assert_eq!(operation["tags"].as_array().map(Vec::len), Some(1), "{id}");
            assert!(operation["summary"].is_string(), "{id} has no summary");
            if path.starts_with("/api/v1/") {
                let problem = &operation["responses"]["422"]["content"]["application/problem+json"]
                    ["schema"]["$ref"];
                assert_eq!(problem, "#/components/schemas/Problem", "{id}");
            }
        }
    }
    let count = ids.len();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), count, "an operation id is there twice");
}
