//! Giving out what was uploaded.

use std::ops::Range;

use axum::{
    body::Body,
    extract::State,
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use chrono::{DateTime, SubsecRound as _, Utc};
use shared::{
    clients::storage::{self, Shown},
    ids::AttachmentId,
    models::attachment,
};

use super::{
    dto::GetAttachmentContent,
    range::{self, Wanted},
    signed_url,
};
use crate::{
    app::App,
    error::{Error, Problem, Problems, Result},
    extract::{Path, Query},
};

/// A URL that shows the content for an hour, without credentials: the store's own where it has such, else ours; and
/// when it ends.
///
/// # Errors
/// When it cannot be signed.
pub(super) async fn url(app: &App, row: &attachment::Model) -> Result<(String, DateTime<Utc>)> {
    let disposition = disposition(&row.file_name);
    let shown = Shown {
        media_type: &row.media_type,
        disposition: &disposition,
    };
    let of_store = app
        .storage
        .url(&row.storage_key, shown, signed_url::LIFETIME)
        .await?;
    let now = app.clock.now();
    let url = of_store
        .unwrap_or_else(|| signed_url::make(&app.keyring, &app.config.public_url, row.id, now));
    // Both kinds count whole seconds.
    Ok((url, (now + signed_url::LIFETIME).trunc_subsecs(0)))
}

/// Downloads the content of an attachment from its signed URL, without credentials.
///
/// A single byte range may be requested (RFC 9110 §14); several ranges are answered with the whole file. HEAD returns
/// the same headers without the content.
#[utoipa::path(
    get, path = "/api/v1/attachments/{id}/content", tag = "attachments",
    params(
        ("id" = AttachmentId, Path, description = "The attachment"),
        GetAttachmentContent,
        ("Range" = Option<String>, Header, description = "One range of bytes", example = "bytes=0-1023"),
        ("If-Range" = Option<String>, Header, description = "The `ETag` of the file to which the range belongs"),
        ("If-None-Match" = Option<String>, Header, description = "The `ETag` of the file that the client has"),
    ),
    responses(
        (status = 200, description = "The file", body = String, content_type = "application/octet-stream"),
        (status = 206, description = "The range", body = String, content_type = "application/octet-stream"),
        (status = 304, description = "The client has the present file"),
        (
            status = 416, description = "No byte of the file is in the range; `Content-Range` gives its length",
            body = Problem, content_type = "application/problem+json",
        ),
        Problems,
    ),
    security(()),
)]
#[tracing::instrument(skip_all, fields(attachmentId = %id))]
pub(super) async fn get_attachment_content(
    State(app): State<App>,
    Path(id): Path<AttachmentId>,
    Query(input): Query<GetAttachmentContent>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response> {
    if !signed_url::is_good(&app.keyring, id, input.exp.0, &input.sig, app.clock.now()) {
        return Err(Error::NotFound("attachment"));
    }
    let row = attachment::find_for_signed_url(&app.db, id)
        .await?
        .ok_or(Error::NotFound("attachment"))?;
    let length = u64::try_from(row.size_bytes).unwrap_or_default();
    let etag = format!("\"{}\"", hex::encode(&row.sha256));
    let (status, part) = match range::wanted(&headers, &etag, length) {
        Wanted::Nothing => (StatusCode::NOT_MODIFIED, None),
        Wanted::Unsatisfiable if method == Method::GET => {
            return Err(Error::RangeNotSatisfiable {
                length_bytes: length,
            });
        }
        Wanted::Part(part) if method == Method::GET => (StatusCode::PARTIAL_CONTENT, Some(part)),
        // Of a HEAD the range means nothing (§14.2).
        Wanted::Whole | Wanted::Part(_) | Wanted::Unsatisfiable => {
            (StatusCode::OK, Some(0..length))
        }
    };
    let body = match &part {
        Some(part) if method == Method::GET => stream(&app, &row.storage_key, part.clone()).await?,
        _ => Body::empty(),
    };
    let mut response = (status, body).into_response();
    describe(response.headers_mut(), &row, &etag, status, part, length)?;
    Ok(response)
}

async fn stream(app: &App, key: &str, part: Range<u64>) -> Result<Body> {
    if part.is_empty() {
        return Ok(Body::empty());
    }
    let content = app.storage.stream(key, part).await;
    content.map(Body::from_stream).map_err(|error| match error {
        storage::Error::NotFound => Error::NotFound("attachment"),
        other => other.into(),
    })
}

fn describe(
    headers: &mut HeaderMap,
    row: &attachment::Model,
    etag: &str,
    status: StatusCode,
    part: Option<Range<u64>>,
    length: u64,
) -> Result<()> {
    let mut set = |name: HeaderName, value: &str| -> Result<()> {
        let value = HeaderValue::from_str(value).map_err(anyhow::Error::from)?;
        headers.insert(name, value);
        Ok(())
    };
    set(header::ETAG, etag)?;
    set(header::ACCEPT_RANGES, "bytes")?;
    set(header::CACHE_CONTROL, "private, max-age=3600")?;
    // Whatever the file is, it runs nothing in a browser.
    set(header::X_CONTENT_TYPE_OPTIONS, "nosniff")?;
    set(
        header::CONTENT_SECURITY_POLICY,
        "sandbox; default-src 'none'",
    )?;
    let Some(part) = part else {
        return Ok(());
    };
    set(header::CONTENT_TYPE, &row.media_type)?;
    set(header::CONTENT_DISPOSITION, &disposition(&row.file_name))?;
    set(header::CONTENT_LENGTH, &(part.end - part.start).to_string())?;
    if status == StatusCode::PARTIAL_CONTENT {
        let range = format!("bytes {}-{}/{length}", part.start, part.end - 1);
        set(header::CONTENT_RANGE, &range)?;
    }
    Ok(())
}

/// A file to be saved, never a page to be shown. The name is UTF-8, percent-encoded (RFC 8187), after one in ASCII for
/// clients that know no other (RFC 6266 §4.3).
fn disposition(file_name: &str) -> String {
    let ascii: String = file_name
        .chars()
        .map(|letter| match letter {
            // Some clients take these for the beginning of something else (RFC 6266, appendix D).
            '"' | '\\' | '%' => '_',
            ' '..='~' => letter,
            _ => '_',
        })
        .collect();
    let name: String = file_name
        .bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' | b'_' => {
                char::from(byte).to_string()
            }
            other => format!("%{other:02X}"),
        })
        .collect();
    format!("attachment; filename=\"{ascii}\"; filename*=UTF-8''{name}")
}
