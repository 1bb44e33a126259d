//! The weather at a place, now or in the next days, by `OpenWeather`.
//!
//! Sources: <https://openweathermap.org/current> and <https://openweathermap.org/forecast5>, read in November 2026.

use async_trait::async_trait;
use chrono::DateTime;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Map, Value, json};
use url::Url;

use super::{
    Answer, Executor, Tool, ToolError, answer,
    http::{self, Http},
    number, text,
};
use crate::config::ServiceConfig;

/// How long its results are remembered.
const MINUTES: u64 = 10;
/// Most days of a forecast; there are five, of three hours each.
const DAYS_MAX: usize = 5;

/// The tool.
pub(super) fn tool(service: &ServiceConfig, http: &Http) -> Tool {
    let parameters = json!({
        "type": "object",
        "properties": {
            "location": { "type": "string", "minLength": 1, "maxLength": 100,
                "description": "A city, with its country where that is not clear, like: Lahore, PK" },
            "days": { "type": "integer", "minimum": 0, "maximum": DAYS_MAX,
                "description": "0 for the weather now, or for how many days a forecast is wanted" },
            "units": { "type": "string", "enum": ["metric", "imperial"] },
        },
        "required": ["location"],
        "additionalProperties": false,
    });
    let weather = Weather {
        now: service.at("weather"),
        forecast: service.at("forecast"),
        key: service.key.clone(),
        http: http.clone(),
    };
    Tool::builtin(
        "weather",
        "Tells the weather at a place: as it is now, or a forecast of up to five days.",
        parameters,
        MINUTES,
        weather,
    )
}

struct Weather {
    now: Url,
    forecast: Url,
    key: SecretString,
    http: Http,
}

#[async_trait]
impl Executor for Weather {
    async fn run(&self, arguments: &Map<String, Value>) -> Result<Answer, ToolError> {
        let location = text(arguments, "location").unwrap_or_default();
        let units = text(arguments, "units").unwrap_or("metric");
        let days = usize::try_from(number(arguments, "days", 0)).unwrap_or(DAYS_MAX);
        let mut url = if days == 0 { &self.now } else { &self.forecast }.clone();
        url.query_pairs_mut()
            .append_pair("q", location)
            .append_pair("units", units)
            .append_pair("appid", self.key.expose_secret());
        let said = match http::ask(self.http.get(url)).await {
            Err(ToolError::Refused { status: 404, .. }) => {
                return Ok(answer(
                    &json!({ "error": format!("no place named {location} is known") }),
                ));
            }
            said => said?,
        };
        let units = match units {
            "imperial" => json!({ "temperature": "°F", "wind": "miles/h" }),
            _ => json!({ "temperature": "°C", "wind": "m/s" }),
        };
        Ok(answer(&if days == 0 {
            now(&said, &units)
        } else {
            forecast(&said, &units, days)
        }))
    }
}

fn now(said: &Value, units: &Value) -> Value {
    json!({
        "location": place(&said["name"], &said["sys"]["country"]),
        "time": said["dt"].as_i64().and_then(|at| DateTime::from_timestamp(at, 0)),
        "weather": said["weather"][0]["description"],
        "temperature": said["main"]["temp"],
        "feelsLike": said["main"]["feels_like"],
        "humidityPercent": said["main"]["humidity"],
        "pressureHpa": said["main"]["pressure"],
        "windSpeed": said["wind"]["speed"],
        "cloudsPercent": said["clouds"]["all"],
        "units": units,
    })
}

/// Of each day (UTC) the lowest and highest temperature, the weather at noon or nearest to it, and the highest chance of rain.
fn forecast(said: &Value, units: &Value, days: usize) -> Value {
    let mut told: Vec<(String, Vec<&Value>)> = Vec::new();
    for hours in said["list"].as_array().into_iter().flatten() {
        let day = hours["dt_txt"].as_str().unwrap_or_default();
        let day: String = day.chars().take(10).collect();
        match told.last_mut() {
            Some((known, all)) if *known == day => all.push(hours),
            _ => told.push((day, vec![hours])),
        }
    }
    let days: Vec<Value> = told
        .iter()
        .take(days)
        .map(|(day, hours)| of_day(day, hours))
        .collect();
    json!({
        "location": place(&said["city"]["name"], &said["city"]["country"]),
        "days": days,
        "units": units,
    })
}

fn of_day(day: &str, hours: &[&Value]) -> Value {
    let numbers = |path: &str| -> Vec<f64> {
        hours
            .iter()
            .filter_map(|hours| hours.pointer(path)?.as_f64())
            .collect()
    };
    let lowest = numbers("/main/temp_min").into_iter().reduce(f64::min);
    let highest = numbers("/main/temp_max").into_iter().reduce(f64::max);
    let rain = numbers("/pop").into_iter().reduce(f64::max);
    let is_noon = |hours: &&&Value| {
        let time = hours["dt_txt"].as_str().unwrap_or_default();
        time.ends_with("12:00:00")
    };
    let noon = hours.iter().find(is_noon).or(hours.last());
    json!({
        "date": day,
        "weather": noon.map(|hours| &hours["weather"][0]["description"]),
        "lowest": lowest,
        "highest": highest,
        "chanceOfRainPercent": rain.map(|rain| (rain * 100.0).round()),
    })
}

fn place(name: &Value, country: &Value) -> String {
    let parts = [name.as_str(), country.as_str()];
    let parts: Vec<&str> = parts.into_iter().flatten().collect();
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hours_become_days() {
        let hours = |time: &str, low: f64, high: f64, rain: f64, said: &str| {
            json!({ "dt_txt": time, "main": { "temp_min": low, "temp_max": high }, "pop": rain,
                    "weather": [{ "description": said }] })
        };
        let said = json!({ "city": { "name": "Lahore", "country": "PK" }, "list": [
            hours("2026-11-28 09:00:00", 12.5, 14.0, 0.1, "mist"),
            hours("2026-11-28 12:00:00", 13.0, 21.5, 0.0, "clear sky"),
            hours("2026-11-28 15:00:00", 13.0, 20.0, 0.4, "haze"),
            hours("2026-11-29 00:00:00", 9.0, 10.0, 0.0, "fog"),
            hours("2026-11-30 00:00:00", 8.0, 9.0, 0.0, "fog"),
        ] });
        let told = forecast(&said, &json!({}), 2);
        assert_eq!(told["location"], "Lahore, PK");
        assert_eq!(told["days"].as_array().unwrap().len(), 2);
        assert_eq!(
            told["days"][0],
            json!({ "date": "2026-11-28", "weather": "clear sky", "lowest": 12.5, "highest": 21.5,
                    "chanceOfRainPercent": 40.0 })
        );
        assert_eq!(told["days"][1]["weather"], "fog");
    }

    #[test]
    fn what_is_missing_is_null() {
        let told = now(&json!({}), &json!({}));
        assert_eq!(told["temperature"], Value::Null);
        assert_eq!(told["location"], "");
        assert_eq!(
            forecast(&json!({ "list": 7 }), &json!({}), 3)["days"],
            json!([])
        );
    }
}
