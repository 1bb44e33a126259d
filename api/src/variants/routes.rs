//! Handlers of variants.

use axum::{extract::State, http::StatusCode};
use shared::{
    database::Refusal,
    ids::{AttachmentId, VariantId},
    models::{
        attachment::{self, Kind},
        image::{self, Status},
        image_variant, job,
    },
};

use super::{
    content::show,
    dto::{ListVariants, RequestedVariant, Variant},
    recipe::{CreateVariant, misfit},
};
use crate::{
    answer::Answer,
    app::App,
    caller::Caller,
    error::{Problems, Result},
    extract::{Json, Path, Query},
    middleware::RequestId,
    page::{Cursor, Page},
};

/// Makes a variant of a picture in the background: cropped, resized, compressed, converted or marked. The same request is
/// the same variant: what is made already is answered with a 200. One that failed is tried again.
#[utoipa::path(
    post, path = "/api/v1/attachments/{id}/variants", tag = "attachments",
    params(("id" = AttachmentId, Path, description = "The attachment")),
    request_body = CreateVariant,
    responses(
        (status = 200, description = "It is made already", body = RequestedVariant),
        (status = 202, description = "It will be made in the background", body = RequestedVariant),
        Problems,
    ),
    security(("bearer" = [])),
)]
#[tracing::instrument(skip_all, fields(attachmentId = %id))]
pub(super) async fn create_variant(
    State(app): State<App>,
    caller: Caller,
    request: RequestId,
    Path(id): Path<AttachmentId>,
    Json(input): Json<CreateVariant>,
) -> Result<Answer> {
    let mut tx = app.begin(&caller, &request).await?;
    let of = attachment::hold_variants(&mut tx, caller.user, id).await?;
    if of.kind != Kind::Image {
        return Err(Refusal::NotAPicture.into());
    }
    let recipe = input.recipe(&of.media_type)?;
    let image = image::find(tx.orm(), id).await?;
    // Of what is not processed yet the worker finds out.
    if let Some((width, height)) = image.and_then(|image| image.width.zip(image.height)) {
        recipe
            .plan(width.unsigned_abs(), height.unsigned_abs())
            .map_err(misfit)?;
    }
    let row = image_variant::request(&mut tx, &of, &recipe, app.clock.now()).await?;
    let (status, job) = if row.status == Status::Succeeded {
        (StatusCode::OK, None)
    } else {
        let job = job::get(tx.orm(), caller.user, row.job_id).await?;
        (StatusCode::ACCEPTED, Some(job.into()))
    };
    let body = RequestedVariant {
        variant: show(&app, &of, row).await?,
        job,
    };
    tx.answer(status, &body).await
}

/// Lists the variants of a picture, newest first.
#[utoipa::path(
    get, path = "/api/v1/attachments/{id}/variants", tag = "attachments",
    params(("id" = AttachmentId, Path, description = "The attachment"), ListVariants),
    responses((status = 200, description = "A page of variants", body = Page<Variant>), Problems),
    security(("bearer" = [])),
)]
#[tracing::instrument(skip_all, fields(attachmentId = %id))]
pub(super) async fn list_variants(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<AttachmentId>,
    Query(input): Query<ListVariants>,
) -> Result<Json<Page<Variant>>> {
    let of = attachment::get(&app.db, caller.user, id).await?;
    let before = input.cursor.as_deref().map(Cursor::decode).transpose()?;
    let before = before.map(|cursor| (cursor.at, VariantId(cursor.id)));
    let rows = image_variant::list(&app.db, id, before, input.limit.0 + 1).await?;
    let page = Page::<image_variant::Model>::new(rows, input.limit, |row| Cursor {
        at: row.created_at,
        id: row.id.0,
    });
    let mut data = Vec::with_capacity(page.data.len());
    for row in page.data {
        data.push(show(&app, &of, row).await?);
    }
    Ok(Json(Page {
        data,
        pagination: page.pagination,
    }))
}

/// Gets a variant of a picture.
#[utoipa::path(
    get, path = "/api/v1/attachments/{id}/variants/{variantId}", tag = "attachments",
    params(
        ("id" = AttachmentId, Path, description = "The attachment"),
        ("variantId" = VariantId, Path, description = "The variant"),
    ),
    responses((status = 200, description = "The variant", body = Variant), Problems),
    security(("bearer" = [])),
)]
#[tracing::instrument(skip_all, fields(attachmentId = %id, variantId = %variant))]
pub(super) async fn get_variant(
    State(app): State<App>,
    caller: Caller,
    Path((id, variant)): Path<(AttachmentId, VariantId)>,
) -> Result<Json<Variant>> {
    let of = attachment::get(&app.db, caller.user, id).await?;
    let row = image_variant::get(&app.db, id, variant).await?;
    Ok(Json(show(&app, &of, row).await?))
}

/// Deletes a variant that was asked for. Its content soon disappears from every URL; a job that is making it is stopped.
#[utoipa::path(
    delete, path = "/api/v1/attachments/{id}/variants/{variantId}", tag = "attachments",
    params(
        ("id" = AttachmentId, Path, description = "The attachment"),
        ("variantId" = VariantId, Path, description = "The variant"),
    ),
    responses((status = 204, description = "Deleted"), Problems),
    security(("bearer" = [])),
)]
#[tracing::instrument(skip_all, fields(attachmentId = %id, variantId = %variant))]
pub(super) async fn delete_variant(
    State(app): State<App>,
    caller: Caller,
    request: RequestId,
    Path((id, variant)): Path<(AttachmentId, VariantId)>,
) -> Result<Answer> {
    let mut tx = app.begin(&caller, &request).await?;
    let of = attachment::hold_variants(&mut tx, caller.user, id).await?;
    image_variant::delete(&mut tx, &of, variant).await?;
    tx.no_content().await
}
