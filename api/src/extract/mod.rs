//! Extractors whose rejections are our [`Error`], and JSON that names every bad field at once.

mod body;
mod room;
#[cfg(test)]
mod tests;

use std::ops::ControlFlow;

use axum::{
    body::{Bytes, HttpBody as _},
    extract::{
        FromRequest, FromRequestParts, OptionalFromRequest, Request, rejection::PathRejection,
    },
    http::{header, request::Parts},
    response::{IntoResponse, Response},
};
use deserr::{
    DeserializeError, Deserr, ErrorKind, IntoValue, MergeWithError, ValueKind, ValuePointerRef,
    errors::json::value_kinds_description_json,
};
use serde::{Serialize, de::DeserializeOwned};

use self::body::{Bounds, read_body};
pub(crate) use self::{
    body::{BodyLimit, Paced},
    room::{Room, Rooms},
};
use crate::{
    error::{Error, FieldProblem},
    middleware::RequestId,
};

/// Largest JSON body: parsed, it takes many times its size.
pub(crate) const JSON_LIMIT_BYTES: usize = 256 * 1024;

/// Most problems that are told of one body: nobody reads more, and a body of millions of mistakes must not become an answer
/// of millions of sentences.
const MOST_PROBLEMS: usize = 100;

/// Most values that a large body may hold: each takes many times its length in memory.
const MOST_VALUES: usize = 400_000;

/// A JSON body: read with all its problems at once, or written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Json<T>(pub T);

/// The parameters of the path.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Path<T>(pub T);

/// The parameters of the query, with all their problems at once.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Query<T>(pub T);

/// What is wrong with a body, field by field.
#[derive(Debug, Default)]
pub(crate) struct Fields(Vec<FieldProblem>);

impl Fields {
    /// Goes on reading, unless it is known by now that the body is bad throughout.
    fn and_on(mut self) -> ControlFlow<Self, Self> {
        if self.0.len() < MOST_PROBLEMS {
            return ControlFlow::Continue(self);
        }
        self.0.truncate(MOST_PROBLEMS);
        ControlFlow::Break(self)
    }
}

impl MergeWithError<Self> for Fields {
    fn merge(self_: Option<Self>, other: Self, _: ValuePointerRef<'_>) -> ControlFlow<Self, Self> {
        let mut all = self_.unwrap_or_default();
        all.0.extend(other.0);
        all.and_on()
    }
}

impl DeserializeError for Fields {
    fn error<V: IntoValue>(
        self_: Option<Self>,
        error: ErrorKind<'_, V>,
        location: ValuePointerRef<'_>,
    ) -> ControlFlow<Self, Self> {
        let mut all = self_.unwrap_or_default();
        let mut pointer = pointer(location);
        let detail = match error {
            ErrorKind::IncorrectValueKind { actual, accepted } => {
                format!(
                    "must be {}, not {}",
                    value_kinds_description_json(accepted),
                    name(actual.kind())
                )
            }
            ErrorKind::MissingField { field } => {
                push_segment(&mut pointer, field);
                "is missing".to_owned()
            }
            ErrorKind::UnknownKey { key, accepted } => {
                push_segment(&mut pointer, key);
                format!("is not a field here; there are {}", accepted.join(", "))
            }
            ErrorKind::UnknownValue { accepted, .. } => {
                format!("must be one of {}", accepted.join(", "))
            }
            ErrorKind::BadSequenceLen { expected, .. } => format!("must have {expected} elements"),
            ErrorKind::Unexpected { msg } => msg,
        };
        all.0.push(FieldProblem { pointer, detail });
        all.and_on()
    }
}

/// A rule that a value breaks, in words that follow the field's name.
#[derive(Debug)]
pub(crate) struct Rule(pub String);

impl Rule {
    /// Makes a rule's message.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}

impl MergeWithError<Rule> for Fields {
    fn merge(
        self_: Option<Self>,
        rule: Rule,
        location: ValuePointerRef<'_>,
    ) -> ControlFlow<Self, Self> {
        let mut all = self_.unwrap_or_default();
        all.0.push(FieldProblem {
            pointer: pointer(location),
            detail: rule.0,
        });
        all.and_on()
    }
}

fn name(kind: ValueKind) -> String {
    value_kinds_description_json(&[kind])
}

/// Adds a step to a JSON pointer.
pub(crate) fn push_segment(pointer: &mut String, segment: &str) {
    pointer.push('/');
    pointer.push_str(&segment.replace('~', "~0").replace('/', "~1"));
}

/// RFC 6901.
fn pointer(location: ValuePointerRef<'_>) -> String {
    match location {
        ValuePointerRef::Origin => String::new(),
        ValuePointerRef::Key { key, prev } => {
            let mut pointer = pointer(*prev);
            push_segment(&mut pointer, key);
            pointer
        }
        ValuePointerRef::Index { index, prev } => format!("{}/{index}", pointer(*prev)),
    }
}

/// Adds every text that holds U+0000: Postgres cannot keep it, and nobody means it.
fn find_nul(value: &serde_json::Value, at: &str, found: &mut Vec<FieldProblem>) {
    if found.len() >= MOST_PROBLEMS {
        return;
    }
    match value {
        serde_json::Value::String(text) if text.contains('\0') => {
            found.push(FieldProblem {
                pointer: at.to_owned(),
                detail: "must not contain U+0000".to_owned(),
            });
        }
        serde_json::Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                find_nul(item, &format!("{at}/{index}"), found);
            }
        }
        serde_json::Value::Object(fields) => {
            for (key, item) in fields {
                let mut at = at.to_owned();
                push_segment(&mut at, key);
                find_nul(item, &at, found);
            }
        }
        _ => {}
    }
}

/// Reads a value, with all its problems at once.
///
/// # Errors
/// [`Error::Invalid`].
pub(crate) fn read<T: Deserr<Fields>>(value: serde_json::Value) -> Result<T, Error> {
    let mut nul = Vec::new();
    find_nul(&value, "", &mut nul);
    match deserr::deserialize::<T, _, Fields>(value) {
        Ok(value) if nul.is_empty() => Ok(value),
        Ok(_) => Err(Error::Invalid(nul)),
        Err(mut fields) => {
            nul.retain(|problem| {
                fields
                    .0
                    .iter()
                    .all(|known| known.pointer != problem.pointer)
            });
            fields.0.extend(nul);
            Err(Error::Invalid(fields.0))
        }
    }
}

impl<S, T> FromRequest<S> for Json<T>
where
    S: Send + Sync,
    T: Deserr<Fields>,
{
    type Rejection = Error;

    async fn from_request(request: Request, _: &S) -> Result<Self, Error> {
        let is_json = request
            .headers()
            .get(header::CONTENT_TYPE)
            .and_then(|kind| kind.to_str().ok())
            .is_some_and(|kind| {
                let kind = kind
                    .split(';')
                    .next()
                    .unwrap_or_default()
                    .trim()
                    .to_ascii_lowercase();
                kind == "application/json"
                    || (kind.starts_with("application/") && kind.ends_with("+json"))
            });
        if !is_json {
            return Err(Error::UnsupportedMediaType(
                "the body must be application/json".to_owned(),
            ));
        }
        let repeatable = request
            .extensions()
            .get::<RequestId>()
            .and_then(|request| request.repeatable.clone());
        let bounds = Bounds::of(request.extensions());
        let bytes = read_body(request, &bounds).await?;
        if let Some(repeatable) = repeatable {
            repeatable.read(&bytes);
        }
        read(parse(bytes).await?).map(Self)
    }
}

/// Reads JSON; what is large on a thread where nobody waits.
async fn parse(bytes: Bytes) -> Result<serde_json::Value, Error> {
    let is_large = bytes.len() > JSON_LIMIT_BYTES;
    if is_large && values(&bytes) > MOST_VALUES {
        let told = format!("the body has more than {MOST_VALUES} values");
        return Err(Error::Malformed(told));
    }
    let parse = move || serde_json::from_slice::<serde_json::Value>(&bytes);
    let parsed = if is_large {
        tokio::task::spawn_blocking(parse)
            .await
            .map_err(anyhow::Error::from)?
    } else {
        parse()
    };
    parsed.map_err(|error: serde_json::Error| {
        Error::Malformed(format!("the body is not JSON: {error}"))
    })
}

/// About how many values JSON holds, whether or not it is any.
fn values(json: &[u8]) -> usize {
    let (mut values, mut is_text, mut is_escaped) = (1, false, false);
    for byte in json {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if is_text => is_escaped = true,
            b'"' => is_text = !is_text,
            b',' | b'[' | b'{' if !is_text => values += 1,
            _ => {}
        }
    }
    values
}

impl<S, T> OptionalFromRequest<S> for Json<T>
where
    S: Send + Sync,
    T: Deserr<Fields>,
{
    type Rejection = Error;

    /// Nothing, where the client sends no body.
    async fn from_request(request: Request, state: &S) -> Result<Option<Self>, Error> {
        if request.body().size_hint().exact() == Some(0) {
            return Ok(None);
        }
        <Self as FromRequest<S>>::from_request(request, state)
            .await
            .map(Some)
    }
}

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        axum::Json(self.0).into_response()
    }
}

impl<S, T> FromRequestParts<S> for Path<T>
where
    S: Send + Sync,
    T: DeserializeOwned + Send,
{
    type Rejection = Error;

    /// An id that is no id names nothing.
    #[expect(clippy::disallowed_types, reason = "this is the one place")]
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Error> {
        match axum::extract::Path::from_request_parts(parts, state).await {
            Ok(axum::extract::Path(value)) => Ok(Self(value)),
            Err(PathRejection::FailedToDeserializePathParams(_)) => Err(Error::NotFound("thing")),
            Err(error) => Err(Error::Internal(error.into())),
        }
    }
}

impl<S, T> FromRequestParts<S> for Query<T>
where
    S: Send + Sync,
    T: Deserr<Fields>,
{
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Error> {
        let query = parts.uri.query().unwrap_or_default();
        let fields = url::form_urlencoded::parse(query.as_bytes())
            .map(|(name, value)| {
                (
                    name.into_owned(),
                    serde_json::Value::String(value.into_owned()),
                )
            })
            .collect();
        read(serde_json::Value::Object(fields)).map(Self)
    }
}
