//! Handlers of attachments.

use axum::{
    extract::{Request, State},
    http::StatusCode,
};
use shared::{
    ids::AttachmentId,
    jobs::RecognizeText,
    models::{attachment, job, recognition},
    queue,
};

use super::{
    content,
    dto::{Attachment, CreatedAttachment, UploadForm},
    upload::{self, Uploaded},
};
use crate::{
    answer::Answer,
    app::App,
    caller::Caller,
    error::{Problems, Result},
    extract::{Json, Path},
    middleware::RequestId,
};

const ACCEPTED: &str = "OCR processing in background";

/// Uploads a picture. Its text is read in the background; `job` tells how far that has come.
#[utoipa::path(
    post, path = "/api/v1/attachments", tag = "attachments",
    request_body(content = UploadForm, content_type = "multipart/form-data"),
    responses((status = 201, description = "Stored", body = CreatedAttachment), Problems),
    security(("bearer" = [])),
)]
#[tracing::instrument(skip_all)]
pub(super) async fn create_attachment(
    State(app): State<App>,
    caller: Caller,
    id: RequestId,
    request: Request,
) -> Result<Answer> {
    let uploaded = upload::receive(request, &app, caller.user, app.config.max_image_bytes).await?;
    store(&app, &caller, &id, uploaded).await
}

/// Records an upload, and asks for its reading, in one transaction.
async fn store(app: &App, caller: &Caller, id: &RequestId, uploaded: Uploaded) -> Result<Answer> {
    let now = app.clock.now();
    if let Some(repeatable) = &id.repeatable {
        repeatable.read_as(uploaded.fingerprint());
    }
    let mut tx = app.begin(caller, id).await?;
    let row = attachment::create(&mut tx, uploaded.file, now).await?;
    let asked = RecognizeText {
        attachment: row.id,
        language: uploaded.language,
    };
    let job = queue::enqueue(&mut tx, asked).await?;
    let recognition = recognition::begin(&mut tx, row.id, job.id, now).await?;
    let job = job::get(tx.orm(), caller.user, job.id).await?;
    let url = content::url(app, &row).await?;
    let created = CreatedAttachment {
        attachment: Attachment::new(row, Some(recognition), vec![job.clone()], url),
        job: Some(job.into()),
        message: ACCEPTED,
    };
    // Before the commit: if its answer is lost, a row may name the content all the same.
    uploaded.content.keep();
    tx.answer(StatusCode::CREATED, &created).await
}

/// Gets an attachment, with what was read in it.
#[utoipa::path(
    get, path = "/api/v1/attachments/{id}", tag = "attachments",
    params(("id" = AttachmentId, Path, description = "The attachment")),
    responses((status = 200, description = "The attachment", body = Attachment), Problems),
    security(("bearer" = [])),
)]
#[tracing::instrument(skip_all, fields(attachmentId = %id))]
pub(super) async fn get_attachment(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<AttachmentId>,
) -> Result<Json<Attachment>> {
    let row = attachment::get(&app.db, caller.user, id).await?;
    let recognition = recognition::find(&app.db, row.id).await?;
    let jobs = match &recognition {
        Some(recognition) => job::find_all(&app.db, &[recognition.job_id]).await?,
        None => Vec::new(),
    };
    let url = content::url(&app, &row).await?;
    Ok(Json(Attachment::new(row, recognition, jobs, url)))
}

/// Deletes an attachment, with what was read in it. Its content is gone soon after, by every URL; a job that reads it is
/// stopped.
#[utoipa::path(
    delete, path = "/api/v1/attachments/{id}", tag = "attachments",
    params(("id" = AttachmentId, Path, description = "The attachment")),
    responses((status = 204, description = "Deleted"), Problems),
    security(("bearer" = [])),
)]
#[tracing::instrument(skip_all, fields(attachmentId = %id))]
pub(super) async fn delete_attachment(
    State(app): State<App>,
    caller: Caller,
    request: RequestId,
    Path(id): Path<AttachmentId>,
) -> Result<Answer> {
    let mut tx = app.begin(&caller, &request).await?;
    attachment::delete(&mut tx, caller.user, id, app.clock.now()).await?;
    tx.no_content().await
}
