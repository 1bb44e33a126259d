//! Giving out what was made.

use axum::{
    extract::State,
    http::{HeaderMap, Method},
    response::Response,
};
use chrono::{DateTime, Utc};
use shared::{ids::ExportId, models::export};

use crate::{
    app::App,
    downloads::{self, Download, Permission},
    error::{Error, Problem, Problems, Result},
    extract::{Path, Query},
};

const WHAT: &str = "export";

fn path(id: ExportId) -> String {
    format!("exports/{id}")
}

/// None as long as there is no file.
fn download(row: &export::Model) -> Option<Download<'_>> {
    Some(Download {
        storage_key: row.storage_key.as_deref()?,
        media_type: row.format.media_type(),
        file_name: &row.file_name,
        sha256: row.sha256.as_deref()?,
        size_bytes: row.size_bytes?,
    })
}

/// A URL that shows the file for an hour, without credentials, and when it ends; none as long as there is no file.
///
/// # Errors
/// When it cannot be signed.
pub(super) async fn url(app: &App, row: &export::Model) -> Result<Option<(String, DateTime<Utc>)>> {
    let Some(download) = download(row) else {
        return Ok(None);
    };
    downloads::url(app, &path(row.id), download).await.map(Some)
}

/// Downloads an export from its signed URL, without credentials.
///
/// A single byte range may be requested (RFC 9110 §14); several ranges are answered with the whole file. HEAD returns
/// the same headers without the content.
#[utoipa::path(
    get, path = "/api/v1/exports/{id}/content", tag = "exports",
    params(
        ("id" = ExportId, Path, description = "The export"),
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
#[tracing::instrument(skip_all, fields(exportId = %id))]
pub(super) async fn get_export_content(
    State(app): State<App>,
    Path(id): Path<ExportId>,
    Query(permission): Query<Permission>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response> {
    downloads::check(&app, &path(id), &permission, WHAT)?;
    let row = export::find_for_signed_url(&app.db, id, app.clock.now()).await?;
    let row = row.ok_or(Error::NotFound(WHAT))?;
    let download = download(&row).ok_or(Error::NotFound(WHAT))?;
    downloads::serve(&app, download, WHAT, &method, &headers).await
}
