//! Giving out objects of the storage at URLs that carry their own permission.
//!
//! What has such a URL is named by its path under `/api/v1`; its content is at `{path}/content`.

mod range;
mod signed_url;

use std::ops::Range;

use axum::{
    body::Body,
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use chrono::{DateTime, SubsecRound as _, Utc};
use deserr::Deserr;
use shared::clients::storage::{self, Shown};
use utoipa::IntoParams;

use self::range::Wanted;
use crate::{
    app::App,
    error::{Error, Result},
    extract::Fields,
    text::Param,
};

/// An object, and how it is given out.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Download<'a> {
    /// Key in the storage.
    pub(crate) storage_key: &'a str,
    /// `Content-Type`.
    pub(crate) media_type: &'a str,
    /// The name under which it is saved.
    pub(crate) file_name: &'a str,
    /// Of the content.
    pub(crate) sha256: &'a [u8],
    /// Length of the content.
    pub(crate) size_bytes: i64,
}

/// The permission in a signed URL.
#[derive(Debug, Deserr, IntoParams)]
#[deserr(error = Fields, deny_unknown_fields, rename_all = camelCase)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
pub(crate) struct Permission {
    /// When the URL expires, in seconds since 1970.
    #[param(value_type = i64, example = 1_795_255_200)]
    pub(crate) exp: Param<i64>,
    /// In lower-case hex.
    #[param(example = "6f1c")]
    pub(crate) sig: String,
}

/// A URL that shows an object for an hour, without credentials: the store's own where it has such, else ours; and when
/// it ends.
///
/// # Errors
/// When it cannot be signed.
pub(crate) async fn url(
    app: &App,
    path: &str,
    download: Download<'_>,
) -> Result<(String, DateTime<Utc>)> {
    let disposition = disposition(download.file_name);
    let shown = Shown {
        media_type: download.media_type,
        disposition: &disposition,
        file_name: download.file_name,
    };
    let of_store = app
        .storage
        .url(download.storage_key, shown, signed_url::LIFETIME)
        .await?;
    let now = app.clock.now();
    let url = of_store
        .unwrap_or_else(|| signed_url::make(&app.keyring, &app.config.public_url, path, now));
    // Both kinds count whole seconds.
    Ok((url, (now + signed_url::LIFETIME).trunc_subsecs(0)))
}

/// A URL at which the store itself shows a picture for as long, at most 1920×1920 pixels large; none where it makes no
/// such.
///
/// # Errors
/// When it cannot be signed.
pub(crate) async fn preview_url(app: &App, storage_key: &str) -> Result<Option<String>> {
    let url = app.storage.preview_url(storage_key, signed_url::LIFETIME);
    Ok(url.await?)
}

/// Checks that a URL of ours permits to see what is at `path`.
///
/// # Errors
/// [`Error::NotFound`] of `what`: nothing tells whether there is such a thing.
pub(crate) fn check(
    app: &App,
    path: &str,
    permission: &Permission,
    what: &'static str,
) -> Result<()> {
    if signed_url::is_good(&app.keyring, path, permission, app.clock.now()) {
        Ok(())
    } else {
        Err(Error::NotFound(what))
    }
}

/// Answers a GET or a HEAD of an object: whole, a range of it, or nothing where the client has it already.
///
/// # Errors
/// [`Error::NotFound`] of `what` when the object is gone; as the store fails.
pub(crate) async fn serve(
    app: &App,
    download: Download<'_>,
    what: &'static str,
    method: &Method,
    headers: &HeaderMap,
) -> Result<Response> {
    let length = u64::try_from(download.size_bytes).unwrap_or_default();
    let etag = format!("\"{}\"", hex::encode(download.sha256));
    let (status, part) = match range::wanted(headers, &etag, length) {
        Wanted::Nothing => (StatusCode::NOT_MODIFIED, None),
        Wanted::Unsatisfiable if *method == Method::GET => {
            return Err(Error::RangeNotSatisfiable {
                length_bytes: length,
            });
        }
        Wanted::Part(part) if *method == Method::GET => (StatusCode::PARTIAL_CONTENT, Some(part)),
        // Of a HEAD the range means nothing (§14.2).
        Wanted::Whole | Wanted::Part(_) | Wanted::Unsatisfiable => {
            (StatusCode::OK, Some(0..length))
        }
    };
    let body = match &part {
        Some(part) if *method == Method::GET => {
            stream(app, download.storage_key, part.clone(), what).await?
        }
        _ => Body::empty(),
    };
    let mut response = (status, body).into_response();
    describe(
        response.headers_mut(),
        download,
        &etag,
        status,
        part,
        length,
    )?;
    Ok(response)
}

async fn stream(app: &App, key: &str, part: Range<u64>, what: &'static str) -> Result<Body> {
    if part.is_empty() {
        return Ok(Body::empty());
    }
    let content = app.storage.stream(key, part).await;
    content.map(Body::from_stream).map_err(|error| match error {
        storage::Error::NotFound => Error::NotFound(what),
        other => other.into(),
    })
}

fn describe(
    headers: &mut HeaderMap,
    download: Download<'_>,
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
    set(header::CONTENT_TYPE, download.media_type)?;
    set(
        header::CONTENT_DISPOSITION,
        &disposition(download.file_name),
    )?;
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
