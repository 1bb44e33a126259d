//! How far a model may go with tools in an answer.

use serde_json::{Value, json};
use tests::fakes::provider::{Asked, Provider, calling, delta, end, stream, tool_call, words_of};

use crate::chat_tools::{app, is_free, results, sunny};

#[tokio::test]
async fn an_endless_loop_ends_with_an_answer() {
    let more = |asked: &Asked| {
        let number = results(asked).len();
        let arguments = format!(r#"{{"location":"Place {number}"}}"#);
        let id = format!("call_{number}");
        calling(&[(id.as_str(), "weather", arguments.as_str())])
    };
    // One that does as it is told, and one that does not while it knows of tools.
    for is_stubborn in [false, true] {
        let provider = Provider::start(move |asked| {
            let may = if is_stubborn {
                asked.body["tools"].is_array()
            } else {
                is_free(asked)
            };
            if may {
                more(asked)
            } else {
                words_of(&["Enough."])
            }
        })
        .await;
        let services = sunny().await;
        let (app, ana) = app(&provider, &services).await;
        let answer = ana
            .chat(json!({ "message": "Go", "tools": "auto" }))
            .await
            .expect(200);
        assert_eq!(answer["message"]["content"][0]["text"], "Enough.");
        assert_eq!(services.asked().len(), 8);
        let asked = provider.asked();
        assert_eq!(asked.len(), if is_stubborn { 10 } else { 9 });
        // That it must answer is said beside the tools, as some providers take no calls of earlier without.
        assert_eq!(asked[8].body["tools"], asked[0].body["tools"]);
        assert_eq!(asked[8].body["tool_choice"], "none");
        assert_eq!(results(&asked[8]).len(), 8);
        if let Some(last) = asked.get(9) {
            in_words(last);
        }
        app.finish().await;
    }
    // One that never answers.
    let (provider, services) = (Provider::start(more).await, sunny().await);
    let (app, ana) = app(&provider, &services).await;
    let reply = ana.chat(json!({ "message": "Go", "tools": "auto" })).await;
    reply.expect_problem(502, "provider_failed");
    assert_eq!(provider.asked().len(), 10);
    let endless = ana.stream(json!({ "message": "Go", "tools": "auto" }));
    let last = endless.await.rest().await.pop().unwrap();
    assert_eq!(
        (last.name.as_str(), &last.data["code"]),
        ("error", &json!("tool_loop"))
    );
    // Many calls in one breath are not more.
    let many: Vec<(String, String)> = (0..12)
        .map(|number| {
            (
                format!("c{number}"),
                format!(r#"{{"location":"Town {number}"}}"#),
            )
        })
        .collect();
    let provider = Provider::start(move |asked| {
        let calls: Vec<(&str, &str, &str)> = many
            .iter()
            .map(|(id, arguments)| (id.as_str(), "weather", arguments.as_str()))
            .collect();
        if is_free(asked) {
            calling(&calls)
        } else {
            words_of(&["Enough."])
        }
    })
    .await;
    app.finish().await;
    let services = sunny().await;
    let (app, ana) = self::app(&provider, &services).await;
    ana.chat(json!({ "message": "Go", "tools": "auto" }))
        .await
        .expect(200);
    assert_eq!(services.asked().len(), 8);
    let told = results(&provider.asked()[1]);
    assert_eq!(told.len(), 12);
    assert!(told[11].contains("too many calls"), "{told:?}");
    app.finish().await;
}

/// A question of which calls and results are told in words only.
#[track_caller]
fn in_words(asked: &Asked) {
    assert!(asked.body.get("tools").is_none() && asked.body.get("tool_choice").is_none());
    let messages = asked.body["messages"].as_array().unwrap();
    let is_plain = |message: &Value| {
        let role = &message["role"];
        (role == "user" || role == "assistant") && message.get("tool_calls").is_none()
    };
    assert!(messages.iter().all(is_plain), "{messages:?}");
    let said = messages.last().unwrap()["content"].as_str().unwrap();
    assert!(said.contains("18.5"), "{said}");
}

#[tokio::test]
async fn what_was_said_in_a_round_that_was_forbidden_is_a_paragraph_of_its_own() {
    let services = sunny().await;
    let provider = Provider::start(|asked| {
        let is_told = asked.body["tools"].is_array();
        let number = results(asked).len();
        let mut steps = Vec::new();
        if !is_free(asked) {
            steps.push(delta(if is_told { "Hm." } else { "Enough." }));
        }
        if is_told {
            let arguments = format!(r#"{{"location":"Place {number}"}}"#);
            steps.extend(tool_call(0, "a", "weather", &arguments));
        }
        steps.extend(end(if is_told { "tool_calls" } else { "stop" }, 20, 5));
        stream(steps)
    })
    .await;
    let (app, ana) = app(&provider, &services).await;
    let answer = ana
        .chat(json!({ "message": "Go", "tools": ["weather"] }))
        .await
        .expect(200);
    assert_eq!(answer["message"]["content"][0]["text"], "Hm.\n\nEnough.");
    assert_eq!(provider.asked().len(), 10);
    assert_eq!(answer["usage"]["rounds"], 10);
    app.finish().await;
}

#[tokio::test]
async fn who_has_no_tool_left_is_told_of_it_all_the_same() {
    let services = sunny().await;
    let provider = Provider::start(|asked| {
        if is_free(asked) {
            calling(&[("a", "weather", "nonsense")])
        } else {
            words_of(&["Fine."])
        }
    })
    .await;
    let (app, ana) = app(&provider, &services).await;
    ana.chat(json!({ "message": "Go", "tools": ["weather"] }))
        .await
        .expect(200);
    let asked = provider.asked();
    assert_eq!(asked.len(), 3);
    assert_eq!(asked[2].body["tools"], asked[0].body["tools"]);
    assert_eq!(asked[2].body["tool_choice"], "none");
    app.finish().await;
}

#[tokio::test]
async fn wrong_arguments_go_back_once_and_then_end_the_call() {
    let services = sunny().await;
    let provider = Provider::start(|asked| match results(asked).len() {
        0 => calling(&[("a", "weather", r#"{"place":"Lahore"}"#)]),
        1 => calling(&[("b", "weather", r#"{"location":"Lahore"}"#)]),
        _ => words_of(&["Fine."]),
    })
    .await;
    let (app, ana) = app(&provider, &services).await;
    ana.chat(json!({ "message": "Go", "tools": "auto" }))
        .await
        .expect(200);
    let told = results(&provider.asked()[2]);
    assert!(
        told[0].starts_with("The arguments are not valid"),
        "{told:?}"
    );
    assert!(told[1].contains("18.5"), "{told:?}");
    assert_eq!(services.asked().len(), 1);
    app.finish().await;

    // One that does not learn, and one that makes names up.
    for (name, arguments) in [("weather", "nonsense"), ("teleport", "{}")] {
        let call = (name.to_owned(), arguments.to_owned());
        let provider = Provider::start(move |asked| {
            let tools = asked.body["tools"].as_array();
            let knows = tools.is_some_and(|tools| {
                let mut tools = tools.iter();
                call.0 == "teleport" || tools.any(|tool| tool["function"]["name"] == *call.0)
            });
            if is_free(asked) && knows {
                calling(&[("a", call.0.as_str(), call.1.as_str())])
            } else {
                words_of(&["Fine."])
            }
        })
        .await;
        let services = sunny().await;
        let (app, ana) = self::app(&provider, &services).await;
        let answer = ana
            .chat(json!({ "message": "Go", "tools": "auto" }))
            .await
            .expect(200);
        assert_eq!(answer["message"]["content"][0]["text"], "Fine.");
        assert_eq!(provider.asked().len(), 3, "{name}");
        assert!(services.asked().is_empty());
        app.finish().await;
    }
}
