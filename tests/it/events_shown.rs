//! Events and their types, as they are shown.

use serde_json::{Value, json};
use tests::{Actor, TestApp, actor::each};

const EVENTS: &str = "/api/v1/events";
const TYPES: &str = "/api/v1/event-types";

async fn list(actor: &Actor, query: &str) -> Value {
    actor.get(&format!("{EVENTS}?{query}")).await.expect(200)
}

#[tokio::test]
async fn a_list_of_events_goes_on_where_its_cursor_stands() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    for number in 0..4 {
        // All at one time: then their ids decide.
        ana.conversation(&number.to_string()).await;
    }
    app.ocr_failed(&ana, "why").await;
    let whole = list(&ana, "limit=100").await;
    let whole = each(&whole, "id");
    assert_eq!(whole.len(), 6);
    for (filter, expected) in [("", 6), ("&type=conversation.*", 4), ("&type=*", 6)] {
        let (mut seen, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = list(&ana, &format!("limit=2{filter}{cursor}")).await;
            seen.extend(each(&page, "id"));
            match page["pagination"]["nextCursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        assert_eq!(seen.len(), expected, "{filter}");
        let mut rest = whole.iter();
        assert!(
            seen.iter().all(|id| rest.any(|known| known == id)),
            "{filter}: in the same order"
        );
    }
    let event = list(&ana, "type=image.ocr_failed").await["data"][0].clone();
    let mut fields: Vec<&String> = event.as_object().unwrap().keys().collect();
    fields.sort();
    assert_eq!(fields, ["data", "id", "timestamp", "type"]);
    let path = format!("{EVENTS}/{}", event["id"].as_str().unwrap());
    assert_eq!(ana.get(&path).await.expect(200), event);
    app.finish().await;
}

#[tokio::test]
async fn nobody_sees_anothers_events() {
    let app = TestApp::spawn().await;
    let (ana, ben) = (app.user("ana").await, app.user("ben").await);
    ana.conversation("Plans").await;
    let events = list(&ana, "").await;
    for id in each(&events, "id") {
        let path = format!("{EVENTS}/{id}");
        ana.get(&path).await.expect(200);
        ben.get(&path).await.expect_problem(404, "not_found");
        app.anonymous()
            .get(&path)
            .await
            .expect_problem(401, "unauthenticated");
    }
    let bens = list(&ben, "").await;
    assert_eq!(each(&bens, "type"), ["user.created"]);
    app.finish().await;
}

#[tokio::test]
async fn administrators_see_of_all_what_is_for_them() {
    let app = TestApp::spawn().await;
    let root = app.user("root").await;
    let root = app.promote(&root).await;
    let ana = app.user("ana").await;
    ana.conversation("Plans").await;
    ana.get(&format!("{EVENTS}?scope=all"))
        .await
        .expect_problem(403, "admin_required");
    let own = list(&root, "scope=own").await;
    assert_eq!(each(&own, "type"), ["user.created"]);
    let all = list(&root, "scope=all").await;
    assert_eq!(each(&all, "type"), ["user.created", "user.created"]);
    let none = list(&root, "scope=all&type=conversation.*").await;
    assert_eq!(none["data"], json!([]));
    for event in list(&ana, "").await["data"].as_array().unwrap() {
        let path = format!("{EVENTS}/{}", event["id"].as_str().unwrap());
        let reply = root.get(&path).await;
        if event["type"] == "user.created" {
            assert_eq!(reply.expect(200), *event);
        } else {
            reply.expect_problem(404, "not_found");
        }
    }
    app.finish().await;
}

#[tokio::test]
async fn bad_questions_for_events_are_refused() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    ana.get(&format!("{EVENTS}?cursor=nonsense"))
        .await
        .expect_problem(400, "malformed_request");
    for (bad, field) in [
        ("limit=0", "/limit"),
        ("scope=everybody", "/scope"),
        ("type=", "/type"),
        ("type=conversation", "/type"),
        ("type=%25", "/type"),
        ("kind=user.created", "/kind"),
    ] {
        let reply = ana.get(&format!("{EVENTS}?{bad}")).await;
        assert_eq!(reply.expect_bad_fields(), [field], "{bad}");
    }
    let long = "x".repeat(5_000);
    for (bad, near) in [
        ("conversation.create", Some("conversation.created")),
        (long.as_str(), None),
    ] {
        let problem = ana.get(&format!("{EVENTS}?type={bad}")).await.expect(422);
        let told = problem["errors"][0]["detail"].as_str().unwrap();
        assert!(told.len() < 300, "{told}");
        assert_eq!(told.contains("near are"), near.is_some(), "{told}");
        assert!(near.is_none_or(|near| told.contains(near)), "{told}");
    }
    app.finish().await;
}

#[tokio::test]
async fn types_of_events_say_what_is_told() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let all = ana.get(TYPES).await.expect(200);
    let names = each(&all, "name");
    for name in shared::events::NAMES {
        assert!(names.iter().any(|known| known == name), "{name}");
    }
    for kind in all["data"].as_array().unwrap() {
        let (schema, example) = (&kind["schema"], &kind["example"]);
        assert!(jsonschema::is_valid(schema, example), "{}", kind["name"]);
        assert!(jsonschema::meta::is_valid(schema), "{}", kind["name"]);
        assert_eq!(example["type"], kind["name"]);
        assert_eq!(kind["subscribable"], kind["name"] != "webhook.ping");
        let path = format!("{TYPES}/{}", kind["name"].as_str().unwrap());
        assert_eq!(ana.get(&path).await.expect(200), *kind);
    }
    let audience = |name: &str| {
        let mut kinds = all["data"].as_array().unwrap().iter();
        let kind = kinds.find(|kind| kind["name"] == name);
        kind.unwrap()["audience"].clone()
    };
    assert_eq!(audience("message.created"), "owner");
    assert_eq!(audience("job.failed"), "owner_and_admins");

    let unknown = ana.get(&format!("{TYPES}/message.complete")).await;
    let problem = unknown.expect_problem(404, "not_found");
    let told = problem["detail"].as_str().unwrap();
    assert!(told.contains("message.completed"), "{told}");
    let nobody = app.anonymous();
    nobody
        .get(TYPES)
        .await
        .expect_problem(401, "unauthenticated");
    app.finish().await;
}
