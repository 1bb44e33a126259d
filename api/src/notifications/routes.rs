//! Handlers of notifications.

use axum::{extract::State, http::StatusCode};
use shared::{
    ids::NotificationId,
    models::notification::{self, Filter},
};

use super::dto::{ListNotifications, Notification, ReadCount, UnreadCount};
use crate::{
    answer::Answer,
    app::App,
    caller::Caller,
    error::{Problems, Result},
    extract::{Json, Path, Query},
    middleware::RequestId,
    page::{Cursor, Page},
};

/// Lists the caller's notifications, newest first.
#[utoipa::path(
    get, path = "/api/v1/notifications", tag = "notifications", params(ListNotifications),
    responses((status = 200, description = "A page of notifications", body = Page<Notification>), Problems),
    security(("bearer" = [])),
)]
#[tracing::instrument(skip_all)]
pub(super) async fn list_notifications(
    State(app): State<App>,
    caller: Caller,
    Query(input): Query<ListNotifications>,
) -> Result<Json<Page<Notification>>> {
    let before = input.cursor.as_deref().map(Cursor::decode).transpose()?;
    let filter = Filter {
        unread: input.unread.map(|unread| unread.0),
        before: before.map(|cursor| (cursor.at, NotificationId(cursor.id))),
    };
    let rows = notification::list(&app.db, caller.user, &filter, input.limit.0 + 1).await?;
    Ok(Json(Page::new(rows, input.limit, |row| Cursor {
        at: row.created_at,
        id: row.id.0,
    })))
}

/// Counts the caller's unread notifications.
#[utoipa::path(
    get, path = "/api/v1/notifications/unread-count", tag = "notifications",
    responses((status = 200, description = "How many there are", body = UnreadCount), Problems),
    security(("bearer" = [])),
)]
#[tracing::instrument(skip_all)]
pub(super) async fn count_unread_notifications(
    State(app): State<App>,
    caller: Caller,
) -> Result<Json<UnreadCount>> {
    let unread_count = notification::count_unread(&app.db, caller.user).await?;
    Ok(Json(UnreadCount { unread_count }))
}

/// Marks a notification as read. Repeating the call changes nothing and returns the first `readAt`.
#[utoipa::path(
    post, path = "/api/v1/notifications/{id}/read", tag = "notifications",
    params(("id" = NotificationId, Path, description = "The notification")),
    responses((status = 200, description = "Read", body = Notification), Problems),
    security(("bearer" = [])),
)]
#[tracing::instrument(skip_all, fields(notificationId = %id))]
pub(super) async fn read_notification(
    State(app): State<App>,
    caller: Caller,
    request: RequestId,
    Path(id): Path<NotificationId>,
) -> Result<Answer> {
    let mut tx = app.begin(&caller, &request).await?;
    let row = notification::mark_read(&mut tx, caller.user, id, app.clock.now()).await?;
    tx.answer(StatusCode::OK, &Notification::from(row)).await
}

/// Marks all of the caller's notifications as read.
#[utoipa::path(
    post, path = "/api/v1/notifications/read-all", tag = "notifications",
    responses((status = 200, description = "How many were unread", body = ReadCount), Problems),
    security(("bearer" = [])),
)]
#[tracing::instrument(skip_all)]
pub(super) async fn read_all_notifications(
    State(app): State<App>,
    caller: Caller,
    request: RequestId,
) -> Result<Answer> {
    let mut tx = app.begin(&caller, &request).await?;
    let read_count = notification::mark_all_read(&mut tx, caller.user, app.clock.now()).await?;
    tx.answer(StatusCode::OK, &ReadCount { read_count }).await
}

/// Deletes a notification.
#[utoipa::path(
    delete, path = "/api/v1/notifications/{id}", tag = "notifications",
    params(("id" = NotificationId, Path, description = "The notification")),
    responses((status = 204, description = "Deleted"), Problems),
    security(("bearer" = [])),
)]
#[tracing::instrument(skip_all, fields(notificationId = %id))]
pub(super) async fn delete_notification(
    State(app): State<App>,
    caller: Caller,
    request: RequestId,
    Path(id): Path<NotificationId>,
) -> Result<Answer> {
    let mut tx = app.begin(&caller, &request).await?;
    notification::delete(&mut tx, caller.user, id).await?;
    tx.no_content().await
}
