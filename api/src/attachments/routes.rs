//! Handlers of attachments.

use std::collections::HashMap;

use axum::{
    extract::{Request, State},
    http::StatusCode,
};
use futures::FutureExt as _;
use sea_orm::ConnectionTrait;
use shared::{
    attachment_text, database,
    ids::{AttachmentId, JobId},
    models::{
        attachment::{self, Filter, Kind},
        conversation, image, image_variant, job, pending_object, recognition,
        transcription as heard,
    },
};

use super::{
    content,
    dto::{
        Attachment, CreatedAttachment, Found, ListAttachments, ReadAttachment, ReadingAttachment,
        UploadForm,
    },
    processing, reading,
    transcription::{self, TranscribeAttachment, TranscribingAttachment},
    upload::{self, Uploaded},
};
use crate::{
    answer::Answer,
    app::App,
    caller::Caller,
    error::{Error, Problems, Result},
    extract::{Json, Path, Query},
    middleware::RequestId,
    page::{Cursor, Page},
    variants,
};

/// What follows an upload with text in it, and one with sound.
const READING: &str = "OCR processing in background";
const HEARING: &str = "Transcription in background";

/// Uploads a picture, a PDF or a sound file. Its text is read, or what is said in it written down, in the background;
/// `job` shows the progress. Of a picture variants are made besides, by a job of their own.
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
    let limits = upload::Limits {
        image_bytes: app.config.max_image_bytes,
        document_bytes: app.config.max_pdf_bytes,
        audio_bytes: app.config.max_audio_bytes,
        speed: upload::SPEED,
    };
    let db = app.db.clone();
    let note = move |key: String| {
        let db = db.clone();
        async move { Ok(pending_object::begin(&db, &key).await?) }.boxed()
    };
    let uploaded = upload::receive(request, &app.storage, &note, caller.user, &limits).await?;
    store(&app, &caller, &id, uploaded).await
}

/// Records an upload, and asks for its reading, in one transaction.
async fn store(app: &App, caller: &Caller, id: &RequestId, uploaded: Uploaded) -> Result<Answer> {
    let now = app.clock.now();
    if let Some(repeatable) = &id.repeatable {
        repeatable.read_as(uploaded.fingerprint());
    }
    let mut tx = app.begin(caller, id).await?;
    if let Some(conversation) = uploaded.file.conversation {
        let held = conversation::hold(&mut tx, caller.user, conversation).await;
        held.map_err(|error| match error {
            database::Error::NotFound(_) => {
                Error::field("/conversationId", "is no conversation of yours")
            }
            other => other.into(),
        })?;
    }
    let row = attachment::create(&mut tx, uploaded.file, now).await?;
    let languages = uploaded.languages.as_ref();
    let (job, message) = match row.kind {
        Kind::Image | Kind::Document => {
            let job = reading::begin(&mut tx, &row, languages, now).await?;
            (job, READING)
        }
        Kind::Audio => {
            let language = transcription::of_upload(languages);
            let job = transcription::begin(&mut tx, &row, language, now).await?;
            (job, HEARING)
        }
    };
    processing::begin(&mut tx, &row, now).await?;
    let job = job::get(tx.orm(), caller.user, job).await?;
    let created = CreatedAttachment {
        attachment: whole(app, tx.orm(), row).await?,
        message,
        job: job.into(),
    };
    // Before the commit: if its answer is lost, a row may name the content all the same.
    uploaded.content.keep();
    tx.answer(StatusCode::CREATED, &created).await
}

/// Lists the caller's attachments, newest first, with the beginning of their text but without words and pages.
#[utoipa::path(
    get, path = "/api/v1/attachments", tag = "attachments", params(ListAttachments),
    responses((status = 200, description = "A page of attachments", body = Page<Attachment>), Problems),
    security(("bearer" = [])),
)]
#[tracing::instrument(skip_all)]
pub(super) async fn list_attachments(
    State(app): State<App>,
    caller: Caller,
    Query(input): Query<ListAttachments>,
) -> Result<Json<Page<Attachment>>> {
    let before = input.cursor.as_deref().map(Cursor::decode).transpose()?;
    let filter = Filter {
        kind: input.kind.map(|kind| kind.0),
        conversation: input.conversation_id.map(|conversation| conversation.0),
        status: input.status.map(|status| status.0),
        before: before.map(|cursor| (cursor.at, AttachmentId(cursor.id))),
    };
    let rows = attachment::list(&app.db, caller.user, &filter, input.limit.0 + 1).await?;
    let page = Page::<attachment::Model>::new(rows, input.limit, |row| Cursor {
        at: row.created_at,
        id: row.id.0,
    });
    let ids: Vec<AttachmentId> = page.data.iter().map(|row| row.id).collect();
    let mut found: HashMap<AttachmentId, Found> = HashMap::new();
    for read in recognition::list(&app.db, &ids).await? {
        let found = found.entry(read.attachment_id).or_default();
        found.read = Some(read);
    }
    for heard in heard::list(&app.db, &ids).await? {
        let found = found.entry(heard.attachment_id).or_default();
        found.heard = Some(heard);
    }
    let rows = page.data.into_iter().map(|row| {
        let found = found.remove(&row.id).unwrap_or_default();
        (row, found)
    });
    Ok(Json(Page {
        data: show(&app, &app.db, rows.collect(), true).await?,
        pagination: page.pagination,
    }))
}

/// Gets an attachment, with the text read from it.
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
    Ok(Json(whole(&app, &app.db, row).await?))
}

/// Reads the text of an attachment again, in other languages if asked to. The present text is kept until there is a new
/// one.
///
/// The answer has the beginning of that text only, as lists have.
#[utoipa::path(
    post, path = "/api/v1/attachments/{id}/ocr", tag = "attachments",
    params(("id" = AttachmentId, Path, description = "The attachment")),
    request_body = Option<ReadAttachment>,
    responses((status = 202, description = "It will be read in the background", body = ReadingAttachment), Problems),
    security(("bearer" = [])),
)]
#[tracing::instrument(skip_all, fields(attachmentId = %id))]
pub(super) async fn read_attachment(
    State(app): State<App>,
    caller: Caller,
    request: RequestId,
    Path(id): Path<AttachmentId>,
    input: Option<Json<ReadAttachment>>,
) -> Result<Answer> {
    let languages = input.and_then(|Json(input)| input.language);
    let mut tx = app.begin(&caller, &request).await?;
    let row = attachment::hold(&mut tx, caller.user, id).await?;
    let job = reading::begin(&mut tx, &row, languages.as_ref(), app.clock.now()).await?;
    let body = ReadingAttachment {
        job: job::get(tx.orm(), caller.user, job).await?.into(),
        attachment: listed(&app, tx.orm(), row).await?,
    };
    tx.invalidate(app.redis.keys().attachment_text(id));
    tx.answer(StatusCode::ACCEPTED, &body).await
}

/// Writes down what is said in an attachment again, in another language if asked to. The present text is kept until there
/// is a new one.
///
/// The answer has the beginning of that text only, as lists have.
#[utoipa::path(
    post, path = "/api/v1/attachments/{id}/transcription", tag = "attachments",
    params(("id" = AttachmentId, Path, description = "The attachment")),
    request_body = Option<TranscribeAttachment>,
    responses(
        (status = 202, description = "It will be transcribed in the background", body = TranscribingAttachment),
        Problems,
    ),
    security(("bearer" = [])),
)]
#[tracing::instrument(skip_all, fields(attachmentId = %id))]
pub(super) async fn transcribe_attachment(
    State(app): State<App>,
    caller: Caller,
    request: RequestId,
    Path(id): Path<AttachmentId>,
    input: Option<Json<TranscribeAttachment>>,
) -> Result<Answer> {
    let language = input.and_then(|Json(input)| input.language);
    let language = language.map(|language| language.0.as_str().to_owned());
    let mut tx = app.begin(&caller, &request).await?;
    let row = attachment::hold(&mut tx, caller.user, id).await?;
    let job = transcription::begin(&mut tx, &row, language, app.clock.now()).await?;
    let body = TranscribingAttachment {
        job: job::get(tx.orm(), caller.user, job).await?.into(),
        attachment: listed(&app, tx.orm(), row).await?,
    };
    tx.invalidate(app.redis.keys().attachment_text(id));
    tx.answer(StatusCode::ACCEPTED, &body).await
}

/// An attachment with everything that was found in it.
async fn whole(app: &App, db: &impl ConnectionTrait, row: attachment::Model) -> Result<Attachment> {
    let mut found = Found {
        read: recognition::find(db, row.id).await?,
        heard: heard::find(db, row.id).await?,
        ..Found::default()
    };
    if let Some(read) = &mut found.read {
        read.extracted_text = attachment_text::load(db, &app.redis, read).await?;
    }
    if let Some(heard) = &mut found.heard {
        heard.text = attachment_text::load_said(db, &app.redis, heard).await?;
    }
    let shown = show(app, db, vec![(row, found)], false).await?.pop();
    Ok(shown.expect("one was given"))
}

/// An attachment as lists show it, which is small however much was found in it: such an answer can be kept.
async fn listed(
    app: &App,
    db: &impl ConnectionTrait,
    row: attachment::Model,
) -> Result<Attachment> {
    let found = Found {
        read: recognition::list(db, &[row.id]).await?.pop(),
        heard: heard::list(db, &[row.id]).await?.pop(),
        ..Found::default()
    };
    let shown = show(app, db, vec![(row, found)], true).await?.pop();
    Ok(shown.expect("one was given"))
}

/// Adds to attachments what was made of them, their jobs and their URLs. In lists those variants are left out that somebody
/// asked for.
async fn show(
    app: &App,
    db: &impl ConnectionTrait,
    mut rows: Vec<(attachment::Model, Found)>,
    in_list: bool,
) -> Result<Vec<Attachment>> {
    let ids: Vec<AttachmentId> = rows.iter().map(|(row, _)| row.id).collect();
    let mut images: HashMap<AttachmentId, image::Model> = image::list(db, &ids)
        .await?
        .into_iter()
        .map(|image| (image.attachment_id, image))
        .collect();
    let mut made: HashMap<AttachmentId, Vec<image_variant::Model>> = HashMap::new();
    for variant in image_variant::list_of(db, &ids, in_list).await? {
        made.entry(variant.attachment_id).or_default().push(variant);
    }
    for (row, found) in &mut rows {
        found.image = images.remove(&row.id);
        found.variants = made.remove(&row.id).unwrap_or_default();
    }
    let ids: Vec<JobId> = rows.iter().flat_map(|(_, found)| found.jobs()).collect();
    let jobs: HashMap<JobId, job::Model> = job::find_all(db, &ids)
        .await?
        .into_iter()
        .map(|job| (job.id, job))
        .collect();
    let mut shown = Vec::with_capacity(rows.len());
    for (row, mut found) in rows {
        let ids = found.jobs().into_iter();
        let jobs = ids.filter_map(|id| jobs.get(&id).cloned()).collect();
        let urls = content::urls(app, &row).await?;
        let mut made = Vec::with_capacity(found.variants.len());
        for variant in std::mem::take(&mut found.variants) {
            made.push(variants::show(app, &row, variant).await?);
        }
        shown.push(Attachment::new(row, found, made, jobs, urls));
    }
    Ok(shown)
}

/// Deletes an attachment, the text read from it and its variants. Its content soon disappears from every URL; a job that works on
/// it is stopped.
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
