//! What is known of a try besides its answer, as it is kept.

use std::{collections::BTreeMap, net::IpAddr};

use sea_orm::FromJsonQueryResult;
use serde::{Deserialize, Serialize};

/// What was sent and answered, and how it went. Secrets are not in it: whoever records a try has taken them out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, FromJsonQueryResult)]
#[serde(rename_all = "camelCase", default)]
pub struct Details {
    /// Headers of the request.
    pub request_headers: BTreeMap<String, String>,
    /// Headers of the answer.
    pub response_headers: BTreeMap<String, String>,
    /// Where it was sent.
    pub address: Option<IpAddr>,
    /// `HTTP/1.1`, …
    pub http_version: Option<String>,
    /// How it was kept secret, where it was.
    pub tls: Option<Tls>,
    /// How long it took.
    pub timings: Timings,
    /// Whether the connection was there already.
    pub reused_connection: bool,
    /// Whether there was more of the answer.
    pub body_truncated: bool,
}

/// How a connection was kept secret.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Tls {
    /// `TLSv1.3`, …
    pub version: String,
    /// The cipher suite.
    pub cipher: String,
}

/// How long each step took, where it was taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Timings {
    /// Resolving the name.
    pub dns_ms: Option<u32>,
    /// Connecting.
    pub connect_ms: Option<u32>,
    /// The handshake of TLS.
    pub tls_ms: Option<u32>,
    /// Until the first byte of the answer, from the beginning.
    pub first_byte_ms: Option<u32>,
    /// All of it.
    pub total_ms: u32,
}
