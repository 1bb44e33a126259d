//! Answers that carry a version, and those that are kept for a repetition.

use axum::{
    body::Body,
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use shared::models::idempotency_key;

use crate::error::Result;

/// Tells a client that it gets the answer to an earlier request.
const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

/// A JSON answer, written down.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    status: StatusCode,
    version: Option<i32>,
    body: Vec<u8>,
}

impl Answer {
    /// Writes an answer down; `version` becomes its `ETag`.
    ///
    /// # Errors
    /// When the body cannot be written as JSON.
    pub(crate) fn new(
        status: StatusCode,
        version: Option<i32>,
        body: &impl Serialize,
    ) -> Result<Self> {
        let body = serde_json::to_vec(body).map_err(anyhow::Error::from)?;
        Ok(Self {
            status,
            version,
            body,
        })
    }

    /// An answer without a body.
    pub(crate) fn empty(status: StatusCode) -> Self {
        Self {
            status,
            version: None,
            body: Vec::new(),
        }
    }

    /// One that was kept.
    ///
    /// # Errors
    /// When what was kept is no answer.
    pub(crate) fn stored(status: i16, version: Option<i32>, body: Vec<u8>) -> Result<Self> {
        let status = u16::try_from(status).map_err(anyhow::Error::from)?;
        Ok(Self {
            status: StatusCode::from_u16(status).map_err(anyhow::Error::from)?,
            version,
            body,
        })
    }

    /// What it says.
    pub(crate) fn body(&self) -> &[u8] {
        &self.body
    }

    /// In the form that is kept; the body only up to `max_bytes`.
    pub(crate) fn to_store(&self, max_bytes: usize) -> idempotency_key::Answer {
        idempotency_key::Answer {
            status: self.status.as_u16(),
            version: self.version,
            body: (self.body.len() <= max_bytes).then(|| self.body.clone()),
        }
    }

    /// Answers a repetition.
    pub(crate) fn replay(self) -> Response {
        let mut response = self.into_response();
        response
            .headers_mut()
            .insert(REPLAYED, HeaderValue::from_static("true"));
        response
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        if let Some(version) = self.version {
            headers.insert(header::ETAG, tag(version));
        }
        if !self.body.is_empty() {
            headers.insert(
                header::CONTENT_TYPE,
                HeaderValue::from_static("application/json"),
            );
            *response.body_mut() = Body::from(self.body);
        }
        response
    }
}

/// The `ETag` of a version.
pub(crate) fn tag(version: i32) -> HeaderValue {
    HeaderValue::try_from(format!("\"{version}\"")).expect("a number in quotes is a header value")
}
