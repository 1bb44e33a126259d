//! What requests to an endpoint are signed with: shown, and replaced.

use axum::{extract::State, http::StatusCode};
use chrono::{DateTime, TimeDelta, Utc};
use deserr::Deserr;
use serde::Serialize;
use shared::{
    ids::{SecretId, WebhookId},
    models::webhook::{
        self, Rotated,
        secrets::{Kind, old, show_public_key},
    },
};
use utoipa::ToSchema;

use super::fields::Overlap;
use crate::{
    answer::Answer,
    app::App,
    caller::Caller,
    error::{Problems, Result},
    extract::{Fields, Json, Path},
    middleware::RequestId,
    page::{Page, Pagination},
    preconditions::Preconditions,
    text::Param,
};

/// For how long a former secret signs unless told otherwise, in seconds.
const OVERLAP: u32 = 24 * 60 * 60;

/// How a secret is replaced.
#[derive(Debug, Default, Deserr, ToSchema)]
#[deserr(error = Fields, deny_unknown_fields, rename_all = camelCase)]
#[schema(rename_all = "camelCase")]
pub(super) struct RotateSecret {
    /// For how long the present one signs besides the new one, at most seven days. With 0 it ends at once, and with it every
    /// former one of its kind.
    #[deserr(default)]
    #[schema(value_type = Option<u32>, minimum = 0, maximum = 604_800, default = 86_400, example = 86_400)]
    overlap_seconds: Option<Overlap>,
    /// Which one: the shared secret (`v1`), unless told otherwise, or the key pair (`v1a`).
    #[deserr(default)]
    #[schema(value_type = Option<Kind>)]
    kind: Option<Param<Kind>>,
}

/// A new secret.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct RotatedSecret {
    id: SecretId,
    kind: Kind,
    /// The secret of the kind `v1`. It is shown only here: keep it.
    #[schema(example = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD")]
    secret: Option<String>,
    /// What signatures of the kind `v1a` are checked with.
    public_key: Option<String>,
    created_at: DateTime<Utc>,
    /// The one before; null if it does not sign any more.
    previous: Option<FormerSecret>,
    /// The endpoint's version after it; also the `ETag`.
    version: i32,
}

/// A secret that was replaced.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct FormerSecret {
    id: SecretId,
    /// Until then it signs besides the new one.
    expires_at: DateTime<Utc>,
}

/// Something that requests are signed with, without its value.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct WebhookSecret {
    id: SecretId,
    kind: Kind,
    /// What signatures of the kind `v1a` are checked with.
    public_key: Option<String>,
    created_at: DateTime<Utc>,
    /// Until then it signs; null for the present ones.
    expires_at: Option<DateTime<Utc>>,
}

impl From<old::Model> for WebhookSecret {
    fn from(row: old::Model) -> Self {
        let old::Model {
            id,
            webhook_id: _,
            kind,
            secret: _,
            public_key,
            expires_at,
            created_at,
        } = row;
        Self {
            id,
            kind,
            public_key: public_key.as_deref().map(show_public_key),
            created_at,
            expires_at: Some(expires_at),
        }
    }
}

/// The one of a kind that signs now, if there is one.
fn present(row: &webhook::Model, kind: Kind) -> Option<WebhookSecret> {
    let (id, public_key, created_at) = match kind {
        Kind::V1 => (row.secret_id, None, row.secret_created_at),
        Kind::V1a => (
            row.signing_key_id?,
            row.public_key.as_deref().map(show_public_key),
            row.signing_key_created_at,
        ),
    };
    Some(WebhookSecret {
        id,
        kind,
        public_key,
        created_at: created_at.unwrap_or(row.created_at),
        expires_at: None,
    })
}

/// Replaces the secret of an endpoint. The new one is shown in this answer only.
///
/// For a day, unless told otherwise, requests are signed with both, so that the receiver can take the new one over without
/// missing anything; `X-BaatCheet-Signature` is made with the new one only. At most ten former secrets sign at once (409
/// `webhook_secret_limit`). A key pair can be replaced where `signatures` has `v1a` (409 `no_signing_key`); its private half
/// never leaves the server. With the endpoint's `ETag` in `If-Match`, of two rotations at once one is refused (412). Where the server's
/// keys do not open the present one, it can only be ended at once (409 `webhook_secret_unreadable`).
#[utoipa::path(
    post, path = "/api/v1/webhooks/{id}/rotate-secret", tag = "webhooks", request_body = Option<RotateSecret>,
    params(("id" = WebhookId, Path, description = "The endpoint")),
    responses((status = 200, description = "Replaced", body = RotatedSecret), Problems),
    security(("bearer" = [])),
)]
#[tracing::instrument(skip_all, fields(webhookId = %id))]
pub(super) async fn rotate_webhook_secret(
    State(app): State<App>,
    caller: Caller,
    request: RequestId,
    preconditions: Preconditions,
    Path(id): Path<WebhookId>,
    input: Option<Json<RotateSecret>>,
) -> Result<Answer> {
    let input = input.map(|Json(input)| input).unwrap_or_default();
    let kind = input.kind.map_or(Kind::V1, |kind| kind.0);
    let overlap = input.overlap_seconds.map_or(OVERLAP, |overlap| overlap.0);
    let (overlap, now) = (TimeDelta::seconds(overlap.into()), app.clock.now());
    let mut tx = app.begin(&caller, &request).await?;
    let row = webhook::get_for_update(&mut tx, caller.user, id).await?;
    preconditions.check(row.version)?;
    let rotated = row
        .rotate(&mut tx, &app.keyring, kind, overlap, now)
        .await?;
    let version = rotated.webhook.version;
    tx.answer_version(StatusCode::OK, version, &shown(rotated, kind))
        .await
}

fn shown(rotated: Rotated, kind: Kind) -> RotatedSecret {
    let Rotated {
        webhook,
        secret,
        previous,
    } = rotated;
    let new = present(&webhook, kind).expect("what was just made is there");
    RotatedSecret {
        id: new.id,
        kind,
        secret,
        public_key: new.public_key,
        created_at: new.created_at,
        previous: previous.map(|previous| FormerSecret {
            id: previous.id,
            expires_at: previous.expires_at,
        }),
        version: webhook.version,
    }
}

/// Lists what requests to an endpoint are signed with, without values: the present ones, then the former ones that still sign.
/// They are one page.
#[utoipa::path(
    get, path = "/api/v1/webhooks/{id}/secrets", tag = "webhooks",
    params(("id" = WebhookId, Path, description = "The endpoint")),
    responses((status = 200, description = "The secrets", body = Page<WebhookSecret>), Problems),
    security(("bearer" = [])),
)]
#[tracing::instrument(skip_all, fields(webhookId = %id))]
pub(super) async fn list_webhook_secrets(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<WebhookId>,
) -> Result<Json<Page<WebhookSecret>>> {
    let row = webhook::get(&app.db, caller.user, id).await?;
    let former = row.list_old_secrets(&app.db, app.clock.now()).await?;
    let data = [Kind::V1, Kind::V1a]
        .into_iter()
        .filter_map(|kind| present(&row, kind))
        .chain(former.into_iter().map(WebhookSecret::from))
        .collect();
    Ok(Json(Page {
        data,
        pagination: Pagination {
            next_cursor: None,
            has_more: false,
        },
    }))
}
