//! Telling a client's server.

use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use chrono::{DateTime, SecondsFormat, Utc};
use reqwest::{
    StatusCode,
    header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER},
};
use serde_json::json;
use shared::{
    clients::outbound::{Answer, Limits, SendError},
    jobs::DeliverWebhook,
    models::{
        delivery::{self, Try},
        event, webhook,
    },
    queue::End,
};
use url::Url;

use super::{Failure, Outcome, Run};
use crate::{context::JobContext, signature};

const LIMITS: Limits = Limits {
    timeout: Duration::from_secs(10),
    max_answer_bytes: 64 * 1024,
};
/// How much of an answer is kept, in bytes: enough to see what the server complained about.
const KEPT_ANSWER: usize = 2048;
/// Longest wait that an endpoint may ask for.
const LONGEST_RETRY_AFTER: Duration = Duration::from_hours(24);

impl Run for DeliverWebhook {
    async fn run(self, ctx: &JobContext) -> anyhow::Result<Outcome> {
        let Some(open) = delivery::find_open(&ctx.db, self.delivery).await? else {
            return Ok(Outcome::Discard(
                "the delivery has ended or its endpoint was deleted",
            ));
        };
        let endpoint = webhook::find_for_any_user(&ctx.db, open.webhook_id).await?;
        let event = event::find_for_any_user(&ctx.db, open.event_id).await?;
        let (Some(endpoint), Some(event)) = (endpoint, event) else {
            return Ok(Outcome::Discard("the endpoint was deleted"));
        };
        if !endpoint.is_active {
            let mut tx = ctx.fenced().await?;
            delivery::close(&mut tx, open.id, &End::Cancelled).await?;
            return tx
                .done(Some(json!({ "discarded": "the endpoint is switched off" })))
                .await;
        }

        let started_at = ctx.clock.now();
        let body = payload(&event);
        let secret = endpoint.open_secret(&ctx.keyring)?;
        let headers = headers(&open, &event, &secret, started_at, &body)?;
        let url = Url::parse(&endpoint.url)
            .context("an endpoint's URL was checked when it was stored")?;
        let begun = tokio::time::Instant::now();
        let reply = ctx.outbound.post(&url, headers, body, LIMITS).await;

        let failure = failure(&reply, started_at);
        let mut tx = ctx.fenced().await?; // this run still owns the job, or it stops here
        let attempt = record(
            ctx.attempt(),
            &reply,
            failure.as_ref(),
            started_at,
            begun.elapsed(),
        );
        delivery::record(&mut tx, open.id, attempt).await?;
        match (&reply, failure) {
            (_, None) => {
                delivery::succeed(&mut tx, open.id, ctx.clock.now()).await?;
                tx.done(None).await
            }
            (
                Ok(Answer {
                    status: StatusCode::GONE,
                    ..
                }),
                Some(failure),
            ) => {
                webhook::disable(
                    &mut tx,
                    endpoint.id,
                    "the endpoint answered 410 Gone",
                    ctx.clock.now(),
                )
                .await?;
                tx.fail(&failure).await
            }
            (_, Some(failure)) => tx.fail(&failure).await,
        }
    }
}

/// The same bytes on every try.
fn payload(event: &event::Model) -> Bytes {
    let timestamp = event
        .created_at
        .to_rfc3339_opts(SecondsFormat::Micros, true);
    let body = json!({ "type": event.kind, "timestamp": timestamp, "data": event.data });
    body.to_string().into()
}

fn headers(
    delivery: &delivery::Model,
    event: &event::Model,
    secret: &str,
    now: DateTime<Utc>,
    body: &[u8],
) -> anyhow::Result<HeaderMap> {
    let (id, timestamp) = (event.id.to_string(), now.timestamp());
    let standard = signature::standard(secret, &id, timestamp, body)
        .context("a stored secret is not one of ours")?;
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    for (name, value) in [
        ("webhook-id", id),
        ("webhook-timestamp", timestamp.to_string()),
        ("webhook-signature", standard),
        ("x-baatcheet-signature", signature::plain(secret, body)),
        ("x-baatcheet-event", event.kind.clone()),
        ("x-baatcheet-delivery-id", delivery.id.to_string()),
    ] {
        headers.insert(HeaderName::from_static(name), HeaderValue::try_from(value)?);
    }
    Ok(headers)
}

/// Why a try did not succeed, if it did not. Only 2xx is success (Standard Webhooks 1.0.0, "Deliverability").
fn failure(reply: &Result<Answer, SendError>, now: DateTime<Utc>) -> Option<Failure> {
    match reply {
        Ok(answer) if answer.status.is_success() => None,
        Ok(answer) if answer.status == StatusCode::GONE => Some(Failure::Permanent(
            "the endpoint answered 410 Gone and was switched off".to_owned(),
        )),
        Ok(answer) => Some(Failure::Temporary {
            reason: format!("the endpoint answered {}", answer.status.as_u16()),
            retry_after: retry_after(&answer.headers, now),
        }),
        Err(SendError::Blocked(refused)) => Some(Failure::Permanent(format!("blocked: {refused}"))),
        Err(error) => Some(Failure::Temporary {
            reason: error.to_string(),
            retry_after: None,
        }),
    }
}

/// `Retry-After`, in seconds or as a date (RFC 9110 §10.2.3), within a day.
fn retry_after(headers: &HeaderMap, now: DateTime<Utc>) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = match text.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => (DateTime::parse_from_rfc2822(text).ok()?.to_utc() - now)
            .to_std()
            .ok()?,
    };
    Some(wait.min(LONGEST_RETRY_AFTER))
}

fn record(
    attempt: i32,
    reply: &Result<Answer, SendError>,
    failure: Option<&Failure>,
    started_at: DateTime<Utc>,
    took: Duration,
) -> Try {
    let answer = reply.as_ref().ok();
    Try {
        attempt,
        status_code: answer.map_or(0, |answer| answer.status.as_u16()),
        error: failure.map(ToString::to_string),
        response_body: answer.map(|answer| {
            let kept = &answer.body[..answer.body.len().min(KEPT_ANSWER)];
            // Postgres refuses U+0000 in text.
            String::from_utf8_lossy(kept).replace('\0', "\u{fffd}")
        }),
        duration_ms: i32::try_from(took.as_millis()).unwrap_or(i32::MAX),
        started_at,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(value: &str) -> Option<Duration> {
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, value.parse().unwrap());
        retry_after(&headers, DateTime::from_timestamp(784_111_777, 0).unwrap())
    }

    #[test]
    fn retry_after_is_read_in_both_forms_and_bounded() {
        assert_eq!(asked("120"), Some(Duration::from_mins(2)));
        // RFC 9110 §5.6.7 writes 784111777 as Sun, 06 Nov 1994 08:49:37 GMT.
        assert_eq!(
            asked("Sun, 06 Nov 1994 08:50:37 GMT"),
            Some(Duration::from_mins(1))
        );
        assert_eq!(asked("99999999999"), Some(LONGEST_RETRY_AFTER));
        assert_eq!(asked("Sun, 06 Nov 1994 08:40:37 GMT"), None);
        assert_eq!(asked("soon"), None);
    }
}
