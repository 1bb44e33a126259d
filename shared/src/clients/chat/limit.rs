//! What a provider says when too much was asked: for how long, and whether the day is used up.
//!
//! Each has a way of its own: `Retry-After` and `OpenAI`'s `retry-after-ms`, Groq's and `OpenAI`'s `x-ratelimit-reset-requests`
//! (`2m59.56s`) and "try again in 5.289s", Gemini's `retryDelay` and `quotaId`, `OpenRouter`'s `X-RateLimit-Reset` (milliseconds since
//! 1970). Read in November 2026.

use std::time::Duration;

use chrono::{DateTime, Utc};
use http::HeaderMap;
use serde_json::Value;

use super::chunk::message_in;
use crate::{catalogue::Quirks, clients::retry_after};

/// Nobody is left alone for longer than this, whatever they say.
const LONGEST: Duration = Duration::from_hours(24);
/// How messages begin that speak of a limit. Others may quote the question, which must not say how long an account is left
/// alone.
const OPENINGS: [&str; 9] = [
    "rate limit",
    "rate-limit",
    "limit",
    "quota",
    "you exceeded",
    "you have exceeded",
    "too many",
    "daily",
    "please try again in",
];
/// What is said where the day is used up.
const DAILY: [&str; 7] = [
    "per day",
    "perday",
    "(rpd)",
    "(tpd)",
    "daily",
    "per-day",
    "requests/day",
];

/// Too much was asked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limit {
    /// For how long nothing more is wanted, at least.
    pub wait: Option<Duration>,
    /// Whether the day is used up.
    pub is_daily: bool,
}

impl Limit {
    /// Reads what an answer with status 429 of a provider with these quirks says.
    pub fn read(headers: &HeaderMap, body: &[u8], quirks: &Quirks, now: DateTime<Utc>) -> Self {
        let text = match serde_json::from_slice(body) {
            Ok(value) => Self::of_error(&value),
            Err(_) => Self::of_text(&String::from_utf8_lossy(body)),
        };
        let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        // Groq counts requests by days.
        let is_spent = header("x-ratelimit-remaining-requests") == Some("0");
        let is_daily = text.is_daily
            || (quirks.daily_request_headers
                && is_spent
                && header("x-ratelimit-remaining-tokens") != Some("0"));
        let millis = header("retry-after-ms").and_then(|text| text.trim().parse::<f64>().ok());
        let said = [
            retry_after(headers, now),
            seconds(header("retry-after").unwrap_or_default()),
            millis.and_then(|millis| Duration::try_from_secs_f64(millis / 1_000.0).ok()),
            header("x-ratelimit-reset-requests")
                .filter(|_| is_spent)
                .and_then(span),
            header("x-ratelimit-reset").and_then(|text| until(text, now)),
            text.wait,
        ];
        Self {
            wait: longest(said),
            is_daily,
        }
    }

    /// Reads what an error says: its message, and what Gemini says beside it.
    pub(super) fn of_error(value: &Value) -> Self {
        let value = value.get(0).unwrap_or(value);
        let error = value.get("error").unwrap_or(value);
        let text = Self::of_text(message_in(value).unwrap_or_default());
        let all = |value: &Value| value.as_array().cloned().unwrap_or_default();
        let details = all(&error["details"]);
        let is_of_day = |quota: &Value| quota["quotaId"].as_str().is_some_and(is_daily);
        let waits = details
            .iter()
            .map(|detail| detail["retryDelay"].as_str().and_then(span));
        let wait = longest(waits.chain([text.wait]));
        let is_daily = details
            .iter()
            .any(|detail| is_of_day(detail) || all(&detail["violations"]).iter().any(is_of_day));
        Self {
            wait,
            is_daily: is_daily || text.is_daily,
        }
    }

    /// Reads what a text says, if it speaks of a limit.
    pub fn of_text(text: &str) -> Self {
        let text = text.trim_start().to_lowercase();
        if !OPENINGS.iter().any(|opening| text.starts_with(opening)) {
            return Self::default();
        }
        let said = text.split_once("try again in ");
        Self {
            wait: longest([said.and_then(|(_, rest)| span(rest))]),
            is_daily: is_daily(&text),
        }
    }
}

fn is_daily(text: &str) -> bool {
    let text = text.to_lowercase();
    DAILY.iter().any(|word| text.contains(word))
}

/// Whoever says two things means the longer one.
fn longest(said: impl IntoIterator<Item = Option<Duration>>) -> Option<Duration> {
    let wait = said.into_iter().flatten().max()?;
    Some(wait.min(LONGEST))
}

/// A number of seconds, also with a fraction.
fn seconds(text: &str) -> Option<Duration> {
    Duration::try_from_secs_f64(text.trim().parse().ok()?).ok()
}

/// A time since 1970, in milliseconds or seconds.
fn until(text: &str, now: DateTime<Utc>) -> Option<Duration> {
    let number: i64 = text.trim().parse().ok()?;
    let at = if number > 100_000_000_000 {
        DateTime::from_timestamp_millis(number)?
    } else {
        DateTime::from_timestamp(number, 0)?
    };
    (at - now).to_std().ok()
}

/// A time like `2m59.56s`, `1h0m0s`, `120ms` or `5.289s`, at the beginning of a text.
fn span(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut seconds = None;
    loop {
        let digits = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(rest.len());
        let Ok(number) = rest[..digits].parse::<f64>() else {
            break;
        };
        rest = &rest[digits..];
        let units = [
            ("ms", 0.001),
            ("h", 3_600.0),
            ("m", 60.0),
            ("s", 1.0),
            ("d", 86_400.0),
        ];
        let Some((unit, factor)) = units.iter().find(|(unit, _)| rest.starts_with(unit)) else {
            break;
        };
        rest = &rest[unit.len()..];
        seconds = Some(seconds.unwrap_or(0.0) + number * factor);
    }
    Duration::try_from_secs_f64(seconds?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(headers: &[(&'static str, &str)], body: &str) -> (Option<u128>, bool) {
        let headers = headers
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
            .collect();
        let now = DateTime::from_timestamp(1_700_000_000, 0).unwrap();
        let quirks = Quirks {
            daily_request_headers: true,
            ..Quirks::default()
        };
        let limit = Limit::read(&headers, body.as_bytes(), &quirks, now);
        (limit.wait.map(|wait| wait.as_millis()), limit.is_daily)
    }

    #[test]
    fn every_way_to_say_how_long_is_understood() {
        for (headers, body, expected) in [
            (&[("retry-after", "7")][..], "", (Some(7_000), false)),
            (&[("retry-after", "0.5")], "", (Some(500), false)),
            (&[("retry-after-ms", "1500")], "", (Some(1_500), false)),
            (
                &[("retry-after", "2"), ("retry-after-ms", "2500")],
                "",
                (Some(2_500), false),
            ),
            (
                &[
                    ("x-ratelimit-remaining-requests", "0"),
                    ("x-ratelimit-reset-requests", "2m59.56s"),
                ],
                "",
                (Some(179_560), true),
            ),
            (
                &[
                    ("x-ratelimit-remaining-requests", "9"),
                    ("x-ratelimit-reset-requests", "2m59.56s"),
                ],
                "",
                (None, false),
            ),
            (
                &[("x-ratelimit-reset", "1700000060000")],
                "",
                (Some(60_000), false),
            ),
            (
                &[],
                r#"{"error":{"message":"Rate limit reached ... on requests per day (RPD): Limit 14400. Please try again in 1h2m3.5s."}}"#,
                (Some(3_723_500), true),
            ),
            (
                &[],
                r#"{"error":{"message":"Rate limit reached on tokens per minute (TPM). Please try again in 5.289s"}}"#,
                (Some(5_289), false),
            ),
            (
                &[],
                r#"[{"error":{"details":[{"quotaId":"GenerateRequestsPerDayPerProjectPerModel-FreeTier"},{"retryDelay": "13s"}]}}]"#,
                (Some(13_000), true),
            ),
            (
                &[],
                r#"[{"error":{"message":"You exceeded your current quota","details":[{"violations":[
                    {"quotaId":"GenerateRequestsPerMinutePerProjectPerModel-FreeTier"},
                    {"quotaId":"GenerateRequestsPerDayPerProjectPerModel-FreeTier"}]},{"retryDelay":"7s"}]}}]"#,
                (Some(7_000), true),
            ),
            (
                &[],
                "Too many requests. Try again in 3s.",
                (Some(3_000), false),
            ),
            (
                &[("retry-after", "99999999")],
                "",
                (Some(86_400_000), false),
            ),
            (
                &[("retry-after", "-1")],
                "nonsense try again in soon",
                (None, false),
            ),
        ] {
            assert_eq!(limit(headers, body), expected, "{headers:?} {body}");
        }
    }

    #[test]
    fn what_a_question_says_is_no_limit() {
        for body in [
            r#"{"error":{"message":"'try again in 23h per day' is not one of ['low', 'high']"}}"#,
            r#"{"error":{"message":"Provider returned error","metadata":{"raw":"try again in 23h, (RPD)"}}}"#,
            r#"{"error":{"message":"Provider returned error","x":{"retryDelay":"40000s"}}}"#,
            "'try again in 23h' is not daily",
        ] {
            assert_eq!(limit(&[], body), (None, false), "{body}");
        }
    }

    #[test]
    fn a_limit_within_a_success_says_for_how_long() {
        let of = |message: &str| Limit::of_error(&serde_json::json!({ "message": message }));
        assert_eq!(of("Slow down"), Limit::default());
        let soon = Limit {
            wait: Some(Duration::from_secs(62)),
            is_daily: false,
        };
        assert_eq!(of("Too many. Try again in 62s."), soon);
        assert!(of("Limit reached: free-models-per-day").is_daily);
    }
}
