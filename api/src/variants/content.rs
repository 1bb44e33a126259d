//! Giving out what was made of a picture.

use axum::{
    extract::State,
    http::{HeaderMap, Method},
    response::Response,
};
use shared::{
    ids::{AttachmentId, VariantId},
    models::{
        attachment,
        image_variant::{self, Model},
    },
    picture::Format,
};

use super::dto::Variant;
use crate::{
    app::App,
    downloads::{self, Download, Permission},
    error::{Error, Problem, Problems, Result},
    extract::{Path, Query},
};

const WHAT: &str = "variant";

fn path(attachment: AttachmentId, id: VariantId) -> String {
    format!("attachments/{attachment}/variants/{id}")
}

/// What there is to be given out; nothing before it is made.
fn download<'a>(row: &'a Model, file_name: &'a str) -> Option<Download<'a>> {
    Some(Download {
        storage_key: row.storage_key.as_deref()?,
        media_type: row.media_type.as_deref()?,
        file_name,
        sha256: row.sha256.as_deref()?,
        size_bytes: row.size_bytes?,
    })
}

/// The name of the upload, with what this variant is, and the end that belongs to its type.
fn file_name(of: &attachment::Model, row: &Model) -> String {
    let stem = of
        .file_name
        .rsplit_once('.')
        .map_or(&*of.file_name, |(stem, _)| stem);
    let what = match (&row.name, row.width, row.height) {
        (Some(name), _, _) => name.clone(),
        (None, Some(width), Some(height)) => format!("{width}x{height}"),
        _ => WHAT.to_owned(),
    };
    let media_type = row.media_type.as_deref().unwrap_or_default();
    let format = Format::ALL
        .into_iter()
        .find(|format| format.media_type() == media_type);
    // Of the others there are only animations.
    let extension = format.map_or("gif", Format::extension);
    format!("{stem}-{what}.{extension}")
}

/// A variant as clients see it, with a URL that shows it for an hour, once it is made.
///
/// # Errors
/// When the URL cannot be signed.
pub(crate) async fn show(app: &App, of: &attachment::Model, row: Model) -> Result<Variant> {
    let name = file_name(of, &row);
    let url = match download(&row, &name) {
        Some(download) => Some(downloads::url(app, &path(of.id, row.id), download).await?),
        None => None,
    };
    Ok(Variant::new(row, url))
}

/// Downloads a variant from its signed URL, without credentials.
///
/// A single byte range may be requested (RFC 9110 §14); several ranges are answered with the whole file. HEAD returns
/// the same headers without the content.
#[utoipa::path(
    get, path = "/api/v1/attachments/{id}/variants/{variantId}/content", tag = "attachments",
    params(
        ("id" = AttachmentId, Path, description = "The attachment"),
        ("variantId" = VariantId, Path, description = "The variant"),
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
#[tracing::instrument(skip_all, fields(attachmentId = %id, variantId = %variant))]
pub(super) async fn get_variant_content(
    State(app): State<App>,
    Path((id, variant)): Path<(AttachmentId, VariantId)>,
    Query(permission): Query<Permission>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response> {
    downloads::check(&app, &path(id, variant), &permission, WHAT)?;
    let of = attachment::find_for_signed_url(&app.db, id)
        .await?
        .ok_or(Error::NotFound(WHAT))?;
    let row = image_variant::get(&app.db, id, variant).await?;
    let name = file_name(&of, &row);
    let download = download(&row, &name).ok_or(Error::NotFound(WHAT))?;
    downloads::serve(&app, download, WHAT, &method, &headers).await
}
