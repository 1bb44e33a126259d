//! What is in the news, by `NewsAPI`.
//!
//! Sources: <https://newsapi.org/docs/endpoints/everything> and <https://newsapi.org/docs/errors>, read in November 2026.

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
const MINUTES: u64 = 15;
/// Most articles, and characters of the text of each.
const ARTICLES_MAX: u64 = 10;
const TEXT_MAX: usize = 500;
/// Languages that it has.
const LANGUAGES: [&str; 14] = [
    "ar", "de", "en", "es", "fr", "he", "it", "nl", "no", "pt", "ru", "sv", "ud", "zh",
];

/// The tool.
pub(super) fn tool(service: &ServiceConfig, http: &Http) -> Tool {
    let parameters = json!({
        "type": "object",
        "properties": {
            "query": { "type": "string", "minLength": 1, "maxLength": 500, "description": "Words to look for" },
            "language": { "type": "string", "enum": LANGUAGES },
            "count": { "type": "integer", "minimum": 1, "maximum": ARTICLES_MAX, "description": "5 unless given" },
        },
        "required": ["query"],
        "additionalProperties": false,
    });
    let news = News {
        url: service.at("everything"),
        key: service.key.clone(),
        http: http.clone(),
    };
    Tool::builtin(
        "news",
        "Finds recent news articles, newest first, with their sources and addresses.",
        parameters,
        MINUTES,
        news,
    )
}

struct News {
    url: Url,
    key: SecretString,
    http: Http,
}

#[async_trait]
impl Executor for News {
    async fn run(&self, arguments: &Map<String, Value>) -> Result<Answer, ToolError> {
        let count = number(arguments, "count", 5).min(ARTICLES_MAX);
        let mut url = self.url.clone();
        url.query_pairs_mut()
            .append_pair("q", text(arguments, "query").unwrap_or_default())
            .append_pair("sortBy", "publishedAt")
            .append_pair("pageSize", &count.to_string());
        if let Some(language) = text(arguments, "language") {
            url.query_pairs_mut().append_pair("language", language);
        }
        let request = self.http.get(url);
        let request = request.header("x-api-key", self.key.expose_secret());
        let said = http::ask(request).await?;
        let articles = said["articles"].as_array();
        let articles = articles.map_or(&[][..], Vec::as_slice).iter();
        let articles: Vec<Value> = articles
            .take(usize::try_from(count).unwrap_or(usize::MAX))
            .map(article)
            .collect();
        Ok(answer(&json!({ "articles": articles })))
    }
}

fn article(article: &Value) -> Value {
    let shown = |name: &str| article[name].as_str().map(|text| cut(text, TEXT_MAX));
    json!({
        "title": shown("title"),
        "source": article["source"]["name"].as_str().map(|text| cut(text, TEXT_MAX)),
        "publishedAt": shown("publishedAt"),
        "url": shown("url"),
        "description": shown("description"),
    })
}
