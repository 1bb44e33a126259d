//! How far a model may go with tools in an answer.

use serde_json::json;
use tests::fakes::provider::{Asked, Provider, calling, words_of};

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
        assert_eq!(provider.asked().len(), if is_stubborn { 10 } else { 9 });
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
