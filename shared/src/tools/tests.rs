use std::collections::BTreeSet;

use crate::{
    config::{Problems, RedisConfig, ToolArgs},
    tokens::Encoding,
};

use super::*;

fn redis() -> Redis {
    Redis::connect(&RedisConfig {
        url: "redis://127.0.0.1:9".into(),
        tls_insecure: false,
        ca: None,
        prefix: String::new(),
    })
    .unwrap()
}

fn tools(args: &ToolArgs) -> Tools {
    let config = args.check(&mut Problems::default());
    let tasks = TaskTracker::new();
    Tools::new(&config, "BaatCheet/test", &redis(), Clock::System, &tasks).unwrap()
}

fn names(tools: &Tools) -> Vec<String> {
    let offered = tools.offered();
    offered.iter().map(|tool| tool.name.clone()).collect()
}

#[tokio::test]
async fn only_what_is_configured_is_offered() {
    let key = || Some("k".to_owned());
    let none = ToolArgs {
        nominatim_base_url: Some("off".to_owned()),
        ..ToolArgs::default()
    };
    assert!(names(&tools(&none)).is_empty());
    assert_eq!(names(&tools(&ToolArgs::default())), ["places"]);
    let all = tools(&ToolArgs {
        openweather_api_key: key(),
        exchange_rate_api_key: key(),
        news_api_key: key(),
        tavily_api_key: key(),
        google_places_api_key: key(),
        ..ToolArgs::default()
    });
    assert_eq!(
        names(&all),
        ["weather", "currency", "news", "web_search", "places"]
    );
    let minutes: Vec<u64> = all
        .offered()
        .iter()
        .map(|tool| tool.lifetime.unwrap().as_secs() / 60)
        .collect();
    assert_eq!(minutes, [10, 5, 15, 30, 60]);
    let kinds: BTreeSet<String> = all
        .offered()
        .iter()
        .map(|tool| tool.parameters["type"].to_string())
        .collect();
    assert_eq!(kinds.len(), 1, "{kinds:?}");
}

#[tokio::test]
async fn what_models_are_told_of_a_tool_is_counted_once() {
    let tools = tools(&ToolArgs::default());
    let places = tools.offered().remove(0);
    let tokens = places.tokens(Encoding::O200k).await;
    let schema = Encoding::O200k.count(&places.parameters.to_string());
    assert!(tokens as usize > schema + Encoding::O200k.count(&places.description));
    // Whatever it would be now.
    assert_eq!(places.tokens(Encoding::Cl100k).await, tokens);
}

#[tokio::test]
async fn wrong_arguments_are_told_and_nobody_is_asked() {
    let tools = tools(&ToolArgs::default());
    let places = tools.offered().remove(0);
    for arguments in ["", "{}", "[]", r#"{"query":7}"#, r#"{"query":"x","and":1}"#] {
        let called = tools.call(&places, arguments).await;
        assert_eq!(called.outcome, Outcome::Invalid, "{arguments}");
        assert!(called.text.starts_with("The arguments are not valid"));
    }
}

#[test]
fn whole_numbers_may_be_written_with_a_point() {
    let arguments: Map<String, Value> = serde_json::from_str(r#"{"a":2,"b":3.0}"#).unwrap();
    let read = |name| number(&arguments, name, 9);
    assert_eq!((read("a"), read("b"), read("c")), (2, 3, 9));
}
