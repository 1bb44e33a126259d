//! Giving out what was uploaded.

use axum::{
    extract::State,
    http::{HeaderMap, Method},
    response::Response,
};
use chrono::{DateTime, Utc};
use shared::{ids::AttachmentId, models::attachment};

use crate::{
    app::App,
    downloads::{self, Download, Permission},
    error::{Error, Problem, Problems, Result},
    extract::{Path, Query},
};

const WHAT: &str = "attachment";

fn path(id: AttachmentId) -> String {
    format!("attachments/{id}")
}

fn download(row: &attachment::Model) -> Download<'_> {
    Download {
        storage_key: &row.storage_key,
        media_type: &row.media_type,
        file_name: &row.file_name,
        sha256: &row.sha256,
        size_bytes: row.size_bytes,
    }
}

/// Where the content is to be had for an hour, without credentials.
pub(super) struct Urls {
    pub(super) url: String,
    /// A smaller form of a picture, where the store makes such.
    pub(super) preview_url: Option<String>,
    /// When they end.
    pub(super) expires_at: DateTime<Utc>,
}

/// Makes the URLs of an attachment.
///
/// # Errors
/// When they cannot be signed.
pub(super) async fn urls(app: &App, row: &attachment::Model) -> Result<Urls> {
    let (url, expires_at) = downloads::url(app, &path(row.id), download(row)).await?;
    let preview_url = downloads::preview_url(app, &row.storage_key).await?;
    Ok(Urls {
        url,
        preview_url,
        expires_at,
    })
}

/// Downloads the content of an attachment from its signed URL, without credentials.
///
/// A single byte range may be requested (RFC 9110 §14); several ranges are answered with the whole file. HEAD returns
/// the same headers without the content.
#[utoipa::path(
    get, path = "/api/v1/attachments/{id}/content", tag = "attachments",
    params(
        ("id" = AttachmentId, Path, description = "The attachment"),
        Permission,
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
    Query(permission): Query<Permission>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response> {
    downloads::check(&app, &path(id), &permission, WHAT)?;
    let row = attachment::find_for_signed_url(&app.db, id)
        .await?
        .ok_or(Error::NotFound(WHAT))?;
    downloads::serve(&app, download(&row), WHAT, &method, &headers).await
}
