//! What is sent, and what is kept of it and of its answer.

use std::{
    collections::{BTreeMap, HashSet},
    time::Duration,
};

use anyhow::Context as _;
use chrono::{DateTime, Utc};
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use shared::{
    clients::outbound::{self, Answer, ConnectionInfo, Sent},
    models::delivery::attempt::{Details, Timings, Tls, Try},
};

use super::{
    Loaded,
    redact::{REDACTED, Secrets},
    verdict,
};
use crate::{context::JobContext, signature};

/// How much of an answer is kept, in bytes: enough to see what the server complained about.
const KEPT_ANSWER: usize = 16 * 1024;
/// Most headers of an answer that are kept, and how much of each, in bytes.
const KEPT_HEADERS: usize = 50;
const KEPT_HEADER: usize = 1024;
/// Why there is no answer to a try whose delivery nobody wants any more.
const BROKEN_OFF: &str = "the delivery was cancelled before there was an answer";
/// Headers of answers that may hold secrets of the endpoint's users.
const SECRETS_OF_ANSWERS: [&str; 4] = [
    "set-cookie",
    "authorization",
    "www-authenticate",
    "proxy-authenticate",
];

/// The headers of a try.
pub(super) struct Request {
    pub(super) headers: HeaderMap,
    /// Those whose values are not kept.
    secret: HashSet<HeaderName>,
    /// What is taken out of answers.
    secrets: Secrets,
}

impl Request {
    /// Signs a body, and adds what the endpoint's user wants with it.
    pub(super) async fn new(
        ctx: &JobContext,
        loaded: &Loaded,
        now: DateTime<Utc>,
        body: &[u8],
    ) -> anyhow::Result<Self> {
        let Loaded {
            delivery,
            event,
            endpoint,
            ..
        } = loaded;
        let secrets = endpoint.secrets(&ctx.db, &ctx.keyring, now).await?;
        let current = secrets.v1.first().context("an endpoint has a secret")?;
        let (id, timestamp) = (event.id.to_string(), now.timestamp());
        let standard = signature::header(&secrets.v1, &secrets.v1a, &id, timestamp, body)
            .context("a stored secret is not one of ours")?;
        let mut request = Self {
            headers: HeaderMap::new(),
            secret: HashSet::new(),
            secrets: Secrets::default(),
        };
        // Before ours: nothing of a user's stands in their place.
        for (name, value) in endpoint.headers(&ctx.keyring)? {
            request.secrets.add_value(&value);
            request.add(HeaderName::try_from(name)?, value, true)?;
        }
        request
            .headers
            .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        for (name, value, is_secret) in [
            ("webhook-id", id, false),
            ("webhook-timestamp", timestamp.to_string(), false),
            ("webhook-signature", standard, true),
            (
                "x-baatcheet-signature",
                signature::plain(current, body),
                true,
            ),
            ("x-baatcheet-event", event.kind.clone(), false),
            ("x-baatcheet-delivery-id", delivery.id.to_string(), false),
        ] {
            if is_secret {
                request.secrets.add_signatures(&value);
            }
            request.add(HeaderName::from_static(name), value, is_secret)?;
        }
        if let Some(traceparent) = ctx.traceparent() {
            request.add(
                HeaderName::from_static("traceparent"),
                traceparent.to_owned(),
                false,
            )?;
        }
        Ok(request)
    }

    fn add(&mut self, name: HeaderName, value: String, is_secret: bool) -> anyhow::Result<()> {
        if is_secret {
            self.secret.insert(name.clone());
        }
        self.headers.insert(name, HeaderValue::try_from(value)?);
        Ok(())
    }

    /// What is kept of a try.
    pub(super) fn tried(&self, sent: &Sent, started_at: DateTime<Utc>) -> Try {
        let reason = verdict::reason(&sent.result);
        self.kept_of(sent.answer(), reason, &sent.connection, started_at)
    }

    /// What is kept of one that was broken off: not even where it went is known.
    pub(super) fn broken_off(&self, started_at: DateTime<Utc>, at: DateTime<Utc>) -> Try {
        let total = (at - started_at).to_std().unwrap_or_default();
        let connection = ConnectionInfo {
            timings: outbound::Timings {
                total,
                ..outbound::Timings::default()
            },
            ..ConnectionInfo::default()
        };
        let reason = Some((BROKEN_OFF.to_owned(), "cancelled"));
        self.kept_of(None, reason, &connection, started_at)
    }

    fn kept_of(
        &self,
        answer: Option<&Answer>,
        reason: Option<(String, &'static str)>,
        connection: &ConnectionInfo,
        started_at: DateTime<Utc>,
    ) -> Try {
        let timings = connection.timings;
        let details = Details {
            request_headers: kept(&self.headers, &self.secrets, |name| {
                self.secret.contains(name)
            }),
            response_headers: answer
                .map(|answer| {
                    kept(&answer.headers, &self.secrets, |name| {
                        SECRETS_OF_ANSWERS.contains(&name.as_str())
                    })
                })
                .unwrap_or_default(),
            address: connection.address.map(|address| address.ip()),
            http_version: answer.map(|answer| format!("{:?}", answer.version)),
            tls: connection.tls.as_ref().map(|tls| Tls {
                version: tls.version.to_owned(),
                cipher: tls.cipher.clone(),
            }),
            timings: Timings {
                dns_ms: timings.dns.map(millis),
                connect_ms: timings.connect.map(millis),
                tls_ms: timings.tls.map(millis),
                first_byte_ms: timings.first_byte.map(millis),
                total_ms: millis(timings.total),
            },
            reused_connection: connection.reused,
            body_truncated: answer
                .is_some_and(|answer| answer.truncated || answer.body.len() > KEPT_ANSWER),
        };
        let (error, error_code) = reason.unzip();
        Try {
            status_code: answer.map_or(0, |answer| answer.status.as_u16()),
            error,
            error_code: error_code.map(str::to_owned),
            response_body: answer
                .map(|answer| shown(&answer.body, &self.secrets, answer.truncated)),
            details: Some(details),
            duration_ms: i32::try_from(timings.total.as_millis()).unwrap_or(i32::MAX),
            started_at,
        }
    }
}

fn millis(time: Duration) -> u32 {
    u32::try_from(time.as_millis()).unwrap_or(u32::MAX)
}

fn kept(
    headers: &HeaderMap,
    secrets: &Secrets,
    is_secret: impl Fn(&HeaderName) -> bool,
) -> BTreeMap<String, String> {
    let mut kept: BTreeMap<String, String> = BTreeMap::new();
    for (name, value) in headers {
        if kept.len() >= KEPT_HEADERS && !kept.contains_key(name.as_str()) {
            continue;
        }
        if is_secret(name) {
            kept.insert(name.to_string(), REDACTED.to_owned());
            continue;
        }
        let value = secrets.redact(text_of(value.as_bytes()), false, KEPT_HEADER);
        kept.entry(name.to_string())
            .and_modify(|known| {
                if known.len() + value.len() < KEPT_HEADER {
                    known.push_str(", ");
                    known.push_str(&value);
                }
            })
            .or_insert(value);
    }
    kept
}

/// The beginning of an answer, of which more may have come, without secrets.
fn shown(body: &[u8], secrets: &Secrets, is_cut: bool) -> String {
    secrets.redact(text_of(body), is_cut, KEPT_ANSWER)
}

/// Whatever is sent as text that Postgres takes: without U+0000.
fn text_of(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).replace('\0', "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_kept_in_part_and_as_text() {
        let shown = |body: &[u8]| super::shown(body, &Secrets::default(), false);
        assert_eq!(shown(b"a\0b\xffc"), "ab\u{fffd}c");
        assert_eq!(shown(&vec![b'x'; KEPT_ANSWER + 1]).len(), KEPT_ANSWER);
        let long = "\u{939}".repeat(KEPT_ANSWER);
        let kept = shown(long.as_bytes());
        assert!(kept.len() <= KEPT_ANSWER && long.starts_with(&kept));
        // Each bad byte becomes three.
        assert!(shown(&vec![0xff; KEPT_ANSWER]).len() <= KEPT_ANSWER);
    }

    #[test]
    fn headers_are_kept_without_secrets_and_within_bounds() {
        let mut headers = HeaderMap::new();
        headers.append("x-a", HeaderValue::from_static("1"));
        headers.append("x-a", HeaderValue::from_static("2"));
        headers.append("set-cookie", HeaderValue::from_static("session=hidden"));
        headers.append("x-long", HeaderValue::try_from("x".repeat(5000)).unwrap());
        let secrets = Secrets::default();
        let kept_of = kept(&headers, &secrets, |name| name == "set-cookie");
        assert_eq!(kept_of["x-a"], "1, 2");
        assert_eq!(kept_of["set-cookie"], REDACTED);
        assert_eq!(kept_of["x-long"].len(), KEPT_HEADER);
        for n in 0..100 {
            let name = HeaderName::try_from(format!("x-{n}")).unwrap();
            headers.append(name, HeaderValue::from_static("1"));
        }
        assert_eq!(kept(&headers, &secrets, |_| false).len(), KEPT_HEADERS);
    }
}
