//! Handlers of deliveries.

use axum::{extract::State, http::StatusCode};
use shared::{
    ids::{AttemptId, DeliveryId, WebhookId},
    models::{
        delivery::{self, Filter, attempt},
        webhook,
    },
};

use super::{
    attempts::{DeliveryAttempt, DeliveryWithAttempts, ListAttempts, ListDeliveryAttempts},
    dto::{Delivery, ListDeliveries, SentDelivery},
    ping::ping,
    resend::resend,
};
use crate::{
    answer::Answer,
    app::App,
    caller::Caller,
    error::{Problems, Result},
    extract::{Json, Path, Query},
    middleware::RequestId,
    page::{Cursor, MAX_LIMIT, Page},
};

/// Lists the deliveries to an endpoint, newest first. They are kept for 30 days.
#[utoipa::path(
    get, path = "/api/v1/webhooks/{id}/deliveries", tag = "webhooks",
    params(("id" = WebhookId, Path, description = "The endpoint"), ListDeliveries),
    responses((status = 200, description = "A page of deliveries", body = Page<Delivery>), Problems),
    security(("bearer" = [])),
)]
#[tracing::instrument(skip_all, fields(webhookId = %id))]
pub(super) async fn list_deliveries(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<WebhookId>,
    Query(input): Query<ListDeliveries>,
) -> Result<Json<Page<Delivery>>> {
    let before = input.cursor.as_deref().map(Cursor::decode).transpose()?;
    let filter = Filter {
        statuses: input.status.map_or_else(Vec::new, |statuses| statuses.0),
        event: input.event.map(|event| event.0),
        since: input.since.map(|since| since.0),
        until: input.until.map(|until| until.0),
        before: before.map(|cursor| (cursor.at, DeliveryId(cursor.id))),
    };
    webhook::get(&app.db, caller.user, id).await?;
    let rows = delivery::list(&app.db, caller.user, id, &filter, input.limit.0 + 1).await?;
    Ok(Json(Page::new(rows, input.limit, |row| Cursor {
        at: row.created_at,
        id: row.id.0,
    })))
}

/// Gets a delivery, with its attempts.
#[utoipa::path(
    get, path = "/api/v1/webhooks/{id}/deliveries/{deliveryId}", tag = "webhooks",
    params(
        ("id" = WebhookId, Path, description = "The endpoint"),
        ("deliveryId" = DeliveryId, Path, description = "The delivery"),
    ),
    responses((status = 200, description = "The delivery", body = DeliveryWithAttempts), Problems),
    security(("bearer" = [])),
)]
#[tracing::instrument(skip_all, fields(webhookId = %webhook, deliveryId = %id))]
pub(super) async fn get_delivery(
    State(app): State<App>,
    caller: Caller,
    Path((webhook, id)): Path<(WebhookId, DeliveryId)>,
) -> Result<Json<DeliveryWithAttempts>> {
    let delivery: Delivery = delivery::get(&app.db, caller.user, webhook, id)
        .await?
        .into();
    let rows = attempt::list(&app.db, delivery.id, &attempt::Filter::default(), MAX_LIMIT).await?;
    let attempts = rows
        .into_iter()
        .map(|row| DeliveryAttempt::new(row, webhook, delivery.event.clone(), None))
        .collect();
    Ok(Json(DeliveryWithAttempts { delivery, attempts }))
}

/// Lists the attempts of a delivery, newest first.
#[utoipa::path(
    get, path = "/api/v1/webhooks/{id}/deliveries/{deliveryId}/attempts", tag = "webhooks",
    params(
        ("id" = WebhookId, Path, description = "The endpoint"),
        ("deliveryId" = DeliveryId, Path, description = "The delivery"),
        ListDeliveryAttempts,
    ),
    responses((status = 200, description = "A page of attempts", body = Page<DeliveryAttempt>), Problems),
    security(("bearer" = [])),
)]
#[tracing::instrument(skip_all, fields(webhookId = %webhook, deliveryId = %id))]
pub(super) async fn list_delivery_attempts(
    State(app): State<App>,
    caller: Caller,
    Path((webhook, id)): Path<(WebhookId, DeliveryId)>,
    Query(input): Query<ListDeliveryAttempts>,
) -> Result<Json<Page<DeliveryAttempt>>> {
    let before = input.cursor.as_deref().map(Cursor::decode).transpose()?;
    let filter = attempt::Filter {
        outcomes: input.status.map_or_else(Vec::new, |outcomes| outcomes.0),
        status_code: input.status_code.map(|code| code.0),
        before: before.map(|cursor| (cursor.at, AttemptId(cursor.id))),
        ..attempt::Filter::default()
    };
    let delivery: Delivery = delivery::get(&app.db, caller.user, webhook, id)
        .await?
        .into();
    let rows = attempt::list(&app.db, delivery.id, &filter, input.limit.0 + 1).await?;
    let rows: Vec<DeliveryAttempt> = rows
        .into_iter()
        .map(|row| {
            let payload = Some(delivery.payload.clone());
            DeliveryAttempt::new(row, webhook, delivery.event.clone(), payload)
        })
        .collect();
    Ok(Json(Page::new(rows, input.limit, |row| Cursor {
        at: row.created_at,
        id: row.id.0,
    })))
}

/// Sends the event of a delivery to its endpoint again, with fresh attempts.
///
/// A delivery that failed or was cancelled is tried again itself; for one that succeeded, another delivery is created.
/// In both cases `webhook-id` is that of the event, so that receivers recognize what they have seen. Refused while the
/// delivery still waits for an attempt of its own (409 `delivery_pending`), and while the endpoint is switched off (409
/// `webhook_inactive`). An event of another user is sent again only while the caller is an administrator, and the endpoint has the
/// scope `all` (409 `event_of_another_user`).
#[utoipa::path(
    post, path = "/api/v1/webhooks/{id}/deliveries/{deliveryId}/resend", tag = "webhooks",
    params(
        ("id" = WebhookId, Path, description = "The endpoint"),
        ("deliveryId" = DeliveryId, Path, description = "The delivery"),
    ),
    responses((status = 202, description = "The delivery that is sent, and its job", body = SentDelivery), Problems),
    security(("bearer" = [])),
)]
#[tracing::instrument(skip_all, fields(webhookId = %webhook, deliveryId = %id))]
pub(super) async fn resend_delivery(
    State(app): State<App>,
    caller: Caller,
    request: RequestId,
    Path((webhook, id)): Path<(WebhookId, DeliveryId)>,
) -> Result<Answer> {
    let mut tx = app.begin(&caller, &request).await?;
    let (delivery, job) = resend(&mut tx, caller.user, webhook, id, app.clock.now()).await?;
    let resent = SentDelivery {
        delivery: delivery.into(),
        job: job.into(),
    };
    tx.answer(StatusCode::ACCEPTED, &resent).await
}

/// Lists the attempts at all deliveries to an endpoint, newest first.
#[utoipa::path(
    get, path = "/api/v1/webhooks/{id}/attempts", tag = "webhooks",
    params(("id" = WebhookId, Path, description = "The endpoint"), ListAttempts),
    responses((status = 200, description = "A page of attempts", body = Page<DeliveryAttempt>), Problems),
    security(("bearer" = [])),
)]
#[tracing::instrument(skip_all, fields(webhookId = %id))]
pub(super) async fn list_attempts(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<WebhookId>,
    Query(input): Query<ListAttempts>,
) -> Result<Json<Page<DeliveryAttempt>>> {
    let before = input.cursor.as_deref().map(Cursor::decode).transpose()?;
    let filter = attempt::Filter {
        outcomes: input.status.map_or_else(Vec::new, |outcomes| outcomes.0),
        status_code: input.status_code.map(|code| code.0),
        event: input.event.map(|event| event.0),
        since: input.since.map(|since| since.0),
        until: input.until.map(|until| until.0),
        before: before.map(|cursor| (cursor.at, AttemptId(cursor.id))),
    };
    webhook::get(&app.db, caller.user, id).await?;
    let rows = attempt::list_of_webhook(&app.db, id, &filter, input.limit.0 + 1).await?;
    let deliveries: Vec<DeliveryId> = rows.iter().map(|row| row.delivery_id).collect();
    let events = delivery::find_events(&app.db, &deliveries).await?;
    let rows: Vec<DeliveryAttempt> = rows
        .into_iter()
        .map(|row| {
            let event = events.get(&row.delivery_id).cloned().unwrap_or_default();
            DeliveryAttempt::new(row, id, event, None)
        })
        .collect();
    Ok(Json(Page::new(rows, input.limit, |row| Cursor {
        at: row.created_at,
        id: row.id.0,
    })))
}

/// Sends a test to an endpoint: the event `webhook.ping`, whatever it subscribes to, with attempts like any other.
///
/// Refused while the endpoint is switched off (409 `webhook_inactive`).
#[utoipa::path(
    post, path = "/api/v1/webhooks/{id}/ping", tag = "webhooks",
    params(("id" = WebhookId, Path, description = "The endpoint")),
    responses((status = 202, description = "The delivery of the test, and its job", body = SentDelivery), Problems),
    security(("bearer" = [])),
)]
#[tracing::instrument(skip_all, fields(webhookId = %id))]
pub(super) async fn ping_webhook(
    State(app): State<App>,
    caller: Caller,
    request: RequestId,
    Path(id): Path<WebhookId>,
) -> Result<Answer> {
    let mut tx = app.begin(&caller, &request).await?;
    let (delivery, job) = ping(&mut tx, caller.user, id, app.clock.now()).await?;
    let sent = SentDelivery {
        delivery: delivery.into(),
        job: job.into(),
    };
    tx.answer(StatusCode::ACCEPTED, &sent).await
}
