//! Asking a service: within a time, and reading no more of its answer than is needed.

use std::time::Duration;

use reqwest::{Client, RequestBuilder, Response, StatusCode, redirect};
use serde_json::Value;
use url::Url;

use super::{ToolError, output::reason};
use crate::config::ServiceConfig;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Largest answer of a service.
const ANSWER_MAX_BYTES: usize = 1 << 20;
/// What services say where their account, or they themselves, and not the question is the trouble; 432 and 433 are limits of
/// Tavily's plans.
const OF_THE_ACCOUNT: [u16; 7] = [401, 402, 403, 408, 429, 432, 433];

/// The way to all services; cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Http(Client);

impl Http {
    /// Makes the client; `agent` tells services who asks.
    ///
    /// # Errors
    /// When no root certificates can be loaded, or nobody can be called so.
    pub(super) fn new(agent: &str, timeout: Duration) -> anyhow::Result<Self> {
        let client = Client::builder()
            .user_agent(agent)
            .connect_timeout(CONNECT_TIMEOUT.min(timeout))
            .timeout(timeout)
            .redirect(redirect::Policy::none())
            .build()?;
        Ok(Self(client))
    }

    pub(super) fn get(&self, url: Url) -> RequestBuilder {
        self.0.get(url)
    }

    pub(super) fn post(&self, url: Url) -> RequestBuilder {
        self.0.post(url)
    }

    /// The client itself.
    pub(super) fn client(&self) -> &Client {
        &self.0
    }
}

/// Asks, and reads the JSON that is answered.
///
/// # Errors
/// [`ToolError::Refused`] where another question may be taken, else [`ToolError::Unavailable`].
pub(super) async fn ask(request: RequestBuilder) -> Result<Value, ToolError> {
    let unavailable =
        // Its address may hold a key.
        |error: reqwest::Error| ToolError::Unavailable(reason(&anyhow::Error::from(error.without_url())));
    let response = request.send().await.map_err(unavailable)?;
    let status = response.status();
    let body = read(response).await?;
    let value: Option<Value> = serde_json::from_slice(&body).ok();
    if status.is_success() {
        return value
            .ok_or_else(|| ToolError::Unavailable("what it answers cannot be read".to_owned()));
    }
    let said = value.as_ref().and_then(said).unwrap_or_default();
    Err(refusal(status, &said))
}

/// Reads an answer that is not too large.
///
/// # Errors
/// [`ToolError::Unavailable`].
pub(super) async fn read(mut response: Response) -> Result<Vec<u8>, ToolError> {
    let mut body = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(piece)) => body.extend_from_slice(&piece),
            Ok(None) => return Ok(body),
            Err(error) => {
                let error = anyhow::Error::from(error.without_url());
                return Err(ToolError::Unavailable(reason(&error)));
            }
        }
        if body.len() > ANSWER_MAX_BYTES {
            return Err(ToolError::Unavailable("its answer is too large".to_owned()));
        }
    }
}

fn refusal(status: StatusCode, said: &str) -> ToolError {
    let code = status.as_u16();
    let reason = reason(&format!("{code} {said}"));
    if status.is_client_error() && !OF_THE_ACCOUNT.contains(&code) {
        ToolError::Refused {
            status: code,
            reason,
        }
    } else {
        ToolError::Unavailable(reason)
    }
}

/// What a service says of an error, wherever it says it.
fn said(body: &Value) -> Option<String> {
    let texts = [
        &body["message"],
        &body["error"]["message"],
        &body["detail"]["error"],
        &body["error-type"],
        &body["error"],
    ];
    texts
        .iter()
        .find_map(|text| text.as_str().map(str::to_owned))
}

impl ServiceConfig {
    /// The address of one of its paths.
    pub(super) fn at(&self, path: &str) -> Url {
        at(&self.base_url, path)
    }
}

/// The address of a path below another.
pub(super) fn at(base: &Url, path: &str) -> Url {
    let mut url = base.clone();
    if let Ok(mut segments) = url.path_segments_mut() {
        segments.pop_if_empty().extend(path.split('/'));
    }
    url
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn paths_are_appended_whatever_the_base_ends_with() {
        for base in ["http://x.example/v2", "http://x.example/v2/"] {
            let url = at(&Url::parse(base).unwrap(), "pair/a b/ü");
            assert_eq!(url.as_str(), "http://x.example/v2/pair/a%20b/%C3%BC");
        }
        let url = at(&Url::parse("http://x.example").unwrap(), "search");
        assert_eq!(url.as_str(), "http://x.example/search");
    }

    #[test]
    fn what_is_refused_is_told_apart_from_what_is_away() {
        for (status, is_refused) in [
            (400, true),
            (404, true),
            (422, true),
            (401, false),
            (429, false),
            (432, false),
            (500, false),
            (301, false),
        ] {
            let error = refusal(StatusCode::from_u16(status).unwrap(), "no");
            let told = matches!(error, ToolError::Refused { .. });
            assert_eq!(told, is_refused, "{status}");
        }
        assert_eq!(
            said(&json!({ "error": { "message": "a" } })).as_deref(),
            Some("a")
        );
        assert_eq!(said(&json!({ "error-type": "b" })).as_deref(), Some("b"));
        assert_eq!(said(&json!([1])), None);
    }
}
