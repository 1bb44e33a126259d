//! Telling a client's server.

use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use reqwest::{
    StatusCode,
    header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue},
};
use serde_json::json;
use shared::{
    clients::{
        outbound::{Answer, Limits, SendError},
        retry_after,
    },
    jobs::DeliverWebhook,
    models::{
        delivery::{
            self,
            attempt::{self, Try},
        },
        event, webhook,
    },
};
use url::Url;

use super::{Failure, Outcome, Run};
use crate::{context::JobContext, signature};

const LIMITS: Limits = Limits {
    timeout: Duration::from_secs(10),
    max_answer_bytes: 64 * 1024,
};
/// How much of an answer is kept, in bytes: enough to see what the server complained about.
const KEPT_ANSWER: usize = 16 * 1024;
/// Why there is nothing to do any more.
const DELETED: &str = "the endpoint was deleted";
/// Why an endpoint is off that wants nothing any more.
const GONE: &str = "the endpoint answered 410 Gone";

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
            return Ok(Outcome::Discard(DELETED));
        };
        if !endpoint.is_active {
            let mut tx = ctx.fenced().await?;
            let reason = "the endpoint is switched off";
            delivery::cancel(&mut tx, open.id, reason, ctx.clock.now()).await?;
            return tx.done(Some(json!({ "discarded": reason }))).await;
        }

        let started_at = ctx.clock.now();
        let body = Bytes::from(payload(&event).to_string());
        let secret = endpoint.open_secret(&ctx.keyring)?;
        let headers = headers(&open, &event, &secret, started_at, &body)?;
        let url = Url::parse(&endpoint.url)
            .context("an endpoint's URL was checked when it was stored")?;
        let begun = tokio::time::Instant::now();
        let reply = ctx.outbound.post(&url, headers, body, LIMITS).await.result;
        let took = begun.elapsed();

        let mut tx = ctx.fenced().await?; // this run still owns the job, or it stops here
        // The endpoint before its delivery: in this order whoever deletes it locks them.
        let is_gone = matches!(&reply, Ok(answer) if answer.status == StatusCode::GONE);
        let is_off = is_gone
            && webhook::disable(&mut tx, endpoint.id, &endpoint.url, GONE, ctx.clock.now()).await?;
        let failure = failure(&reply, is_off, started_at);
        let of = outcome(&reply, failure.as_ref(), started_at, took);
        if !attempt::record(&mut tx, open.id, of).await? {
            return tx.done(Some(json!({ "discarded": DELETED }))).await;
        }
        match failure {
            None => {
                delivery::succeed(&mut tx, open.id, ctx.clock.now()).await?;
                tx.done(None).await
            }
            Some(failure) => tx.fail(&failure).await,
        }
    }
}

fn payload(event: &event::Model) -> serde_json::Value {
    event::payload(&event.kind, event.created_at, &event.data)
}

fn headers(
    delivery: &delivery::Model,
    event: &event::Model,
    secret: &str,
    now: DateTime<Utc>,
    body: &[u8],
) -> anyhow::Result<HeaderMap> {
    let (id, timestamp) = (event.id.to_string(), now.timestamp());
    let standard = signature::header(&[secret.to_owned()], &[], &id, timestamp, body)
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
fn failure(reply: &Result<Answer, SendError>, is_off: bool, now: DateTime<Utc>) -> Option<Failure> {
    match reply {
        Ok(answer) if answer.status.is_success() => None,
        Ok(_) if is_off => Some(Failure::Permanent(format!("{GONE} and was switched off"))),
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

fn outcome(
    reply: &Result<Answer, SendError>,
    failure: Option<&Failure>,
    started_at: DateTime<Utc>,
    took: Duration,
) -> Try {
    let answer = reply.as_ref().ok();
    Try {
        status_code: answer.map_or(0, |answer| answer.status.as_u16()),
        error: failure.map(ToString::to_string),
        error_code: failure.map(|_| error_code(reply).to_owned()),
        details: None,
        response_body: answer.map(|answer| shown(&answer.body)),
        duration_ms: i32::try_from(took.as_millis()).unwrap_or(i32::MAX),
        started_at,
    }
}

/// Why a try did not succeed, for programs.
fn error_code(reply: &Result<Answer, SendError>) -> &'static str {
    match reply {
        Ok(_) => "http_status",
        Err(error) => error.code(),
    }
}

/// The beginning of an answer as text that Postgres takes: whatever is sent, without U+0000.
fn shown(body: &[u8]) -> String {
    let mut text = String::from_utf8_lossy(body).replace('\0', "");
    text.truncate(text.floor_char_boundary(KEPT_ANSWER));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_kept_in_part_and_as_text() {
        assert_eq!(shown(b"a\0b\xffc"), "ab\u{fffd}c");
        assert_eq!(shown(&vec![b'x'; KEPT_ANSWER + 1]).len(), KEPT_ANSWER);
        let long = "\u{939}".repeat(KEPT_ANSWER);
        let kept = shown(long.as_bytes());
        assert!(kept.len() <= KEPT_ANSWER && long.starts_with(&kept));
        // Each bad byte becomes three.
        assert!(shown(&vec![0xff; KEPT_ANSWER]).len() <= KEPT_ANSWER);
    }
}
