//! Calls of Cloudinary's API, and what it says when it does not do as asked.

use std::time::Duration;

use anyhow::anyhow;
use bytes::{Bytes, BytesMut};
use reqwest::{
    RequestBuilder, Response, StatusCode,
    header::{HeaderMap, RETRY_AFTER},
};
use serde::Deserialize;

use super::super::{
    Error,
    bucket::{CONNECT_TIMEOUT, FIRST_PAUSE, LONGEST_PAUSE, REQUEST_TIMEOUT, RETRIES},
};
use crate::{keyring::random, telemetry::report_step};

/// Letters of a refusal that are worth logging.
const REFUSAL_LETTERS: usize = 1000;
/// Where an answer without a body says what is wrong.
const REASON: &str = "x-cld-error";
/// Too many calls in an hour (Cloudinary's own; RFC 6585 has 429 for it).
const CALM: u16 = 420;

/// What it says of an error.
#[derive(Debug, Deserialize)]
struct Refusal {
    error: Reason,
}

#[derive(Debug, Deserialize)]
struct Reason {
    message: String,
}

/// A client that waits for nothing for ever, and follows nobody elsewhere.
pub(super) fn client() -> reqwest::Result<reqwest::Client> {
    reqwest::Client::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .redirect(reqwest::redirect::Policy::none())
        .build()
}

/// Asks, and asks again where that may help. `make` makes the same request each time; the answer's head must come in
/// time, its body is not waited for here.
pub(super) async fn ask(
    make: impl Fn() -> RequestBuilder + Send + Sync,
) -> Result<Response, Error> {
    let mut tries_left = RETRIES;
    let mut pause = FIRST_PAUSE;
    loop {
        let (failure, wanted) = match tokio::time::timeout(REQUEST_TIMEOUT, make().send()).await {
            Ok(Ok(response)) if is_temporary(response.status()) => {
                let wanted = retry_after(response.headers());
                (refusal(response).await, wanted)
            }
            Ok(Ok(response)) if response.status().is_success() => return Ok(response),
            Ok(Ok(response)) => return Err(refusal(response).await),
            // Its URL names the object, and is a permission.
            Ok(Err(error)) => (failed(anyhow::Error::new(error.without_url())), None),
            Err(_) => (failed(anyhow!("no answer in {REQUEST_TIMEOUT:?}")), None),
        };
        // One that wants to be left alone for longer than we wait would only say no again.
        if tries_left == 0 || wanted.is_some_and(|wanted| wanted > LONGEST_PAUSE) {
            return Err(failure);
        }
        if let Error::Failed(error) = &failure {
            tracing::warn!(error = %format!("{error:#}"), "the storage is asked again");
        }
        tokio::time::sleep(wanted.unwrap_or_else(|| jittered(pause))).await;
        tries_left -= 1;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Reads the JSON of an answer.
pub(super) async fn json<T: for<'de> Deserialize<'de>>(response: Response) -> Result<T, Error> {
    let read = tokio::time::timeout(REQUEST_TIMEOUT, response.json()).await;
    match read {
        Ok(read) => read.map_err(|error| failed(anyhow::Error::new(error.without_url()))),
        Err(_) => Err(failed(anyhow!("no whole answer in {REQUEST_TIMEOUT:?}"))),
    }
}

/// Reads an answer whole.
pub(super) async fn bytes(mut response: Response) -> Result<Bytes, Error> {
    let mut bytes = BytesMut::new();
    loop {
        match tokio::time::timeout(REQUEST_TIMEOUT, response.chunk()).await {
            Ok(Ok(Some(piece))) => bytes.extend_from_slice(&piece),
            Ok(Ok(None)) => return Ok(bytes.freeze()),
            Ok(Err(error)) => return Err(failed(anyhow::Error::new(error.without_url()))),
            Err(_) => return Err(failed(anyhow!("no whole answer in {REQUEST_TIMEOUT:?}"))),
        }
    }
}

/// The store failed. All trouble comes by here or by [`refusal`], so it is noted there; the rest names objects.
pub(super) fn failed(error: anyhow::Error) -> Error {
    report_step("storage", true, || "failed".to_owned());
    Error::Failed(error)
}

async fn refusal(response: Response) -> Error {
    let status = response.status();
    report_step("storage", true, || status.to_string());
    if status == StatusCode::NOT_FOUND {
        return Error::NotFound;
    }
    let in_head = response.headers().get(REASON).map(|reason| {
        let reason = String::from_utf8_lossy(reason.as_bytes());
        reason.into_owned()
    });
    let reason = match in_head {
        Some(reason) => reason,
        None => match tokio::time::timeout(REQUEST_TIMEOUT, response.text()).await {
            Ok(Ok(body)) => match serde_json::from_str::<Refusal>(&body) {
                Ok(refusal) => refusal.error.message,
                Err(_) => body,
            },
            Ok(Err(_)) | Err(_) => String::new(),
        },
    };
    let reason: String = reason.chars().take(REFUSAL_LETTERS).collect();
    let is_clock_wrong = reason.starts_with("Stale request");
    let told = anyhow!("status {}: {reason}", status.as_u16());
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Error::Denied(told),
        _ if is_clock_wrong || is_temporary(status) || !status.is_client_error() => {
            Error::Failed(told)
        }
        _ => Error::Refused(told),
    }
}

fn is_temporary(status: StatusCode) -> bool {
    status.is_server_error()
        || status == StatusCode::TOO_MANY_REQUESTS
        || status == StatusCode::REQUEST_TIMEOUT
        || status.as_u16() == CALM
}

/// In seconds (RFC 9110 §10.2.3); a date is far away.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?;
    Some(value.parse().map_or(Duration::MAX, Duration::from_secs))
}

/// Half of it to the whole, so that those who failed together do not come back together.
fn jittered(pause: Duration) -> Duration {
    let [random] = random::<1>();
    pause / 2 + pause / 2 * u32::from(random) / 255
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_is_as_the_store_wants_it_or_about_as_long_as_said() {
        let told = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, value.parse().unwrap());
            retry_after(&headers)
        };
        assert_eq!(told("3"), Some(Duration::from_secs(3)));
        assert_eq!(told("Fri, 31 Dec 1999 23:59:59 GMT"), Some(Duration::MAX));
        assert_eq!(retry_after(&HeaderMap::new()), None);
        for _ in 0..100 {
            let pause = jittered(FIRST_PAUSE);
            assert!(
                (FIRST_PAUSE / 2..=FIRST_PAUSE).contains(&pause),
                "{pause:?}"
            );
        }
    }
}
