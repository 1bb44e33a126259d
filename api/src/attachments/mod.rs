//! Uploaded files, and the text that is read or heard in them.
//!
//! An upload is stored and answered at once; finding its text and making variants of a picture are jobs, rows of the same
//! transaction.

mod content;
mod dto;
mod processing;
mod reading;
mod routes;
pub(crate) mod subtitles;
mod transcription;
pub(crate) mod upload;

use utoipa_axum::{router::OpenApiRouter, routes};

use crate::app::App;

/// The feature's routes, but for the upload.
pub(crate) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(routes::list_attachments))
        .routes(routes!(routes::get_attachment, routes::delete_attachment))
        .routes(routes!(routes::read_attachment))
        .routes(routes!(routes::transcribe_attachment))
        .routes(routes!(subtitles::get_subtitles))
        .routes(routes!(content::get_attachment_content))
}

/// The upload: it counts its bytes itself, and may take longer than other requests.
pub(crate) fn upload_router() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(routes::create_attachment))
}
