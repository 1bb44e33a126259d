//! What tools do, told to readers anywhere: in its place between the words, and once.

use serde_json::json;
use tests::{
    Actor, Event, TestApp,
    fakes::{
        provider::{Asked, Provider, Script, Step, delta, end, stream, tool_call},
        services::{Reply, Services},
    },
    words,
};

use crate::{
    chat::id,
    chat_tools::{app, results, sunny},
    tools::weather,
};

const WORDS: &str = "Let me look.\n\nMild.";
/// The events of tools, which come after the first twelve bytes.
const NOTES: [(&str, &str); 2] = [("tool.started", "12.1"), ("tool.finished", "12.2")];

/// A model that says something, asks for the weather, goes on, and ends when the test says so.
fn halting(asked: &Asked) -> Script {
    let steps = if results(asked).is_empty() {
        let call = tool_call(0, "a", "weather", r#"{"location":"Lahore"}"#);
        [vec![delta("Let me look.")], call, end("tool_calls", 20, 9)].concat()
    } else {
        [vec![delta("Mild."), Step::Hold], end("stop", 11, 1)].concat()
    };
    stream(steps)
}

/// The same person at another instance.
async fn elsewhere(app: &TestApp, actor: &Actor) -> Actor {
    Actor {
        base: app.another_api().await,
        ..actor.clone()
    }
}

/// Names and ids of the events of tools.
fn notes(events: &[Event]) -> Vec<(String, String)> {
    let of_tools = events.iter().filter(|event| event.note > 0);
    of_tools
        .map(|event| (event.name.clone(), event.full_id()))
        .collect()
}

fn all_notes() -> Vec<(String, String)> {
    NOTES
        .map(|(name, id)| (name.to_owned(), id.to_owned()))
        .to_vec()
}

/// Whether each event comes after the one before it.
fn grow(events: &[Event]) -> bool {
    events.is_sorted_by(|one, other| (one.id, one.note) < (other.id, other.note))
}

#[tokio::test]
async fn any_instance_tells_what_tools_do_in_its_place() {
    let provider = Provider::start(halting).await;
    let services = Services::start(|_| Reply::json(&weather(18.5)).held()).await;
    let (app, ana) = app(&provider, &services).await;
    let body = json!({ "message": "How is Lahore?", "tools": "auto" });
    let mut here = ana.stream(body).await;
    let mut told = vec![here.next().await.unwrap()];
    let message = id(&told[0].data["messageId"]).to_owned();
    let mut there = elsewhere(&app, &ana).await.resume(&message, None).await;
    let mut heard = Vec::new();
    while notes(&heard).is_empty() {
        heard.push(there.next().await.expect("it is told of the call"));
    }
    assert_eq!(words(&heard), "Let me look.");
    services.release();
    while words(&heard) != WORDS {
        heard.push(there.next().await.expect("it goes on"));
    }
    // Somebody who comes when all of it is said already, at an instance that knows nothing of it yet.
    let mut late = elsewhere(&app, &ana).await.resume(&message, None).await;
    let mut caught_up = Vec::new();
    while words(&caught_up) != WORDS {
        caught_up.push(late.next().await.expect("it goes on"));
    }
    provider.release();
    told.extend(here.rest().await);
    heard.extend(there.rest().await);
    caught_up.extend(late.rest().await);
    for events in [told, heard, caught_up] {
        assert_eq!(notes(&events), all_notes());
        assert!(grow(&events), "{events:?}");
        let mut names: Vec<&str> = events.iter().map(|event| event.name.as_str()).collect();
        names.dedup();
        let expected = [
            "message.started",
            "message.delta",
            "tool.started",
            "tool.finished",
            "message.delta",
            "message.completed",
        ];
        assert_eq!(names, expected);
        assert_eq!(words(&events), WORDS);
        assert_eq!(events.last().unwrap().id, WORDS.len() as u64 + 1);
    }
    app.finish().await;
}

#[tokio::test]
async fn who_reads_on_after_any_event_hears_the_others_once() {
    let (provider, services) = (Provider::start(halting).await, sunny().await);
    let (app, ana) = app(&provider, &services).await;
    let there = elsewhere(&app, &ana).await;
    let body = json!({ "message": "How is Lahore?", "tools": "auto" });
    let mut here = ana.stream(body).await;
    let mut told = Vec::new();
    while words(&told) != WORDS {
        told.push(here.next().await.expect("it goes on"));
    }
    assert!(grow(&told), "{told:?}");
    assert_eq!(notes(&told), all_notes());
    let message = id(&told[0].data["messageId"]).to_owned();
    let mut readers = Vec::new();
    for actor in [&ana, &there] {
        for (index, event) in told.iter().enumerate() {
            let after = event.full_id();
            let reader = actor.resume_after(&message, Some(&after)).await;
            readers.push((after, index, reader));
        }
    }
    provider.release();
    for (after, index, reader) in readers {
        let events = reader.rest().await;
        let missed = &told[index + 1..];
        assert_eq!(notes(&events), notes(missed), "after {after}");
        assert_eq!(words(&events), words(missed), "after {after}");
        assert!(grow(&events), "after {after}: {events:?}");
        assert_eq!(events.last().unwrap().name, "message.completed");
    }

    // Long after the end there are the words, also for who has an id of an event of a tool.
    let (_, after) = NOTES[0];
    let events = ana.resume_after(&message, Some(after)).await.rest().await;
    assert_eq!((words(&events).as_str(), events.len()), ("\n\nMild.", 2));
    let path = format!("/api/v1/chat/streams/{message}");
    let last = events.last().unwrap().full_id();
    assert_eq!(ana.get(&format!("{path}?after={last}")).await.status, 204);
    for bad in ["1.x", "1.2.3", "."] {
        let reply = ana.get(&format!("{path}?after={bad}")).await;
        assert_eq!(reply.expect_bad_fields(), ["/after"], "{bad}");
        let request = ana.request(reqwest::Method::GET, &path);
        let reply = ana.send(request.header("last-event-id", bad)).await;
        reply.expect_problem(400, "malformed_request");
    }
    app.finish().await;
}
