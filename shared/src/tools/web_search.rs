//! Pages of the web, by Tavily.
//!
//! Source: <https://docs.tavily.com/documentation/api-reference/endpoint/search>, read in November 2026.

use async_trait::async_trait;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Map, Value, json};
use url::Url;

use super::{
    Answer, Executor, Tool, ToolError, answer,
    http::{self, Http},
    number,
    output::cut,
    text,
};
use crate::config::ServiceConfig;

/// How long its results are remembered.
const MINUTES: u64 = 30;
/// Most pages, and characters of the text of each.
const PAGES_MAX: u64 = 10;
const TEXT_MAX: usize = 1_200;
/// Longest address and title.
const LINE_MAX: usize = 500;

/// The tool.
pub(super) fn tool(service: &ServiceConfig, http: &Http) -> Tool {
    let parameters = json!({
        "type": "object",
        "properties": {
            "query": { "type": "string", "minLength": 1, "maxLength": 400, "description": "What to look for" },
            "count": { "type": "integer", "minimum": 1, "maximum": PAGES_MAX, "description": "5 unless given" },
            "topic": { "type": "string", "enum": ["general", "news", "finance"] },
        },
        "required": ["query"],
        "additionalProperties": false,
    });
    let search = WebSearch {
        url: service.at("search"),
        key: service.key.clone(),
        http: http.clone(),
    };
    Tool::builtin(
        "web_search",
        "Searches the web, and tells the best pages with their addresses and what they say.",
        parameters,
        MINUTES,
        search,
    )
}

struct WebSearch {
    url: Url,
    key: SecretString,
    http: Http,
}

#[async_trait]
impl Executor for WebSearch {
    async fn run(&self, arguments: &Map<String, Value>) -> Result<Answer, ToolError> {
        let count = number(arguments, "count", 5).min(PAGES_MAX);
        let body = json!({
            "query": text(arguments, "query"),
            "topic": text(arguments, "topic").unwrap_or("general"),
            "search_depth": "basic",
            "max_results": count,
        });
        let request = self.http.post(self.url.clone()).json(&body);
        let request = request.bearer_auth(self.key.expose_secret());
        let said = http::ask(request).await?;
        let pages = said["results"].as_array();
        let pages = pages.map_or(&[][..], Vec::as_slice).iter();
        let pages: Vec<Value> = pages
            .take(usize::try_from(count).unwrap_or(usize::MAX))
            .map(page)
            .collect();
        Ok(answer(&json!({ "results": pages })))
    }
}

fn page(page: &Value) -> Value {
    let shown = |name: &str, most| page[name].as_str().map(|text| cut(text, most));
    json!({
        "title": shown("title", LINE_MAX),
        "url": shown("url", LINE_MAX),
        "content": shown("content", TEXT_MAX),
    })
}
