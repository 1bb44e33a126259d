//! Tools of servers that speak the Model Context Protocol.

use std::time::Duration;

use serde_json::json;
use shared::{
    config::ToolArgs,
    tools::{Outcome, Tools},
};
use tests::{Options, TestApp, eventually, fakes::mcp::McpServer};
use tokio_util::sync::CancellationToken;

use crate::tools::{call, tools};

fn args(servers: &str) -> ToolArgs {
    ToolArgs {
        mcp_servers: Some(servers.to_owned()),
        nominatim_base_url: Some("off".to_owned()),
        ..ToolArgs::default()
    }
}

/// Tools of these servers, once they are known. They are followed until the token is cancelled.
async fn followed(app: &TestApp, servers: &str, end: &CancellationToken) -> Tools {
    let tools = tools(app, &args(servers)).await;
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
        // Too large a schema and one that is not whole are left out; names are those that models take.
        let expected = [
            "my-own__shout",
            "my-own__long",
            "my-own__fail_with_text",
            "my-own__crash",
        ];
        assert_eq!(names, expected);
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
        assert_eq!(server.calls().len(), 2);
        let failed = call(&tools, "my-own__fail_with_text", &words).await;
        assert_eq!(
            (failed.outcome, failed.text.as_str()),
            (Outcome::Failed, "no salt")
        );
        assert_eq!(server.calls()[2].0, "fail.with/text");
        let long = call(&tools, "my-own__long", &words).await;
        assert!(long.text.len() <= 16 * 1024 && long.text.ends_with("[cut: there is more]"));
        let wrong = call(&tools, "my-own__shout", &json!({ "words": 7 })).await;
        assert_eq!(wrong.outcome, Outcome::Invalid);
        assert_eq!(server.calls().len(), 4, "nobody was asked");
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
    for _ in 0..3 {
        let crashed = call(&tools, "docs__crash", &words).await;
        assert_eq!(crashed.text, "Service temporarily unavailable");
    }
    // One breaker for the server.
    let called = call(&tools, "docs__shout", &words).await;
    assert_eq!(called.outcome, Outcome::Unavailable);
    assert_eq!(server.calls().len(), 3);
    app.advance(Duration::from_secs(61)).await;
    let called = call(&tools, "docs__shout", &words).await;
    assert_eq!(called.outcome, Outcome::Completed, "{}", called.text);
    // What it offered stays known while it is away.
    server.go_away(true);
    let called = call(&tools, "docs__shout", &words).await;
    assert_eq!(called.outcome, Outcome::Unavailable);
    assert_eq!(tools.offered().len(), 4);
    end.cancel();
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
    eventually("its tools are listed", async || {
        let list = ana.get("/api/v1/tools").await.expect(200);
        list["data"].as_array().unwrap().len() == 4
    })
    .await;
    let list = ana.get("/api/v1/tools").await.expect(200);
    assert_eq!(list["data"][0]["source"], "mcp:docs");
    assert!(!list.to_string().contains("hush"), "{list}");
    app.finish().await;
}
