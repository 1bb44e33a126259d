//! Handlers of jobs.

use std::{convert::Infallible, time::Duration};

use axum::{
    extract::State,
    http::StatusCode,
    response::{
        Sse,
        sse::{Event, KeepAlive},
    },
};
use futures::Stream;
use shared::{
    ids::JobId,
    models::job::{self, Filter},
    queue,
};

use super::dto::{Job, ListJobs};
use crate::{
    answer::Answer,
    app::App,
    caller::Caller,
    error::{Error, Problems, Result},
    extract::{Json, Path, Query},
    middleware::RequestId,
    page::{Cursor, Page},
};

/// A byte at least this often keeps routers from closing a silent stream.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Lists the caller's jobs, newest first.
#[utoipa::path(
    get, path = "/api/v1/jobs", tag = "jobs", params(ListJobs),
    responses((status = 200, description = "A page of jobs", body = Page<Job>), Problems),
    security(("bearer" = [])),
)]
#[tracing::instrument(skip_all)]
pub(super) async fn list_jobs(
    State(app): State<App>,
    caller: Caller,
    Query(input): Query<ListJobs>,
) -> Result<Json<Page<Job>>> {
    let before = input.cursor.as_deref().map(Cursor::decode).transpose()?;
    let filter = Filter {
        status: input.status.map(|status| status.0),
        queue: input.queue.map(|queue| queue.0.to_string()),
        kind: input.kind,
        before: before.map(|cursor| (cursor.at, JobId(cursor.id))),
    };
    let rows = job::list(&app.db, caller.user, &filter, input.limit.0 + 1).await?;
    Ok(Json(Page::new(rows, input.limit, |row| Cursor {
        at: row.created_at,
        id: row.id.0,
    })))
}

/// Gets a job.
#[utoipa::path(
    get, path = "/api/v1/jobs/{id}", tag = "jobs",
    params(("id" = JobId, Path, description = "The job")),
    responses((status = 200, description = "The job", body = Job), Problems),
    security(("bearer" = [])),
)]
#[tracing::instrument(skip_all, fields(jobId = %id))]
pub(super) async fn get_job(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<JobId>,
) -> Result<Json<Job>> {
    Ok(Json(job::get(&app.db, caller.user, id).await?.into()))
}

/// Follows a job through server-sent events named `job`, each with the whole job as JSON.
///
/// The first event shows the present state, and the stream ends after the one that shows the final state. An event
/// named `shutdown` means that the server is going down: connect again.
#[utoipa::path(
    get, path = "/api/v1/jobs/{id}/events", tag = "jobs", operation_id = "watch_job",
    params(("id" = JobId, Path, description = "The job")),
    responses(
        (status = 200, description = "A stream of `job` events", body = Job, content_type = "text/event-stream"),
        Problems,
    ),
    security(("bearer" = [])),
)]
#[tracing::instrument(skip_all, fields(jobId = %id))]
pub(super) async fn watch_job(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<JobId>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>> {
    let now: Job = job::get(&app.db, caller.user, id).await?.into();
    let changes = app.watch.subscribe(id, now.clone());
    let closing = app.closing.clone();

    // What is told next, and where the news come from; nothing after the end.
    let begin = Some((Some(now), changes));
    let events = futures::stream::unfold(begin, move |state| {
        let closing = closing.clone();
        async move {
            let (told, mut changes) = state?;
            let next = if let Some(now) = told {
                Some(now)
            } else {
                tokio::select! {
                    news = changes.changed() => news.ok().and_then(|()| changes.borrow_and_update().clone()),
                    () = closing.cancelled() => return Some((Ok(Event::default().event("shutdown").data("{}")), None)),
                }
            };
            // No row any more: it was pruned, so it ended long ago.
            let job = next?;
            let event = Event::default()
                .event("job")
                .json_data(&job)
                .expect("a job is plain data");
            let rest = (!job.status.is_final()).then_some((None, changes));
            Some((Ok(event), rest))
        }
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)))
}

/// Cancels a job. A waiting job ends at once, a running one within a second or two.
///
/// Repeating the call changes nothing.
#[utoipa::path(
    post, path = "/api/v1/jobs/{id}/cancel", tag = "jobs",
    params(("id" = JobId, Path, description = "The job")),
    responses((status = 200, description = "The job, cancelled or about to be", body = Job), Problems),
    security(("bearer" = [])),
)]
#[tracing::instrument(skip_all, fields(jobId = %id))]
pub(super) async fn cancel_job(
    State(app): State<App>,
    caller: Caller,
    request: RequestId,
    Path(id): Path<JobId>,
) -> Result<Answer> {
    let mut tx = app.begin(&caller, &request).await?;
    queue::cancel(&mut tx, caller.user, id)
        .await?
        .ok_or(Error::NotFound("job"))?;
    let row = job::get(tx.orm(), caller.user, id).await?;
    tx.answer(StatusCode::OK, &Job::from(row)).await
}

/// Puts a failed, cancelled or quarantined job back into its queue, with fresh attempts.
#[utoipa::path(
    post, path = "/api/v1/jobs/{id}/retry", tag = "jobs",
    params(("id" = JobId, Path, description = "The job")),
    responses((status = 200, description = "The job, queued again", body = Job), Problems),
    security(("bearer" = [])),
)]
#[tracing::instrument(skip_all, fields(jobId = %id))]
pub(super) async fn retry_job(
    State(app): State<App>,
    caller: Caller,
    request: RequestId,
    Path(id): Path<JobId>,
) -> Result<Answer> {
    let mut tx = app.begin(&caller, &request).await?;
    queue::retry(&mut tx, caller.user, id)
        .await?
        .ok_or(Error::NotFound("job"))?;
    let row = job::get(tx.orm(), caller.user, id).await?;
    tx.answer(StatusCode::OK, &Job::from(row)).await
}
