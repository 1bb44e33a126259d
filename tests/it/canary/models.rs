//! What opens providers, tools and servers of tools, which nobody else must see, also where all of them fail.

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::{Value, json};
use tests::{
    Actor, TestApp, eventually,
    fakes::{
        mcp::McpServer,
        provider::{Provider, Step, calling, delta, refusal, stream, words_of},
        services::{Reply, Services},
    },
};

use super::Marks;
use crate::{chat_streams::Instance, openai_chat::CHAT};

/// Nobody listens there.
const NOWHERE: &str = "http://127.0.0.1:2/v1";
/// One of each tool.
const CALLS: [(&str, &str, &str); 6] = [
    ("call_1", "weather", r#"{"location":"Lahore"}"#),
    ("call_2", "currency", r#"{"from":"USD","to":"PKR"}"#),
    ("call_3", "news", r#"{"query":"rain"}"#),
    ("call_4", "web_search", r#"{"query":"sea"}"#),
    ("call_5", "places", r#"{"query":"Red Fort"}"#),
    ("call_6", "docs__crash", r#"{"words":"salt"}"#),
];

/// Services of which half are out of order, and half break off.
async fn failing() -> Services {
    Services::start(|asked| {
        let of_whom = asked.path.split('/').nth(1).unwrap_or_default();
        match of_whom {
            "currency" | "web" => Reply::new(200, r#"{"result":"success","#).cut(),
            _ => Reply::new(500, r#"{"message":"out of order"}"#),
        }
    })
    .await
}

/// A model that wants all tools to be called, and fails in some other ways.
async fn model() -> Provider {
    Provider::start(|asked| match asked.question().as_str() {
        "Ask everybody." => calling(&CALLS),
        "Fail." => refusal(500, "out of order"),
        "Break off." => stream(vec![delta("Half"), Step::Cut]),
        _ => words_of(&["Nobody", " knows."]),
    })
    .await
}

/// All rows of all tables.
async fn rows(app: &TestApp) -> String {
    let pool = app.database.pool();
    let tables = "SELECT relname::text FROM pg_class
                   WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' ORDER BY 1";
    let tables: Vec<String> = sqlx::query_scalar(tables).fetch_all(pool).await.unwrap();
    let mut all = String::new();
    for table in tables {
        let sql = format!(r#"SELECT to_jsonb(t)::text FROM "{table}" t"#);
        let rows: Vec<String> = sqlx::query_scalar(sqlx::AssertSqlSafe(sql))
            .fetch_all(pool)
            .await
            .unwrap();
        all.push_str(&rows.join("\n"));
    }
    all
}

/// Says something to a model as clients of `OpenAI` do, and gives all that is answered.
async fn ask(actor: &Actor, model: &str, question: &str, is_stream: bool) -> String {
    let messages = json!([{ "role": "user", "content": question }]);
    let body = json!({ "model": model, "messages": messages, "stream": is_stream });
    let request = actor.request(Method::POST, CHAT).json(&body);
    let response = request.send().await.unwrap();
    let headers = format!("{:?}", response.headers());
    format!("{headers}\n{}", response.text().await.unwrap())
}

#[tokio::test]
async fn what_opens_models_and_tools_is_in_no_answer_log_or_row() {
    let mut marks = Marks::default();
    let bearer = marks.make("the bearer of a server of tools");
    let (docs, services, provider) = (
        McpServer::start(true, Some(&bearer)).await,
        failing().await,
        model().await,
    );
    let of_nobody = format!("{NOWHERE}/{}", marks.make("a path of a server of tools"));
    let of_nobody = format!(
        "{of_nobody}?key={}",
        marks.make("a query of a server of tools")
    );
    let servers = json!([{ "name": "docs", "url": docs.url, "bearer": bearer },
                         { "name": "away", "url": of_nobody }]);
    let key = marks.make("the key of a provider");
    let mut variables = vec![
        ("OPENAI_API_KEYS", key.clone()),
        (
            "GROQ_API_KEYS",
            marks.make("the key of a provider that is away"),
        ),
        ("GROQ_BASE_URL", NOWHERE.to_owned()),
        ("MCP_SERVERS", servers.to_string()),
        ("RUST_LOG", "info,api=debug,shared=debug".to_owned()),
    ];
    let mut keys = Vec::new();
    for (key, url, path, what) in [
        (
            "OPENWEATHER_API_KEY",
            "OPENWEATHER_BASE_URL",
            "weather",
            "the key of the weather",
        ),
        (
            "EXCHANGE_RATE_API_KEY",
            "EXCHANGE_RATE_BASE_URL",
            "currency",
            "the key of currencies",
        ),
        (
            "NEWS_API_KEY",
            "NEWS_BASE_URL",
            "news",
            "the key of the news",
        ),
        (
            "TAVILY_API_KEY",
            "TAVILY_BASE_URL",
            "web",
            "the key of the web",
        ),
        (
            "GOOGLE_PLACES_API_KEY",
            "GOOGLE_PLACES_BASE_URL",
            "google",
            "the key of places",
        ),
    ] {
        let secret = marks.make(what);
        keys.push(secret.clone());
        variables.push((key, secret));
        variables.push((url, format!("{}/{path}", services.base_url)));
    }
    let variables: Vec<(&str, &str)> = variables
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    let app = TestApp::spawn_live().await;
    let ana = app.user("ana").await;
    let instance = Instance::start(&app, &provider, &variables).await;
    let ana = instance.of(&ana);
    let mut answers = Vec::new();
    eventually("the tools of the server are offered", async || {
        let list = ana.get("/api/v1/tools").await.text;
        list.contains("docs__crash")
    })
    .await;
    answers.push(ana.get("/api/v1/tools").await.text);

    // A chat with all tools, none of which answers.
    let body = json!({ "message": "Ask everybody.", "model": "gpt-4o-mini", "tools": "auto" });
    let events = ana.stream(body).await.rest().await;
    let ended: BTreeSet<(&str, &str)> = events
        .iter()
        .filter(|event| event.name == "tool.finished")
        .map(|event| {
            let (name, status) = (&event.data["name"], &event.data["status"]);
            (name.as_str().unwrap(), status.as_str().unwrap())
        })
        .collect();
    // A server that answers an error is there.
    let expected = CALLS.map(|(_, name, _)| match name {
        "docs__crash" => (name, "failed"),
        _ => (name, "unavailable"),
    });
    assert_eq!(ended, BTreeSet::from(expected));
    let done = events.last().unwrap();
    assert_eq!(done.name, "message.completed", "{done:?}");
    let conversation = done.data["conversationId"].as_str().unwrap();
    let path = format!("/api/v1/conversations/{conversation}/messages");
    answers.push(ana.get(&path).await.text);
    answers.push(format!("{events:?}"));
    // All of them were opened with what is looked for.
    assert_eq!(provider.asked()[0].key, key);
    let asked = format!("{:?}", services.asked());
    for secret in &keys {
        assert!(asked.contains(secret.as_str()), "{asked}");
    }
    assert_eq!(docs.calls().len(), 1);

    // Questions without a conversation, to models that answer, fail, break off, or are not there.
    for (model, question, is_stream, told) in [
        ("gpt-4o-mini", "Hi", false, "Nobody knows."),
        ("gpt-4o-mini", "Fail.", false, "provider_failed"),
        ("gpt-4o-mini", "Break off.", true, "Half"),
        ("llama-3.3-70b-versatile", "Hi", false, "\"error\""),
    ] {
        let answer = ask(&ana, model, question, is_stream).await;
        assert!(answer.contains(told), "{question} {answer}");
        answers.push(answer);
    }
    for path in [
        "/api/v1/models",
        "/api/v1/usage",
        "/api/health",
        "/api/metrics",
    ] {
        answers.push(ana.get(path).await.text);
    }
    marks.must_not_be_in("what is answered", &answers.join("\n"));

    let log = instance.end().await;
    let lines: Vec<Value> = log
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect();
    for (line, times) in [
        ("a tool does not answer", CALLS.len() - 1),
        ("a server of tools does not answer", 1),
        ("a provider did not answer", 2),
    ] {
        let found = lines.iter().filter(|one| one["message"] == line).count();
        assert!(found >= times, "{found} of {line:?} in {log}");
    }
    marks.must_not_be_in("the log", &log);
    let rows = rows(&app).await;
    assert!(rows.contains("Ask everybody."), "{rows}");
    marks.must_not_be_in("the rows", &rows);
    // Bytes are shown as hex.
    for secret in marks.0.keys() {
        assert!(!rows.contains(&hex::encode(secret)), "{}", marks.0[secret]);
    }
    app.finish().await;
}
