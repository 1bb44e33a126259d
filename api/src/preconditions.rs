//! `If-Match` and `If-None-Match` (RFC 9110 §13.1): changing only what one has seen, and not sending what one has.

use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, HeaderName, StatusCode, header, request::Parts},
    response::{IntoResponse as _, Response},
};
use serde::Serialize;

use crate::{
    answer::{Answer, tag},
    error::{Error, Result},
};

/// What a client knows of the thing that it asks for.
#[derive(Debug, Clone)]
pub(crate) struct Preconditions {
    if_match: Option<String>,
    if_none_match: Option<String>,
}

impl<S: Sync> FromRequestParts<S> for Preconditions {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Error> {
        Ok(Self {
            if_match: joined(&parts.headers, &header::IF_MATCH)?,
            if_none_match: joined(&parts.headers, &header::IF_NONE_MATCH)?,
        })
    }
}

/// All lines of a header are one list (RFC 9110 §5.3).
fn joined(headers: &HeaderMap, name: &HeaderName) -> Result<Option<String>> {
    let lines: Result<Vec<&str>, _> = headers
        .get_all(name)
        .iter()
        .map(|line| line.to_str())
        .collect();
    let lines =
        lines.map_err(|_| Error::Malformed(format!("the {name} header is not readable")))?;
    Ok((!lines.is_empty()).then(|| lines.join(",")))
}

impl Preconditions {
    /// Whether a thing of this version may be changed.
    ///
    /// # Errors
    /// [`Error::PreconditionFailed`] when the client has seen another version.
    pub(crate) fn check(&self, version: i32) -> Result<()> {
        match &self.if_match {
            // Strong comparison: a weak tag never matches.
            Some(tags) if !matches(tags, version, false) => Err(Error::PreconditionFailed),
            _ => Ok(()),
        }
    }

    /// Answers with a thing, or with 304 where the client has this version of it.
    ///
    /// # Errors
    /// When the body cannot be written.
    pub(crate) fn answer(&self, version: i32, body: &impl Serialize) -> Result<Response> {
        if let Some(tags) = &self.if_none_match
            && matches(tags, version, true)
        {
            return Ok((StatusCode::NOT_MODIFIED, [(header::ETAG, tag(version))]).into_response());
        }
        Ok(Answer::new(StatusCode::OK, Some(version), body)?.into_response())
    }
}

/// Whether a list of entity tags names this version.
fn matches(tags: &str, version: i32, weak: bool) -> bool {
    let wanted = format!("\"{version}\"");
    tags.split(',').map(str::trim).any(|tag| {
        let strong = if weak {
            tag.strip_prefix("W/").unwrap_or(tag)
        } else {
            tag
        };
        tag == "*" || strong == wanted
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_compared_as_the_rfc_says() {
        for (tags, strong, weak) in [
            ("\"3\"", true, true),
            ("W/\"3\"", false, true),
            ("*", true, true),
            ("\"1\", \"3\"", true, true),
            ("\"4\"", false, false),
            ("3", false, false),
            ("", false, false),
        ] {
            assert_eq!(matches(tags, 3, false), strong, "{tags}");
            assert_eq!(matches(tags, 3, true), weak, "{tags}");
        }
    }
}
