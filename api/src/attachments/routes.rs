//! Handlers of attachments.

use axum::{
    body::Body,
    extract::{Request, State},
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use shared::{
    clients::storage,
    ids::AttachmentId,
    jobs::RecognizeText,
    models::{attachment, job, recognition},
    queue,
};

use super::{
    dto::{Attachment, CreatedAttachment, GetAttachmentContent, UploadForm},
    signed_url,
    upload::{self, Uploaded},
};
use crate::{
    answer::Answer,
    app::App,
    caller::Caller,
    error::{Error, Problems, Result},
    extract::{Json, Path, Query},
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
    let uploaded = upload::receive(
        request,
        &app.storage,
        caller.user,
        app.config.max_image_bytes,
    )
    .await?;
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
    let url = signed_url::make(&app.keyring, &app.config.public_url, row.id, now);
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
    let url = signed_url::make(
        &app.keyring,
        &app.config.public_url,
        row.id,
        app.clock.now(),
    );
    Ok(Json(Attachment::new(row, recognition, jobs, url)))
}

/// Gets the content of an attachment by its signed URL, without credentials.
#[utoipa::path(
    get, path = "/api/v1/attachments/{id}/content", tag = "attachments",
    params(("id" = AttachmentId, Path, description = "The attachment"), GetAttachmentContent),
    responses(
        (status = 200, description = "The file", body = String, content_type = "application/octet-stream"),
        Problems,
    ),
)]
#[tracing::instrument(skip_all, fields(attachmentId = %id))]
pub(super) async fn get_attachment_content(
    State(app): State<App>,
    Path(id): Path<AttachmentId>,
    Query(input): Query<GetAttachmentContent>,
) -> Result<Response> {
    if !signed_url::is_good(&app.keyring, id, input.exp.0, &input.sig, app.clock.now()) {
        return Err(Error::NotFound("attachment"));
    }
    let row = attachment::find_for_any_user(&app.db, id)
        .await?
        .ok_or(Error::NotFound("attachment"))?;
    let content = app
        .storage
        .stream(&row.storage_key)
        .await
        .map_err(|error| match error {
            storage::Error::NotFound => Error::NotFound("attachment"),
            error @ storage::Error::Failed(_) => Error::Internal(error.into()),
        })?;
    let mut response = Body::from_stream(content).into_response();
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_str(&row.media_type).map_err(anyhow::Error::from)?,
    );
    headers.insert(header::CONTENT_LENGTH, row.size_bytes.into());
    headers.insert(header::CONTENT_DISPOSITION, disposition(&row.file_name));
    // Whatever the file is, it runs nothing in a browser.
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    headers.insert(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("sandbox; default-src 'none'"),
    );
    headers.insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static("private, max-age=3600"),
    );
    Ok(response)
}

/// RFC 6266: the name in UTF-8, percent-encoded.
fn disposition(file_name: &str) -> HeaderValue {
    let name: String = file_name
        .bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' | b'_' => {
                char::from(byte).to_string()
            }
            other => format!("%{other:02X}"),
        })
        .collect();
    HeaderValue::try_from(format!("attachment; filename*=UTF-8''{name}"))
        .expect("percent-encoded text is a header value")
}
