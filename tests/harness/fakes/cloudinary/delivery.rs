//! Delivering objects.

use std::io;

use axum::{
    body::Body,
    http::{HeaderMap, StatusCode, header},
    response::IntoResponse as _,
};
use base64::{Engine as _, prelude::BASE64_URL_SAFE};
use futures::stream;
use sha1::{Digest as _, Sha1};
use sha2::Sha256;

use super::{Answer, SECRET, State, bad, in_head, lock, refusal, transformed};

impl State {
    pub(super) fn deliver(
        &self,
        kept: &str,
        signature: &str,
        rest: &[&str],
        headers: &HeaderMap,
    ) -> Answer {
        let is_version = |part: &str| {
            let number = part.strip_prefix('v');
            number.is_some_and(|number| number.parse::<u64>().is_ok())
        };
        let at = rest.iter().position(|part| is_version(part));
        let at = at.ok_or_else(|| refusal(StatusCode::NOT_FOUND, "no version"))?;
        let (transformation, id) = (rest[..at].join("/"), rest[at + 1..].join("/"));
        let signed = [&transformation, &id].map(String::as_str);
        let signed: Vec<&str> = signed.into_iter().filter(|part| !part.is_empty()).collect();
        let signed = format!("{}{SECRET}", signed.join("/"));
        let short = |digest: &[u8]| format!("s--{}--", &BASE64_URL_SAFE.encode(digest)[..8]);
        let good = [
            short(&Sha1::digest(&signed)),
            short(&Sha256::digest(&signed)),
        ];
        if !good.iter().any(|good| good == signature) {
            return Err(in_head(StatusCode::UNAUTHORIZED, "Invalid signature"));
        }
        let stored = self.find(kept, &id)?;
        let transformation = Some(transformation.as_str()).filter(|text| !text.is_empty());
        if kept == "image" && transformation.is_none() {
            return Err(bad("an account may change what is not asked for as it is"));
        }
        let bytes = transformed(&stored, transformation)?;
        let range = headers
            .get(header::RANGE)
            .filter(|_| !*lock(&self.ignores_ranges));
        let range = range.and_then(|range| {
            let range = range.to_str().ok()?.strip_prefix("bytes=")?;
            let (first, last) = range.split_once('-')?;
            Some((first.parse::<usize>().ok()?, last.parse::<usize>().ok()?))
        });
        let (status, part) = match range {
            Some((first, last)) => {
                let end = (last + 1).min(bytes.len());
                (
                    StatusCode::PARTIAL_CONTENT,
                    bytes.slice(first.min(end)..end),
                )
            }
            None => (StatusCode::OK, bytes),
        };
        let length = part.len();
        let body = match lock(&self.breaks_after).take() {
            Some(after) => {
                let pieces = [Ok(part.slice(..after)), Err(io::Error::other("broken off"))];
                Body::from_stream(stream::iter(pieces))
            }
            None => Body::from(part),
        };
        let headers = [
            (header::CONTENT_LENGTH, length.to_string()),
            (header::CONTENT_TYPE, "application/octet-stream".to_owned()),
        ];
        Ok((status, headers, body).into_response())
    }
}
