//! Tools of servers that speak the Model Context Protocol.

use std::time::{Duration, Instant};

use serde_json::json;
use shared::{
    config::ToolArgs,
    tools::{Outcome, Tools},
};
use tests::{
    Actor, Options, TestApp, eventually,
    fakes::{
        mcp::McpServer,
        provider::{Provider, calling, words_of},
    },
    words,
};
use tokio_util::sync::CancellationToken;

use crate::{
    chat::ledger,
    chat_tools::{is_free, messages, results},
    tools::{call, tools},
};

/// How many tools the servers of these tests offer that can be called.
const OFFERED: usize = 8;

fn args(servers: &str) -> ToolArgs {
    ToolArgs {
        mcp_servers: Some(servers.to_owned()),
        nominatim_base_url: Some("off".to_owned()),
        ..ToolArgs::default()
    }
}

/// Waits until the API offers the tools of a server.
async fn offered(ana: &Actor) {
    eventually("its tools are listed", async || {
        let list = ana.get("/api/v1/tools").await.expect(200);
        list["data"].as_array().unwrap().len() == OFFERED
    })
    .await;
}

/// Tools of these servers, once they are known. They are followed until the token is cancelled.
async fn followed(app: &TestApp, servers: &str, end: &CancellationToken) -> Tools {
    followed_with(app, &args(servers), end).await
}

async fn followed_with(app: &TestApp, args: &ToolArgs, end: &CancellationToken) -> Tools {
    let tools = tools(app, args).await;
    tools.follow(end);
    eventually("tools are known", async || !tools.offered().is_empty()).await;
    tools
}

#[tokio::test]
async fn tools_of_a_server_are_offered_by_its_name_and_called() {
    let app = TestApp::spawn().await;
    for has_sessions in [true, false] {
        let server = McpServer::start(has_sessions, None).await;
        let end = CancellationToken::new();
        let tools = followed(&app, &format!("my-own={}", server.url), &end).await;
        let offered = tools.offered();
        let names: Vec<&str> = offered.iter().map(|tool| tool.name.as_str()).collect();
        // Left out are schemas that are too large, not whole, too much work, and no objects; names are those that models take.
        let expected = [
            "my-own__shout",
            "my-own__long",
            "my-own__fail_with_text",
            "my-own__crash",
            "my-own__huge",
            "my-own__slow",
            "my-own__bare",
            "my-own__either",
        ];
        assert_eq!(names, expected);
        // What providers refuse is added or not told, and checked all the same.
        let empty = json!({ "type": "object", "properties": {} });
        assert_eq!(
            (&offered[6].parameters, &offered[7].parameters),
            (&empty, &empty)
        );
        let bare = call(&tools, "my-own__bare", &json!({})).await;
        assert_eq!(bare.text, "done");
        let neither = call(&tools, "my-own__either", &json!({})).await;
        assert_eq!(neither.outcome, Outcome::Invalid);
        assert_eq!(server.calls().len(), 1);
        assert_eq!(offered[0].source.to_string(), "mcp:my-own");

        let words = json!({ "words": "salt" });
        let shouted = call(&tools, "my-own__shout", &words).await;
        assert_eq!(
            (shouted.outcome, shouted.text.as_str()),
            (Outcome::Completed, "SALT")
        );
        // What does something is done each time.
        let again = call(&tools, "my-own__shout", &words).await;
        assert!(!again.is_cached);
        assert_eq!(server.calls().len(), 3);
        let failed = call(&tools, "my-own__fail_with_text", &words).await;
        assert_eq!(
            (failed.outcome, failed.text.as_str()),
            (Outcome::Failed, "no salt")
        );
        assert_eq!(server.calls()[3].0, "fail.with/text");
        let long = call(&tools, "my-own__long", &words).await;
        assert!(long.text.len() <= 16 * 1024 && long.text.ends_with("[cut: there is more]"));
        let wrong = call(&tools, "my-own__shout", &json!({ "words": 7 })).await;
        assert_eq!(wrong.outcome, Outcome::Invalid);
        assert_eq!(server.calls().len(), 5, "nobody was asked");
        end.cancel();
    }
    app.finish().await;
}

#[tokio::test]
async fn a_server_that_fails_is_left_alone_and_tells_nothing_of_its_inside() {
    let app = TestApp::spawn().await;
    let server = McpServer::start(true, None).await;
    let end = CancellationToken::new();
    let tools = followed(&app, &format!("docs={}", server.url), &end).await;
    let words = json!({ "words": "salt" });
    // What it does not do for one is no reason to do nothing for others.
    for _ in 0..4 {
        let crashed = call(&tools, "docs__crash", &words).await;
        assert_eq!(
            (crashed.outcome, crashed.text.as_str()),
            (Outcome::Failed, "The tool reports an error (-32603).")
        );
    }
    let shout = async || call(&tools, "docs__shout", &words).await.outcome;
    assert_eq!(shout().await, Outcome::Completed);
    server.go_away(true);
    for _ in 0..3 {
        let called = call(&tools, "docs__shout", &words).await;
        assert_eq!(called.text, "Service temporarily unavailable");
    }
    // One breaker for the server.
    server.go_away(false);
    assert_eq!(shout().await, Outcome::Unavailable);
    assert_eq!(server.calls().len(), 5);
    app.advance(Duration::from_secs(61)).await;
    assert_eq!(shout().await, Outcome::Completed);
    // What it offered stays known while it is away.
    server.go_away(true);
    assert_eq!(shout().await, Outcome::Unavailable);
    assert_eq!(tools.offered().len(), OFFERED);
    end.cancel();
    app.finish().await;
}

#[tokio::test]
async fn what_a_server_says_is_bounded_in_size_and_time() {
    let app = TestApp::spawn().await;
    let words = json!({ "words": "salt" });
    for has_sessions in [true, false] {
        let server = McpServer::start(has_sessions, None).await;
        let end = CancellationToken::new();
        let tools = followed(&app, &format!("docs={}", server.url), &end).await;
        let huge = call(&tools, "docs__huge", &words).await;
        assert_eq!(huge.outcome, Outcome::Unavailable, "{}", huge.text.len());
        assert_eq!(huge.text, "Service temporarily unavailable");
        assert_eq!(server.calls().len(), 1);
        end.cancel();
    }

    let server = McpServer::start(true, None).await;
    let end = CancellationToken::new();
    let impatient = ToolArgs {
        tool_timeout_seconds: Some("2".to_owned()),
        ..args(&format!("docs={}", server.url))
    };
    let tools = followed_with(&app, &impatient, &end).await;
    let began = Instant::now();
    let slow = call(&tools, "docs__slow", &words).await;
    let took = began.elapsed();
    assert_eq!(slow.outcome, Outcome::Unavailable);
    assert_eq!(slow.text, "Service temporarily unavailable");
    // Unless told otherwise, it is waited for ten.
    let bounds = Duration::from_millis(1_900)..Duration::from_secs(9);
    assert!(bounds.contains(&took), "{took:?}");
    assert_eq!(server.calls().len(), 1);
    end.cancel();
    app.finish().await;
}

#[tokio::test]
async fn an_answer_has_a_tool_of_a_server_called() {
    let server = McpServer::start(true, None).await;
    let provider = Provider::start(|asked| {
        if results(asked).is_empty() && is_free(asked) {
            calling(&[("call_1", "docs__shout", r#"{"words":"salt"}"#)])
        } else {
            words_of(&["It says", " SALT."])
        }
    })
    .await;
    let app = TestApp::with(Options {
        providers: provider.args("sk-1"),
        api: api::config::ApiArgs {
            tools: args(&format!("docs={}", server.url)),
            ..Default::default()
        },
        ..Options::default()
    })
    .await;
    let ana = app.user("ana").await;
    offered(&ana).await;
    let body = json!({ "message": "Shout salt.", "tools": ["docs__shout"] });
    let events = ana.stream(body).await.rest().await;
    let named = |name: &str| {
        let event = events.iter().find(|event| event.name == name);
        &event
            .unwrap_or_else(|| panic!("no {name} in {events:?}"))
            .data
    };
    assert_eq!(
        *named("tool.started"),
        json!({ "callId": "call_1", "name": "docs__shout", "arguments": r#"{"words":"salt"}"# })
    );
    let finished = named("tool.finished");
    assert_eq!(
        (&finished["callId"], &finished["name"]),
        (&json!("call_1"), &json!("docs__shout"))
    );
    assert_eq!(
        (&finished["status"], &finished["cached"]),
        (&json!("completed"), &json!(false))
    );
    assert_eq!(words(&events), "It says SALT.");
    assert_eq!(
        server.calls(),
        [("shout".to_owned(), json!({ "words": "salt" }))]
    );

    // The model was told of that one tool, and what it said.
    let asked = provider.asked();
    let told = asked[0].body["tools"].as_array().unwrap();
    assert_eq!(told.len(), 1);
    assert_eq!(told[0]["function"]["name"], "docs__shout");
    assert_eq!(
        told[0]["function"]["parameters"]["required"],
        json!(["words"])
    );
    assert_eq!(results(&asked[1]), ["SALT"]);
    // And both are messages before the answer.
    let done = named("message.completed");
    let rows = messages(&ana, &done["conversationId"]).await;
    let roles: Vec<&str> = rows
        .iter()
        .map(|row| row["role"].as_str().unwrap())
        .collect();
    assert_eq!(roles, ["user", "assistant", "tool", "assistant"]);
    assert_eq!(
        rows[1]["content"],
        json!([{ "type": "toolCall", "callId": "call_1", "name": "docs__shout",
                 "arguments": r#"{"words":"salt"}"# }])
    );
    assert_eq!(
        rows[2]["content"],
        json!([{ "type": "toolResult", "callId": "call_1", "name": "docs__shout", "status": "completed",
                 "output": "SALT" }])
    );
    assert_eq!(ledger(&app).await.len(), 2);
    app.finish().await;
}

#[tokio::test]
async fn a_tool_that_is_named_is_looked_for_before_it_is_unknown() {
    let server = McpServer::start(true, None).await;
    let provider = Provider::saying(&["Hi."]).await;
    let start = async || {
        let servers = format!("docs={}", server.url);
        let app = TestApp::with(Options {
            providers: provider.args("sk-1"),
            api: api::config::ApiArgs {
                tools: args(&servers),
                ..Default::default()
            },
            ..Options::default()
        })
        .await;
        let ana = app.user("ana").await;
        (app, ana)
    };
    let body = |tool: &str| json!({ "message": "Hi", "tools": [tool] });
    // Whoever is asked first knows it.
    let (app, ana) = start().await;
    ana.chat(body("docs__shout")).await.expect(200);
    let unknown = ana.chat(body("docs__nothing")).await;
    assert_eq!(unknown.expect_bad_fields(), ["/tools/0"]);
    app.finish().await;

    server.go_away(true);
    let (app, ana) = start().await;
    let away = ana.chat(body("docs__shout")).await;
    let told = away.expect_problem(503, "tools_unavailable");
    assert!(told["detail"].as_str().unwrap().contains("docs"), "{told}");
    let unknown = ana.chat(body("other__shout")).await;
    assert_eq!(unknown.expect_bad_fields(), ["/tools/0"]);
    let asked = provider.asked().len();
    server.go_away(false);
    eventually("it is looked for again", async || {
        ana.chat(body("docs__shout")).await.status == 200
    })
    .await;
    assert_eq!(provider.asked().len(), asked + 1);
    app.finish().await;
}

#[tokio::test]
async fn a_server_is_opened_by_its_bearer() {
    let server = McpServer::start(true, Some("hush")).await;
    let servers = json!([{ "name": "docs", "url": server.url, "bearer": "hush" },
                         { "name": "closed", "url": server.url, "bearer": "wrong" }]);
    let app = TestApp::with(Options {
        api: api::config::ApiArgs {
            tools: args(&servers.to_string()),
            ..Default::default()
        },
        ..Options::default()
    })
    .await;
    let ana = app.user("ana").await;
    // They are known before anybody asks.
    let list = ana.get("/api/v1/tools").await.expect(200);
    assert_eq!(list["data"].as_array().unwrap().len(), OFFERED);
    assert_eq!(list["data"][0]["source"], "mcp:docs");
    assert!(!list.to_string().contains("hush"), "{list}");
    app.finish().await;
}
