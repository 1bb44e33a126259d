//! How long answers may take, and how long their streams may be silent.

use std::time::Duration;

use api::config::{ApiArgs, ApiConfig};
use reqwest::Method;
use serde_json::{Value, json};
use shared::config::{CommonArgs, Problems, ProviderArgs};
use tests::{
    EventStream, Options, SECRET_KEY, TestApp, eventually,
    fakes::provider::{Provider, Step, delta, end, refusal, stream},
    process::PATIENCE,
    words,
};

use crate::chat::{id, ledger};

const KEEP_ALIVE: &str = ": keep-alive\n\n";

/// Reads on until a text has come so many times; gives all that has come.
async fn read_until(response: &mut reqwest::Response, text: &str, times: usize) -> String {
    let mut read = String::new();
    while read.matches(text).count() < times {
        let piece = tokio::time::timeout(PATIENCE, response.chunk()).await;
        let piece = piece.expect("a byte in time").expect("it is not cut");
        let piece = piece.expect("it goes on");
        read.push_str(std::str::from_utf8(&piece).expect("whole characters"));
    }
    read
}

#[tokio::test]
async fn a_silent_stream_gets_a_byte_now_and_then() {
    let provider = Provider::start(|_| {
        let steps = vec![Step::Hold, delta("One "), delta("two")];
        stream([steps, end("stop", 7, 2)].concat())
    })
    .await;
    let app = TestApp::with(Options {
        providers: provider.args("sk-1"),
        api: ApiArgs {
            stream_keep_alive_seconds: Some("1".to_owned()),
            ..ApiArgs::default()
        },
        ..Options::default()
    })
    .await;
    let ana = app.user("ana").await;
    let body = json!({ "message": "Count", "stream": true });
    let request = ana.request(Method::POST, "/api/v1/chat/completions");
    let mut here = request.json(&body).send().await.expect("the API answers");
    let read = read_until(&mut here, KEEP_ALIVE, 2).await;
    let (started, silent) = read.split_once("\n\n").expect("an event comes first");
    assert!(started.contains("event: message.started"), "{started}");
    assert_eq!(silent.replace(KEEP_ALIVE, ""), "", "nothing else is said");

    let data = started.lines().find_map(|line| line.strip_prefix("data: "));
    let started: Value = serde_json::from_str(data.expect("data")).expect("JSON");
    let path = format!("/api/v1/chat/streams/{}", id(&started["messageId"]));
    let request = ana.request(Method::GET, &path);
    let mut late = request.send().await.expect("the API answers");
    read_until(&mut late, KEEP_ALIVE, 1).await;

    provider.release();
    for response in [here, late] {
        let events = EventStream::from(response).rest().await;
        assert_eq!(words(&events), "One two");
        assert_eq!(events.last().unwrap().name, "message.completed");
    }
    app.finish().await;
}

#[tokio::test]
async fn all_tries_of_an_answer_have_one_time_together() {
    // Each of two tries is given up after two seconds of silence, and both together have three.
    let provider = Provider::start(|_| stream(vec![Step::Hold])).await;
    let app = TestApp::with(Options {
        providers: provider.args("sk-1"),
        api: ApiArgs {
            provider_silence_seconds: Some("2".to_owned()),
            answer_max_seconds: Some("3".to_owned()),
            ..ApiArgs::default()
        },
        ..Options::default()
    })
    .await;
    let ana = app.user("ana").await;
    let body = json!({ "message": "Hi", "model": "gpt-4o-mini" });
    let problem = ana.chat(body).await.expect_problem(504, "provider_timeout");
    eventually("the provider is left", async || provider.open() == 0).await;
    let path = format!("/api/v1/messages/{}", id(&problem["messageId"]));
    let message = ana.get(&path).await.expect(200);
    assert_eq!(message["status"], "failed");
    assert_eq!(message["error"]["code"], "timeout");
    assert_eq!(message["content"], json!([]));
    let rows = ledger(&app).await;
    assert!((1..=2).contains(&rows.len()), "{rows:?}");
    for row in rows {
        assert_eq!(
            (&row["outcome"], &row["is_estimated"]),
            (&json!("failed"), &json!(true)),
            "{row}"
        );
    }
    app.finish().await;
}

#[tokio::test]
async fn an_answer_that_takes_too_long_keeps_its_text() {
    let away = Provider::start(|_| refusal(503, "overloaded")).await;
    let there = Provider::start(|_| stream(vec![delta("One "), Step::Hold])).await;
    let app = TestApp::with(Options {
        providers: ProviderArgs {
            openrouter_api_keys: Some("or-1".to_owned()),
            openrouter_base_url: Some(there.base_url.clone()),
            ..away.args("sk-1")
        },
        api: ApiArgs {
            answer_max_seconds: Some("5".to_owned()),
            ..ApiArgs::default()
        },
        ..Options::default()
    })
    .await;
    let ana = app.user("ana").await;
    let body = json!({ "message": "Count", "model": "gpt-4o-mini" });
    let events = ana.stream(body).await.rest().await;
    assert_eq!(words(&events), "One ");
    let last = events.last().unwrap();
    assert_eq!(
        (last.name.as_str(), &last.data["code"]),
        ("error", &json!("timeout"))
    );
    let message = &last.data["message"];
    assert_eq!(message["status"], "failed");
    assert_eq!(message["content"][0]["text"], "One ");
    eventually("the provider is left", async || there.open() == 0).await;
    let rows = ledger(&app).await;
    let asked: Vec<&str> = rows.iter().map(|row| id(&row["provider"])).collect();
    assert_eq!(asked, ["openai", "openrouter"]);
    assert!(rows.iter().all(|row| row["outcome"] == "failed"));
    assert_eq!(rows[0]["cost_microusd"], 0);
    assert!(rows[1]["output_tokens"].as_i64() > Some(0), "{}", rows[1]);
    app.finish().await;
}

#[test]
fn a_stream_is_silent_for_15_s_and_an_answer_takes_10_min_unless_told_otherwise() {
    let check = |api: ApiArgs| -> Result<ApiConfig, Problems> {
        let common = CommonArgs {
            environment: Some("test".to_owned()),
            database_url: Some("postgres://u:p@localhost/db".to_owned()),
            redis_url: Some("redis://localhost".to_owned()),
            secret_key: Some(SECRET_KEY.to_owned()),
            storage_url: Some("file:///tmp".to_owned()),
            ..CommonArgs::default()
        };
        let args = api::config::Args {
            common,
            api,
            command: None,
        };
        args.check()
    };
    let chat = check(ApiArgs::default()).expect("it is good").chat;
    assert_eq!(chat.keep_alive, Duration::from_secs(15));
    assert_eq!(chat.answer_time, Duration::from_mins(10));
    let bad = ApiArgs {
        stream_keep_alive_seconds: Some("0".to_owned()),
        answer_max_seconds: Some("3601".to_owned()),
        ..ApiArgs::default()
    };
    let told = check(bad).expect_err("it is not good").to_string();
    for variable in ["STREAM_KEEP_ALIVE_SECONDS", "ANSWER_MAX_SECONDS"] {
        assert!(told.contains(variable), "{told}");
    }
    // No stream is silent for longer.
    let keep_alive = |seconds: &str| {
        check(ApiArgs {
            stream_keep_alive_seconds: Some(seconds.to_owned()),
            ..ApiArgs::default()
        })
    };
    let chat = keep_alive("20").expect("it is good").chat;
    assert_eq!(chat.keep_alive, Duration::from_secs(20));
    let told = keep_alive("21").expect_err("it is too long").to_string();
    assert!(told.contains("STREAM_KEEP_ALIVE_SECONDS"), "{told}");
}
