//! Where places are: by Google's Places API where there is a key, else by Nominatim, which wants none.
//!
//! Sources: <https://nominatim.org/release-docs/latest/api/Search/>,
//! <https://operations.osmfoundation.org/policies/nominatim/> and
//! <https://developers.google.com/maps/documentation/places/web-service/text-search>, read in November 2026.

use std::time::Duration;

use async_trait::async_trait;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Map, Value, json};
use tokio::{sync::Mutex, time::Instant};
use url::Url;

use super::{
    Answer, Executor, Tool, ToolError, answer,
    http::{self, Http},
    number,
    output::cut,
    text,
};
use crate::{config::ToolsConfig, redis::Redis};

/// How long its results are remembered.
const MINUTES: u64 = 60;
/// Most places, and characters of each text.
const PLACES_MAX: u64 = 10;
const TEXT_MAX: usize = 300;
/// What Nominatim's policy asks for: one question in a second, of all instances together.
const PACE: Duration = Duration::from_secs(1);
/// How long a turn is waited for, and how often it is looked.
const PATIENCE: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_millis(100);
/// What Google is asked for; it answers nothing else.
const FIELDS: &str = "places.displayName,places.formattedAddress,places.location,places.rating,places.userRatingCount,\
                      places.websiteUri,places.googleMapsUri,places.primaryType";
/// What the licence of its data asks for.
const ATTRIBUTION: &str = "© OpenStreetMap contributors";

/// The tool, if somebody can be asked.
pub(super) fn tool(config: &ToolsConfig, http: &Http, redis: &Redis) -> Option<Tool> {
    let make = |executor: Box<dyn Executor>| {
        let parameters = json!({
            "type": "object",
            "properties": {
                "query": { "type": "string", "minLength": 1, "maxLength": 200,
                    "description": "A name, an address, or a kind of place and where, like: museums in Delhi" },
                "count": { "type": "integer", "minimum": 1, "maximum": PLACES_MAX, "description": "5 unless given" },
                "language": { "type": "string", "minLength": 2, "maxLength": 10,
                    "description": "Of the names and addresses, like en or ur" },
            },
            "required": ["query"],
            "additionalProperties": false,
        });
        Tool::builtin(
            "places",
            "Finds places by name, address or kind, and tells their addresses and coordinates.",
            parameters,
            MINUTES,
            Whoever(executor),
        )
    };
    if let Some(service) = &config.google_places {
        return Some(make(Box::new(Google {
            url: service.at("places:searchText"),
            key: service.key.clone(),
            http: http.clone(),
        })));
    }
    config.nominatim.as_ref().map(|base| {
        make(Box::new(Nominatim {
            url: http::at(base, "search"),
            http: http.clone(),
            pace: Pace {
                redis: redis.clone(),
                last: Mutex::new(None),
            },
        }))
    })
}

/// One of the two.
struct Whoever(Box<dyn Executor>);

#[async_trait]
impl Executor for Whoever {
    async fn run(&self, arguments: &Map<String, Value>) -> Result<Answer, ToolError> {
        self.0.run(arguments).await
    }
}

struct Google {
    url: Url,
    key: SecretString,
    http: Http,
}

#[async_trait]
impl Executor for Google {
    async fn run(&self, arguments: &Map<String, Value>) -> Result<Answer, ToolError> {
        let count = number(arguments, "count", 5).min(PLACES_MAX);
        let mut body = json!({ "textQuery": text(arguments, "query"), "pageSize": count });
        if let Some(language) = text(arguments, "language") {
            body["languageCode"] = language.into();
        }
        let request = self.http.post(self.url.clone()).json(&body);
        let request = request
            .header("x-goog-api-key", self.key.expose_secret())
            .header("x-goog-fieldmask", FIELDS);
        let said = http::ask(request).await?;
        let places = shown(&said["places"], count, |place| {
            json!({
                "name": line(&place["displayName"]["text"]),
                "address": line(&place["formattedAddress"]),
                "kind": line(&place["primaryType"]),
                "latitude": place["location"]["latitude"].as_f64(),
                "longitude": place["location"]["longitude"].as_f64(),
                "rating": place["rating"].as_f64(),
                "ratings": place["userRatingCount"].as_u64(),
                "website": line(&place["websiteUri"]),
                "map": line(&place["googleMapsUri"]),
            })
        });
        Ok(answer(&json!({ "places": places })))
    }
}

struct Nominatim {
    url: Url,
    http: Http,
    pace: Pace,
}

#[async_trait]
impl Executor for Nominatim {
    async fn run(&self, arguments: &Map<String, Value>) -> Result<Answer, ToolError> {
        let count = number(arguments, "count", 5).min(PLACES_MAX);
        let mut url = self.url.clone();
        url.query_pairs_mut()
            .append_pair("q", text(arguments, "query").unwrap_or_default())
            .append_pair("format", "jsonv2")
            .append_pair("limit", &count.to_string());
        if let Some(language) = text(arguments, "language") {
            url.query_pairs_mut()
                .append_pair("accept-language", language);
        }
        self.pace.turn().await?;
        let said = http::ask(self.http.get(url)).await?;
        let places = shown(&said, count, |place| {
            // It writes coordinates as texts.
            let number = |name: &str| {
                place[name]
                    .as_str()
                    .and_then(|text| text.parse::<f64>().ok())
            };
            json!({
                "name": line(&place["name"]),
                "address": line(&place["display_name"]),
                "kind": line(&place["type"]),
                "latitude": number("lat"),
                "longitude": number("lon"),
            })
        });
        Ok(answer(
            &json!({ "places": places, "attribution": ATTRIBUTION }),
        ))
    }
}

/// Lets one after the other through.
struct Pace {
    redis: Redis,
    /// When the last one of this process was let through.
    last: Mutex<Option<Instant>>,
}

impl Pace {
    /// Waits for a turn.
    ///
    /// # Errors
    /// [`ToolError::Busy`] where too many wait.
    async fn turn(&self) -> Result<(), ToolError> {
        let until = Instant::now() + PATIENCE;
        let last = tokio::time::timeout_at(until, self.last.lock()).await;
        let mut last = last.map_err(|_| ToolError::Busy)?;
        if let Some(last) = *last {
            tokio::time::sleep_until(last + PACE).await;
        }
        let key = self.redis.keys().tool_turn("nominatim");
        // Without Redis each process keeps the pace by itself.
        while let Ok(false) = self.redis.claim(&key, b"1".to_vec(), PACE).await {
            if Instant::now() >= until {
                return Err(ToolError::Busy);
            }
            tokio::time::sleep(LOOK).await;
        }
        *last = Some(Instant::now());
        Ok(())
    }
}

fn shown(places: &Value, count: u64, show: impl Fn(&Value) -> Value) -> Vec<Value> {
    let places = places.as_array();
    let places = places.map_or(&[][..], Vec::as_slice).iter();
    places
        .take(usize::try_from(count).unwrap_or(usize::MAX))
        .map(show)
        .collect()
}

fn line(text: &Value) -> Option<String> {
    text.as_str().map(|text| cut(text, TEXT_MAX))
}
