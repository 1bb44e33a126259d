//! Handlers of exports.

use axum::extract::State;
use shared::{
    ids::{ConversationId, ExportId},
    models::export::{self, Filter},
};

use super::{
    content, create_export as operation,
    dto::{CreateExport, CreatedExport, Export, ListExports},
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

/// Makes a file of a conversation in the background; `job` shows the progress.
///
/// The file is kept for seven days. A user has at most 50 exports at once; further ones are refused with
/// `export_limit_reached`.
#[utoipa::path(
    post, path = "/api/v1/conversations/{id}/exports", tag = "exports", request_body = CreateExport,
    params(("id" = ConversationId, Path, description = "The conversation")),
    responses((status = 202, description = "It will be made in the background", body = CreatedExport), Problems),
    security(("bearer" = [])),
)]
#[tracing::instrument(skip_all, fields(conversationId = %id))]
pub(super) async fn create_export(
    State(app): State<App>,
    caller: Caller,
    request: RequestId,
    Path(id): Path<ConversationId>,
    Json(input): Json<CreateExport>,
) -> Result<Answer> {
    operation::create_export(&app, &caller, &request, id, input).await
}

/// Lists the caller's exports, newest first.
#[utoipa::path(
    get, path = "/api/v1/exports", tag = "exports", params(ListExports),
    responses((status = 200, description = "A page of exports", body = Page<Export>), Problems),
    security(("bearer" = [])),
)]
#[tracing::instrument(skip_all)]
pub(super) async fn list_exports(
    State(app): State<App>,
    caller: Caller,
    Query(input): Query<ListExports>,
) -> Result<Json<Page<Export>>> {
    let before = input.cursor.as_deref().map(Cursor::decode).transpose()?;
    let filter = Filter {
        conversation: input.conversation_id.map(|conversation| conversation.0),
        status: input.status.map(|status| status.0),
        before: before.map(|cursor| (cursor.at, ExportId(cursor.id))),
    };
    let (limit, now) = (input.limit.0 + 1, app.clock.now());
    let rows = export::list(&app.db, caller.user, &filter, limit, now).await?;
    let page = Page::<export::Model>::new(rows, input.limit, |row| Cursor {
        at: row.created_at,
        id: row.id.0,
    });
    let mut data = Vec::with_capacity(page.data.len());
    for row in page.data {
        data.push(show(&app, row).await?);
    }
    Ok(Json(Page {
        data,
        pagination: page.pagination,
    }))
}

/// Gets an export, with a URL at which its file is.
#[utoipa::path(
    get, path = "/api/v1/exports/{id}", tag = "exports",
    params(("id" = ExportId, Path, description = "The export")),
    responses((status = 200, description = "The export", body = Export), Problems),
    security(("bearer" = [])),
)]
#[tracing::instrument(skip_all, fields(exportId = %id))]
pub(super) async fn get_export(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<ExportId>,
) -> Result<Json<Export>> {
    let row = export::get(&app.db, caller.user, id, app.clock.now()).await?;
    Ok(Json(show(&app, row).await?))
}

async fn show(app: &App, row: export::Model) -> Result<Export> {
    let url = content::url(app, &row).await?;
    Ok(Export::new(row, url))
}

/// Deletes an export. Its file soon disappears from every URL; a job that is making it is stopped.
#[utoipa::path(
    delete, path = "/api/v1/exports/{id}", tag = "exports",
    params(("id" = ExportId, Path, description = "The export")),
    responses((status = 204, description = "Deleted"), Problems),
    security(("bearer" = [])),
)]
#[tracing::instrument(skip_all, fields(exportId = %id))]
pub(super) async fn delete_export(
    State(app): State<App>,
    caller: Caller,
    request: RequestId,
    Path(id): Path<ExportId>,
) -> Result<Answer> {
    let mut tx = app.begin(&caller, &request).await?;
    export::delete(&mut tx, caller.user, id, app.clock.now()).await?;
    tx.no_content().await
}
