//! Handlers of webhooks.

use axum::{extract::State, http::StatusCode, response::Response};
use shared::{
    ids::WebhookId,
    models::webhook::{self, secrets::new_secret},
};

use super::dto::{CreateWebhook, CreatedWebhook, ListWebhooks, UpdateWebhook, Webhook};
use crate::{
    answer::Answer,
    app::App,
    caller::Caller,
    error::{Error, Problems, Result},
    extract::{Json, Path, Query},
    middleware::RequestId,
    page::{Cursor, Page},
    preconditions::Preconditions,
};

/// Creates an endpoint. Its secret is shown in this answer only.
///
/// Requests to it are signed according to Standard Webhooks 1.0.0 (`webhook-id`, `webhook-timestamp`,
/// `webhook-signature`). They also carry `X-BaatCheet-Signature` (lower-case hex of the HMAC-SHA256 of the raw body,
/// with the text of the secret as its key), `X-BaatCheet-Event` and `X-BaatCheet-Delivery-ID` (the same for every
/// attempt). With `v1a` in `signatures` there is a signature of Ed25519, too, which is checked with `publicKey`. A user may
/// have 20 endpoints (409 `webhook_limit_reached`).
#[utoipa::path(
    post, path = "/api/v1/webhooks", tag = "webhooks", request_body = CreateWebhook,
    responses((status = 201, description = "Created", body = CreatedWebhook), Problems),
    security(("bearer" = [])),
)]
#[tracing::instrument(skip_all)]
pub(super) async fn create_webhook(
    State(app): State<App>,
    caller: Caller,
    request: RequestId,
    Json(input): Json<CreateWebhook>,
) -> Result<Answer> {
    input.check(&caller)?;
    app.outbound
        .check_url(&input.url.0)
        .await
        .map_err(Error::UrlRefused)?;
    let (settings, secret) = (input.settings(), new_secret());
    let mut tx = app.begin(&caller, &request).await?;
    let row = webhook::create(
        &mut tx,
        &app.keyring,
        caller.user,
        settings,
        &secret,
        app.clock.now(),
    )
    .await?;
    let version = row.version;
    let created = CreatedWebhook {
        webhook: row.into(),
        secret,
    };
    tx.answer_version(StatusCode::CREATED, version, &created)
        .await
}

/// Lists the caller's endpoints, newest first.
#[utoipa::path(
    get, path = "/api/v1/webhooks", tag = "webhooks", params(ListWebhooks),
    responses((status = 200, description = "A page of endpoints", body = Page<Webhook>), Problems),
    security(("bearer" = [])),
)]
#[tracing::instrument(skip_all)]
pub(super) async fn list_webhooks(
    State(app): State<App>,
    caller: Caller,
    Query(input): Query<ListWebhooks>,
) -> Result<Json<Page<Webhook>>> {
    let before = input.cursor.as_deref().map(Cursor::decode).transpose()?;
    let before = before.map(|cursor| (cursor.at, WebhookId(cursor.id)));
    let rows = webhook::list(&app.db, caller.user, before, input.limit.0 + 1).await?;
    Ok(Json(Page::new(rows, input.limit, |row| Cursor {
        at: row.created_at,
        id: row.id.0,
    })))
}

/// Gets an endpoint, without its secret.
#[utoipa::path(
    get, path = "/api/v1/webhooks/{id}", tag = "webhooks",
    params(("id" = WebhookId, Path, description = "The endpoint")),
    responses((status = 200, description = "The endpoint", body = Webhook), Problems),
    security(("bearer" = [])),
)]
#[tracing::instrument(skip_all, fields(webhookId = %id))]
pub(super) async fn get_webhook(
    State(app): State<App>,
    caller: Caller,
    preconditions: Preconditions,
    Path(id): Path<WebhookId>,
) -> Result<Response> {
    let row = webhook::get(&app.db, caller.user, id).await?;
    preconditions.answer(row.version, &Webhook::from(row))
}

/// Changes an endpoint. An attempt that is already running is not affected.
///
/// Switching the endpoint on clears `disabledReason`, and forgets that it failed or asked to be left alone.
#[utoipa::path(
    patch, path = "/api/v1/webhooks/{id}", tag = "webhooks", request_body = UpdateWebhook,
    params(("id" = WebhookId, Path, description = "The endpoint")),
    responses((status = 200, description = "Changed", body = Webhook), Problems),
    security(("bearer" = [])),
)]
#[tracing::instrument(skip_all, fields(webhookId = %id))]
pub(super) async fn update_webhook(
    State(app): State<App>,
    caller: Caller,
    request: RequestId,
    preconditions: Preconditions,
    Path(id): Path<WebhookId>,
    Json(input): Json<UpdateWebhook>,
) -> Result<Answer> {
    input.check(&caller)?;
    if let Some(url) = &input.url.0 {
        // Nothing is looked up for what is not there.
        webhook::get(&app.db, caller.user, id).await?;
        let check = app.outbound.check_url(&url.0).await;
        check.map_err(Error::UrlRefused)?;
    }
    let mut tx = app.begin(&caller, &request).await?;
    let row = webhook::get_for_update(&mut tx, caller.user, id).await?;
    preconditions.check(row.version)?;
    if input.switches_on() {
        row.forgive(&mut tx).await?;
    }
    let settings = input.apply(row.settings());
    let row = row
        .change(&mut tx, &app.keyring, settings, app.clock.now())
        .await?;
    tx.answer_version(StatusCode::OK, row.version, &Webhook::from(row))
        .await
}

/// Deletes an endpoint and its deliveries. Nothing more is sent to it; what is left of it goes in the background.
#[utoipa::path(
    delete, path = "/api/v1/webhooks/{id}", tag = "webhooks",
    params(("id" = WebhookId, Path, description = "The endpoint")),
    responses((status = 204, description = "Deleted"), Problems),
    security(("bearer" = [])),
)]
#[tracing::instrument(skip_all, fields(webhookId = %id))]
pub(super) async fn delete_webhook(
    State(app): State<App>,
    caller: Caller,
    request: RequestId,
    preconditions: Preconditions,
    Path(id): Path<WebhookId>,
) -> Result<Answer> {
    let mut tx = app.begin(&caller, &request).await?;
    let row = webhook::get_for_update(&mut tx, caller.user, id).await?;
    preconditions.check(row.version)?;
    row.delete(&mut tx, app.clock.now()).await?;
    tx.no_content().await
}
