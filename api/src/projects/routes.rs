//! Handlers of projects.

use axum::{extract::State, http::StatusCode, response::Response};
use shared::{ids::ProjectId, models::project};

use super::dto::{CreateProject, ListProjects, Project, UpdateProject};
use crate::{
    answer::Answer,
    app::App,
    caller::Caller,
    error::{Problems, Result},
    extract::{Json, Path, Query},
    middleware::RequestId,
    page::{Cursor, Page},
    preconditions::Preconditions,
};

/// Creates a project.
#[utoipa::path(
    post, path = "/api/v1/projects", tag = "projects", request_body = CreateProject,
    responses((status = 201, description = "Created", body = Project), Problems),
    security(("bearer" = [])),
)]
#[tracing::instrument(skip_all)]
pub(super) async fn create_project(
    State(app): State<App>,
    caller: Caller,
    request: RequestId,
    Json(input): Json<CreateProject>,
) -> Result<Answer> {
    let mut tx = app.begin(&caller, &request).await?;
    let row = project::create(&mut tx, caller.user, input.into(), app.clock.now()).await?;
    tx.answer_version(StatusCode::CREATED, row.version, &Project::from(row))
        .await
}

/// Lists the caller's projects, newest first.
#[utoipa::path(
    get, path = "/api/v1/projects", tag = "projects", params(ListProjects),
    responses((status = 200, description = "A page of projects", body = Page<Project>), Problems),
    security(("bearer" = [])),
)]
#[tracing::instrument(skip_all)]
pub(super) async fn list_projects(
    State(app): State<App>,
    caller: Caller,
    Query(input): Query<ListProjects>,
) -> Result<Json<Page<Project>>> {
    let before = input.cursor.as_deref().map(Cursor::decode).transpose()?;
    let before = before.map(|cursor| (cursor.at, ProjectId(cursor.id)));
    let rows = project::list(&app.db, caller.user, before, input.limit.0 + 1).await?;
    Ok(Json(Page::new(rows, input.limit, |row| Cursor {
        at: row.created_at,
        id: row.id.0,
    })))
}

/// Gets a project.
#[utoipa::path(
    get, path = "/api/v1/projects/{id}", tag = "projects",
    params(("id" = ProjectId, Path, description = "The project")),
    responses((status = 200, description = "The project", body = Project), Problems),
    security(("bearer" = [])),
)]
#[tracing::instrument(skip_all, fields(projectId = %id))]
pub(super) async fn get_project(
    State(app): State<App>,
    caller: Caller,
    preconditions: Preconditions,
    Path(id): Path<ProjectId>,
) -> Result<Response> {
    let row = project::get(&app.db, caller.user, id).await?;
    preconditions.answer(row.version, &Project::from(row))
}

/// Changes a project. A field that is left out keeps its value; null clears it.
#[utoipa::path(
    patch, path = "/api/v1/projects/{id}", tag = "projects", request_body = UpdateProject,
    params(("id" = ProjectId, Path, description = "The project")),
    responses((status = 200, description = "Changed", body = Project), Problems),
    security(("bearer" = [])),
)]
#[tracing::instrument(skip_all, fields(projectId = %id))]
pub(super) async fn update_project(
    State(app): State<App>,
    caller: Caller,
    request: RequestId,
    preconditions: Preconditions,
    Path(id): Path<ProjectId>,
    Json(input): Json<UpdateProject>,
) -> Result<Answer> {
    let mut tx = app.begin(&caller, &request).await?;
    let row = project::get_for_update(&mut tx, caller.user, id).await?;
    preconditions.check(row.version)?;
    let texts = input.apply(&row)?;
    let row = row.change(&mut tx, texts, app.clock.now()).await?;
    tx.answer_version(StatusCode::OK, row.version, &Project::from(row))
        .await
}

/// Deletes a project. Its conversations are kept, without a project.
#[utoipa::path(
    delete, path = "/api/v1/projects/{id}", tag = "projects",
    params(("id" = ProjectId, Path, description = "The project")),
    responses((status = 204, description = "Deleted"), Problems),
    security(("bearer" = [])),
)]
#[tracing::instrument(skip_all, fields(projectId = %id))]
pub(super) async fn delete_project(
    State(app): State<App>,
    caller: Caller,
    request: RequestId,
    preconditions: Preconditions,
    Path(id): Path<ProjectId>,
) -> Result<Answer> {
    let mut tx = app.begin(&caller, &request).await?;
    let row = project::get_for_update(&mut tx, caller.user, id).await?;
    preconditions.check(row.version)?;
    row.delete(&mut tx, app.clock.now()).await?;
    tx.no_content().await
}
