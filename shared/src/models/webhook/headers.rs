//! Headers of one's own in requests to an endpoint. Their values may be credentials, so they are sealed and never shown.

use std::collections::BTreeMap;

use http::HeaderName;

use super::{Model, place};
use crate::{
    database::Result,
    ids::WebhookId,
    keyring::{self, Keyring},
};

/// Most headers of an endpoint.
pub const MAX: usize = 20;
/// Longest name.
const NAME_MAX_BYTES: usize = 128;
/// Longest value.
const VALUE_MAX_BYTES: usize = 4096;

/// Names that belong to the connection (RFC 9110 §7.6.1), to us, or to whoever stands between.
const FORBIDDEN: &[&str] = &[
    "accept-encoding",
    "cf-connecting-ip",
    "connection",
    "cookie",
    "cookie2",
    "expect",
    "forwarded",
    "host",
    "http2-settings",
    "keep-alive",
    "metadata",
    "metadata-flavor",
    "set-cookie",
    "te",
    "traceparent",
    "tracestate",
    "trailer",
    "transfer-encoding",
    "true-client-ip",
    "upgrade",
    "user-agent",
    "via",
    "x-client-ip",
    "x-forwarded",
    "x-host",
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "x-original-url",
    "x-real-ip",
    "x-rewrite-url",
];
/// How no name may begin: those of our own, of the body, of proxies, and those that clouds believe.
const FORBIDDEN_PREFIXES: &[&str] = &[
    "content-",
    "proxy-",
    "sec-",
    "webhook-",
    "x-amz-",
    "x-aws-",
    "x-baatcheet-",
    "x-forwarded-",
    "x-goog-",
];

/// The name under which a header is kept.
///
/// # Errors
/// Why it cannot be taken, in words that follow the name.
pub fn check_name(name: &str) -> Result<String, String> {
    if name.len() > NAME_MAX_BYTES {
        return Err(format!("must have at most {NAME_MAX_BYTES} characters"));
    }
    let Ok(name) = HeaderName::from_bytes(name.as_bytes()) else {
        return Err("is no name of a header".to_owned());
    };
    let name = name.as_str();
    let is_taken = FORBIDDEN.contains(&name)
        || FORBIDDEN_PREFIXES
            .iter()
            .any(|prefix| name.starts_with(prefix));
    if is_taken {
        return Err("is a header that cannot be set".to_owned());
    }
    Ok(name.to_owned())
}

/// Whether a header may have this value.
///
/// # Errors
/// Why it may not, in words that follow the name.
pub fn check_value(value: &str) -> Result<(), String> {
    if value.is_empty() || value.len() > VALUE_MAX_BYTES {
        return Err(format!("must have 1 to {VALUE_MAX_BYTES} characters"));
    }
    let is_visible = value.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    if !is_visible || value.starts_with(' ') || value.ends_with(' ') {
        return Err("must be visible ASCII characters, without spaces around them".to_owned());
    }
    Ok(())
}

/// Seals headers for their row; nothing where there are none.
pub(super) fn seal(
    keyring: &Keyring,
    id: WebhookId,
    headers: &BTreeMap<String, String>,
) -> Option<Vec<u8>> {
    if headers.is_empty() {
        return None;
    }
    let json = serde_json::to_vec(headers).expect("texts are plain data");
    Some(keyring.seal(&place(id, "sealed_headers"), &json))
}

impl Model {
    /// Its headers, by name.
    ///
    /// # Errors
    /// When no configured key opens them.
    pub fn headers(&self, keyring: &Keyring) -> Result<Vec<(String, String)>, keyring::Error> {
        let Some(sealed) = &self.sealed_headers else {
            return Ok(Vec::new());
        };
        let json = keyring.open(&place(self.id, "sealed_headers"), sealed)?;
        let headers: BTreeMap<String, String> =
            serde_json::from_slice(&json).map_err(|_| keyring::Error::Damaged)?;
        Ok(headers.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_kept_in_lower_case() {
        assert_eq!(check_name("Authorization").unwrap(), "authorization");
        assert_eq!(check_name("X-Api-Key").unwrap(), "x-api-key");
    }

    #[test]
    fn names_of_others_are_refused() {
        for name in [
            "",
            " ",
            "a b",
            "a:b",
            "a\nb",
            "ü",
            "Host",
            "CONTENT-TYPE",
            "content-length",
            "Connection",
            "Transfer-Encoding",
            "Webhook-Id",
            "webhook-signature",
            "X-BaatCheet-Event",
            "x-amz-target",
            "X-Goog-Api-Key",
            "Proxy-Authorization",
            "Sec-Fetch-Mode",
            "X-Forwarded-For",
            "X-Forwarded",
            "X-Host",
            "X-HTTP-Method",
            "X-HTTP-Method-Override",
            "X-Method-Override",
            "X-Original-URL",
            "X-Rewrite-URL",
            "User-Agent",
            "Cookie",
        ] {
            assert!(check_name(name).is_err(), "{name:?}");
        }
        assert!(check_name(&"x".repeat(128)).is_ok());
        assert!(check_name(&"x".repeat(129)).is_err());
    }

    #[test]
    fn values_are_one_line_of_visible_characters() {
        for value in ["Bearer a b", "~", &"x".repeat(4096)] {
            assert!(check_value(value).is_ok(), "{value:?}");
        }
        for value in [
            "",
            " a",
            "a ",
            "a\r\nb: c",
            "a\tb",
            "é",
            "\u{7f}",
            &"x".repeat(4097),
        ] {
            assert!(check_value(value).is_err(), "{value:?}");
        }
    }
}
