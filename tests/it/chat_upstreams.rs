//! Providers as they are: cut streams, errors inside successes, silences, nonsense.

use std::time::Duration;

use api::config::ApiArgs;
use serde_json::json;
use shared::config::ProviderArgs;
use tests::{
    Options, TestApp,
    fakes::provider::{Provider, Script, Step, delta, end, event, refusal, stream},
    words,
};

use crate::chat::ledger;

struct Case {
    what: &'static str,
    script: Script,
    /// What was said, and how it ended.
    text: &'static str,
    code: Option<&'static str>,
    is_tried_again: bool,
    is_free: bool,
}

fn case(
    what: &'static str,
    steps: Vec<Step>,
    text: &'static str,
    code: Option<&'static str>,
) -> Case {
    whole(what, stream(steps), text, code)
}

fn whole(
    what: &'static str,
    script: Script,
    text: &'static str,
    code: Option<&'static str>,
) -> Case {
    let is_answered = !text.is_empty();
    Case {
        what,
        script,
        text,
        code,
        is_tried_again: !is_answered && code == Some("provider_failed"),
        is_free: !is_answered,
    }
}

fn raw(text: &str) -> Step {
    Step::Send(text.to_owned())
}

fn cases() -> Vec<Case> {
    let failed = Some("provider_failed");
    let mut comments = vec![
        raw(": OPENROUTER PROCESSING\n\n\n\n"),
        delta("Hi"),
        raw(": keep-alive\n\n\r\n"),
    ];
    comments.extend(end("stop", 3, 1));
    let mut slow = vec![
        Step::Pause(Duration::from_millis(300)),
        delta("Hi"),
        Step::Pause(Duration::from_millis(300)),
    ];
    slow.extend(end("stop", 3, 1));
    let answer = json!({ "choices": [{ "message": { "role": "assistant", "content": "Hi" }, "finish_reason": "stop" }],
                        "usage": { "prompt_tokens": 3, "completion_tokens": 1 } });
    let json = |status: u16, body: &str| Script {
        status,
        headers: vec![("content-type", "application/json".to_owned())],
        steps: vec![raw("\n\n"), raw(body)],
    };
    let finish = event(&json!({ "choices": [{ "delta": {}, "finish_reason": "stop" }] }));
    vec![
        case("blank lines and comments", comments, "Hi", None),
        case("short silences", slow, "Hi", None),
        whole(
            "an answer in one piece",
            json(200, &answer.to_string()),
            "Hi",
            None,
        ),
        case(
            "figures that never come",
            vec![delta("Hi"), finish.clone(), raw("data: [DONE]\n\n")],
            "Hi",
            None,
        ),
        case(
            "an end without a mark",
            vec![delta("Hi"), finish],
            "Hi",
            None,
        ),
        case(
            "a stream that is cut",
            vec![delta("Hi"), Step::Cut],
            "Hi",
            failed,
        ),
        case(
            "a stream without finish",
            vec![delta("Hi"), raw("data: [DONE]\n\n")],
            "Hi",
            failed,
        ),
        case("a stream that just ends", vec![delta("Hi")], "Hi", failed),
        case(
            "an error in the stream",
            vec![
                delta("Hi"),
                event(&json!({ "error": { "message": "overloaded" } })),
            ],
            "Hi",
            failed,
        ),
        case(
            "bad JSON",
            vec![delta("Hi"), raw("data: {nonsense\n\n")],
            "Hi",
            failed,
        ),
        case(
            "a line of 10 MB",
            vec![
                delta("Hi"),
                raw(&format!("data: {}\n\n", "x".repeat(10 << 20))),
            ],
            "Hi",
            failed,
        ),
        case("silence", vec![delta("Hi"), Step::Hold], "Hi", failed),
        // Nobody knows what these did, so their questions are accounted for.
        Case {
            is_free: false,
            ..case("silence from the beginning", vec![Step::Hold], "", failed)
        },
        Case {
            is_free: false,
            ..case("nothing", vec![], "", failed)
        },
        whole(
            "an error inside success",
            json(200, r#"{"error":{"message":"no credits","code":"broken"}}"#),
            "",
            failed,
        ),
        whole(
            "a page for people",
            Script {
                headers: vec![("content-type", "text/html".to_owned())],
                ..json(502, "<html>")
            },
            "",
            failed,
        ),
        whole("an outage", refusal(503, "overloaded"), "", failed),
        whole(
            "a refusal",
            refusal(400, "too long"),
            "",
            Some("provider_refused"),
        ),
    ]
}

#[tokio::test]
async fn whatever_a_provider_does_the_text_is_kept_and_accounted_for() {
    let cases = cases();
    let scripts: Vec<Script> = cases.iter().map(|case| case.script.clone()).collect();
    let provider = Provider::start(move |asked| {
        let number: usize = asked.question().parse().unwrap();
        scripts[number].clone()
    })
    .await;
    let app = TestApp::with(Options {
        providers: ProviderArgs {
            breaker_failures: Some("100".to_owned()),
            ..provider.args("sk-1")
        },
        api: ApiArgs {
            provider_silence_seconds: Some("1".to_owned()),
            ..ApiArgs::default()
        },
        ..Options::default()
    })
    .await;
    let ana = app.user("ana").await;
    for (number, case) in cases.iter().enumerate() {
        let what = case.what;
        let body = json!({ "message": number.to_string(), "model": "gpt-4o-mini" });
        let events = ana.stream(body.clone()).await.rest().await;
        assert_eq!(words(&events), case.text, "{what}");
        let last = events.last().unwrap();
        let message = &last.data["message"];
        match case.code {
            None => {
                assert_eq!(last.name, "message.completed", "{what}: {}", last.data);
                assert_eq!(message["status"], "completed", "{what}");
            }
            Some(code) => {
                assert_eq!(last.name, "error", "{what}");
                assert_eq!(last.data["code"], code, "{what}: {}", last.data);
                assert_eq!(message["status"], "failed", "{what}");
                assert_eq!(message["error"]["code"], code, "{what}");
            }
        }
        let text = message["content"][0]["text"].as_str().unwrap_or_default();
        assert_eq!(text, case.text, "{what}");
        let path = format!("/api/v1/messages/{}", message["id"].as_str().unwrap());
        assert_eq!(ana.get(&path).await.expect(200), *message, "{what}");
        let mut rows = ledger(&app).await;
        rows.retain(|row| row["message_id"] == message["id"]);
        let outcome = if case.code.is_some() {
            "failed"
        } else {
            "completed"
        };
        assert!(
            rows.iter().all(|row| row["outcome"] == outcome),
            "{what}: {rows:?}"
        );
        // What failed before the first word is tried once more, as long as there are not too many of these.
        let most = if case.is_tried_again { 2 } else { 1 };
        assert!((1..=most).contains(&rows.len()), "{what}: {rows:?}");
        assert_eq!(
            rows[0]["cost_microusd"] == 0,
            case.is_free,
            "{what}: {rows:?}"
        );
        assert_eq!(message["usage"]["attempts"], rows.len(), "{what}");
    }
    // The same, whole.
    let number = cases
        .iter()
        .position(|case| case.what == "a stream that is cut")
        .unwrap();
    let problem = ana.chat(json!({ "message": number.to_string() })).await;
    let problem = problem.expect_problem(502, "provider_failed");
    let path = format!(
        "/api/v1/messages/{}",
        problem["messageId"].as_str().unwrap()
    );
    assert_eq!(ana.get(&path).await.expect(200)["content"][0]["text"], "Hi");
    let number = cases
        .iter()
        .position(|case| case.what == "a refusal")
        .unwrap();
    let problem = ana.chat(json!({ "message": number.to_string() })).await;
    let problem = problem.expect_problem(502, "provider_refused");
    assert!(
        problem["detail"].as_str().unwrap().contains("too long"),
        "{problem}"
    );
    app.finish().await;
}

#[tokio::test]
async fn another_provider_is_asked_before_the_first_word_and_none_after() {
    let (away, there) = (
        Provider::start(|asked| match asked.question().as_str() {
            "before" => refusal(503, "overloaded"),
            _ => stream(vec![delta("Hi"), Step::Cut]),
        })
        .await,
        Provider::saying(&["Yes."]).await,
    );
    let mut providers = away.args("sk-1");
    providers.openrouter_api_keys = Some("or-1".to_owned());
    providers.openrouter_base_url = Some(there.base_url.clone());
    let app = TestApp::with(Options {
        providers,
        ..Options::default()
    })
    .await;
    let ana = app.user("ana").await;
    let answer = ana
        .chat(json!({ "message": "before", "model": "gpt-4o-mini" }))
        .await
        .expect(200);
    assert_eq!(answer["message"]["provider"], "openrouter");
    assert_eq!(answer["usage"]["attempts"], 2);
    assert_eq!(there.asked()[0].body["model"], "openai/gpt-4o-mini");
    assert!(there.asked()[0].body.get("stream_options").is_none());
    // Its price is not known, so nor is that of the answer.
    assert_eq!(answer["usage"]["costMicrousd"], serde_json::Value::Null);
    let events = ana
        .stream(json!({ "message": "after", "model": "gpt-4o-mini" }))
        .await
        .rest()
        .await;
    assert_eq!(words(&events), "Hi");
    assert_eq!(events.last().unwrap().name, "error");
    assert_eq!(there.asked().len(), 1);
    app.advance(Duration::from_secs(1)).await;
    let usage = ana.get("/api/v1/usage?by=model").await.expect(200);
    assert_eq!(usage["total"]["attempts"], 3);
    assert_eq!(
        (&usage["total"]["unpriced"], &usage["total"]["failed"]),
        (&json!(1), &json!(2))
    );
    assert_eq!(usage["data"][0]["model"], "gpt-4o-mini");
    app.finish().await;
}
