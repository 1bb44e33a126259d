//! Sending an endpoint again what it has missed.

use axum::{extract::State, http::StatusCode};
use chrono::{DateTime, Utc};
use deserr::Deserr;
use serde::Serialize;
use shared::{
    ids::{JobId, RecoveryId, WebhookId},
    models::{
        job,
        webhook::{
            self,
            recovery::{self, Status},
        },
    },
};
use utoipa::{IntoParams, ToSchema};

use crate::{
    answer::Answer,
    app::App,
    caller::Caller,
    error::{Error, Problems, Result},
    extract::{Fields, Json, Path, Query},
    jobs::dto::Job,
    middleware::RequestId,
    moment::Moment,
    page::{Cursor, Limit, Page},
};

/// Since when deliveries are sent again.
#[derive(Debug, Deserr, ToSchema)]
#[deserr(error = Fields, deny_unknown_fields, rename_all = camelCase)]
#[schema(rename_all = "camelCase")]
pub(super) struct RecoverWebhook {
    /// Deliveries of this time on, at most 30 days back.
    #[schema(value_type = DateTime<Utc>, example = "2026-01-01T12:00:00Z")]
    since: Moment,
}

/// Sending again what an endpoint has missed.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct WebhookRecovery {
    id: RecoveryId,
    webhook_id: WebhookId,
    status: Status,
    /// Deliveries of this time on.
    since: DateTime<Utc>,
    /// When it was asked for: what fails later is not sent again by it.
    until: DateTime<Utc>,
    /// How many deliveries had failed; null until they are counted.
    #[schema(minimum = 0, example = 340)]
    found: Option<i64>,
    /// How many of them are sent again.
    #[schema(minimum = 0, example = 200)]
    resent: i64,
    /// The job that does it; cancelling it stops the recovery.
    job_id: JobId,
    created_at: DateTime<Utc>,
    finished_at: Option<DateTime<Utc>>,
}

impl From<recovery::Model> for WebhookRecovery {
    fn from(row: recovery::Model) -> Self {
        let recovery::Model {
            id,
            webhook_id,
            since,
            until,
            status,
            found,
            resent,
            cursor_at: _,
            cursor_id: _,
            job_id,
            created_at,
            finished_at,
        } = row;
        Self {
            id,
            webhook_id,
            status,
            since,
            until,
            found,
            resent,
            job_id,
            created_at,
            finished_at,
        }
    }
}

/// A recovery that has begun, and its job.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct BegunRecovery {
    recovery: WebhookRecovery,
    /// The job that does it, with its progress.
    job: Job,
}

/// Which recoveries are listed.
#[derive(Debug, Deserr, IntoParams)]
#[deserr(error = Fields, deny_unknown_fields, rename_all = camelCase)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
pub(super) struct ListRecoveries {
    /// 1 to 100.
    #[deserr(default)]
    #[param(value_type = Option<u64>, minimum = 1, maximum = 100, default = 50)]
    limit: Limit,
    /// `nextCursor` of the previous page.
    #[deserr(default)]
    cursor: Option<String>,
}

/// Sends again every delivery to an endpoint that has failed since a time; `job` shows the progress.
///
/// Each is sent again once, the oldest first; those that were cancelled or still wait are left alone. An endpoint has one
/// recovery at a time: while one runs, that one is answered. Refused while the endpoint is switched off (409
/// `webhook_inactive`).
#[utoipa::path(
    post, path = "/api/v1/webhooks/{id}/recover", tag = "webhooks", request_body = RecoverWebhook,
    params(("id" = WebhookId, Path, description = "The endpoint")),
    responses((status = 202, description = "They will be sent again in the background", body = BegunRecovery), Problems),
    security(("bearer" = [])),
)]
#[tracing::instrument(skip_all, fields(webhookId = %id))]
pub(super) async fn recover_webhook(
    State(app): State<App>,
    caller: Caller,
    request: RequestId,
    Path(id): Path<WebhookId>,
    Json(input): Json<RecoverWebhook>,
) -> Result<Answer> {
    let (since, now) = (input.since.0, app.clock.now());
    if since > now || since < now - recovery::LONGEST {
        return Err(Error::field("/since", "must be within the last 30 days"));
    }
    let mut tx = app.begin(&caller, &request).await?;
    let endpoint = webhook::get_for_update(&mut tx, caller.user, id).await?;
    let row = recovery::begin(&mut tx, &endpoint, since, now).await?;
    let job = job::get(tx.orm(), caller.user, row.job_id).await?;
    let begun = BegunRecovery {
        recovery: row.into(),
        job: job.into(),
    };
    tx.answer(StatusCode::ACCEPTED, &begun).await
}

/// Lists the recoveries of an endpoint, newest first. They are kept for 30 days.
#[utoipa::path(
    get, path = "/api/v1/webhooks/{id}/recoveries", tag = "webhooks",
    params(("id" = WebhookId, Path, description = "The endpoint"), ListRecoveries),
    responses((status = 200, description = "A page of recoveries", body = Page<WebhookRecovery>), Problems),
    security(("bearer" = [])),
)]
#[tracing::instrument(skip_all, fields(webhookId = %id))]
pub(super) async fn list_webhook_recoveries(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<WebhookId>,
    Query(input): Query<ListRecoveries>,
) -> Result<Json<Page<WebhookRecovery>>> {
    let before = input.cursor.as_deref().map(Cursor::decode).transpose()?;
    let before = before.map(|cursor| (cursor.at, RecoveryId(cursor.id)));
    webhook::get(&app.db, caller.user, id).await?;
    let rows = recovery::list(&app.db, id, before, input.limit.0 + 1).await?;
    Ok(Json(Page::new(rows, input.limit, |row| Cursor {
        at: row.created_at,
        id: row.id.0,
    })))
}

/// Gets a recovery.
#[utoipa::path(
    get, path = "/api/v1/webhooks/{id}/recoveries/{recoveryId}", tag = "webhooks",
    params(
        ("id" = WebhookId, Path, description = "The endpoint"),
        ("recoveryId" = RecoveryId, Path, description = "The recovery"),
    ),
    responses((status = 200, description = "The recovery", body = WebhookRecovery), Problems),
    security(("bearer" = [])),
)]
#[tracing::instrument(skip_all, fields(webhookId = %webhook, recoveryId = %id))]
pub(super) async fn get_webhook_recovery(
    State(app): State<App>,
    caller: Caller,
    Path((webhook, id)): Path<(WebhookId, RecoveryId)>,
) -> Result<Json<WebhookRecovery>> {
    webhook::get(&app.db, caller.user, webhook).await?;
    Ok(Json(recovery::get(&app.db, webhook, id).await?.into()))
}
