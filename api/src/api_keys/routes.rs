//! Handlers of API keys.

use axum::{extract::State, http::StatusCode};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use shared::{
    ids::ApiKeyId,
    keyring::random,
    models::api_key::{self, NewApiKey},
};

use super::dto::{ApiKey, CreateApiKey, CreatedApiKey, ListApiKeys};
use crate::{
    answer::Answer,
    app::App,
    authentication::API_KEY_PREFIX,
    caller::{Caller, SessionCaller},
    error::{Error, Problems, Result},
    extract::{Json, Path, Query},
    middleware::RequestId,
    page::{Cursor, Page},
};

/// Creates an API key. The key itself is shown in this answer only.
///
/// A key may do everything but manage credentials: keys, passwords and sessions (403 `session_required`). Without
/// `write` it is good for GET and HEAD only, without `read` for all other methods only (403 `insufficient_scope`). It
/// keeps working when the password changes and when its user logs out. A user may have 50 keys (409 `api_key_limit`).
#[utoipa::path(
    post, path = "/api/v1/api-keys", tag = "api-keys", request_body = CreateApiKey,
    responses((status = 201, description = "Created", body = CreatedApiKey), Problems),
    security(("bearer" = [])),
)]
#[tracing::instrument(skip_all)]
pub(super) async fn create_api_key(
    State(app): State<App>,
    caller: SessionCaller,
    request: RequestId,
    Json(input): Json<CreateApiKey>,
) -> Result<Answer> {
    let (user, now) = (caller.caller.user, app.clock.now());
    let expires_at = input.expires_at.map(|time| time.0);
    let random = BASE64_URL_SAFE_NO_PAD.encode(random::<32>());
    let key = format!("{API_KEY_PREFIX}{random}");
    let new = NewApiKey {
        name: input.name.0,
        key: &key,
        scopes: input.scopes.0,
        expires_at,
    };
    let mut tx = app.begin(&caller.caller, &request).await?;
    if expires_at.is_some_and(|end| end <= now) {
        return Err(Error::field("/expiresAt", "must be in the future"));
    }
    let row = api_key::create(&mut tx, user, new, now).await?;
    let created = CreatedApiKey {
        api_key: row.into(),
        key,
    };
    tx.answer(StatusCode::CREATED, &created).await
}

/// Lists the caller's API keys, newest first, including expired ones.
#[utoipa::path(
    get, path = "/api/v1/api-keys", tag = "api-keys", params(ListApiKeys),
    responses((status = 200, description = "A page of keys", body = Page<ApiKey>), Problems),
    security(("bearer" = [])),
)]
#[tracing::instrument(skip_all)]
pub(super) async fn list_api_keys(
    State(app): State<App>,
    caller: Caller,
    Query(input): Query<ListApiKeys>,
) -> Result<Json<Page<ApiKey>>> {
    let before = input.cursor.as_deref().map(Cursor::decode).transpose()?;
    let before = before.map(|cursor| (cursor.at, ApiKeyId(cursor.id)));
    let rows = api_key::list(&app.db, caller.user, before, input.limit.0 + 1).await?;
    Ok(Json(Page::new(rows, input.limit, |row| Cursor {
        at: row.created_at,
        id: row.id.0,
    })))
}

/// Deletes a key, which stops working at once.
#[utoipa::path(
    delete, path = "/api/v1/api-keys/{id}", tag = "api-keys",
    params(("id" = ApiKeyId, Path, description = "The key")),
    responses((status = 204, description = "Deleted"), Problems),
    security(("bearer" = [])),
)]
#[tracing::instrument(skip_all, fields(apiKeyId = %id))]
pub(super) async fn delete_api_key(
    State(app): State<App>,
    caller: SessionCaller,
    request: RequestId,
    Path(id): Path<ApiKeyId>,
) -> Result<Answer> {
    let mut tx = app.begin(&caller.caller, &request).await?;
    api_key::delete(&mut tx, caller.caller.user, id).await?;
    tx.no_content().await
}
