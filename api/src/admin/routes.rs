//! Handlers of administration.

use axum::{extract::State, http::StatusCode};

use super::dto::{AdminProvider, ProviderList, ReviveProvider, SetProviderKeys};
use crate::{
    app::App,
    caller::AdminCaller,
    error::{Error, Problems, Result},
    extract::{Json, Path},
};

/// Lists providers with their keys, cooldowns, use of today and breakers. Keys are masked.
#[utoipa::path(
    get, path = "/api/v1/admin/providers", tag = "admin",
    responses((status = 200, description = "The providers", body = ProviderList), Problems),
    security(("bearer" = [])),
)]
#[tracing::instrument(skip_all)]
pub(super) async fn list_providers(
    State(app): State<App>,
    _: AdminCaller,
) -> Result<Json<ProviderList>> {
    let views = app.providers.view().await;
    Ok(Json(ProviderList {
        data: views.into_iter().map(AdminProvider::from).collect(),
    }))
}

/// Has keys of a provider tried again that it did not take: one, or all; then cooldowns, days and breakers are forgotten,
/// too.
#[utoipa::path(
    post, path = "/api/v1/admin/providers/{name}/revive", tag = "admin", request_body = Option<ReviveProvider>,
    params(("name" = String, Path, description = "The provider")),
    responses((status = 200, description = "All providers", body = ProviderList), Problems),
    security(("bearer" = [])),
)]
#[tracing::instrument(skip_all, fields(provider = %name))]
pub(super) async fn revive_provider(
    State(app): State<App>,
    _: AdminCaller,
    Path(name): Path<String>,
    input: Option<Json<ReviveProvider>>,
) -> Result<Json<ProviderList>> {
    let key = input.and_then(|input| input.0.key_id);
    if !app.providers.has_key(&name, key.as_deref()) {
        return Err(Error::NotFound("key"));
    }
    app.providers.revive(&name, key.as_deref()).await?;
    list_providers(State(app), AdminCaller).await
}

/// Gives a provider other keys, at once and at all instances, until they are reset. They are kept encrypted.
#[utoipa::path(
    put, path = "/api/v1/admin/providers/{name}/keys", tag = "admin", request_body = SetProviderKeys,
    params(("name" = String, Path, description = "The provider")),
    responses((status = 200, description = "All providers", body = ProviderList), Problems),
    security(("bearer" = [])),
)]
#[tracing::instrument(skip_all, fields(provider = %name))]
pub(super) async fn set_provider_keys(
    State(app): State<App>,
    _: AdminCaller,
    Path(name): Path<String>,
    Json(input): Json<SetProviderKeys>,
) -> Result<Json<ProviderList>> {
    find(&app, &name)?;
    let keys = Some(input.keys.0.as_str());
    app.providers.set_keys(&name, keys).await?;
    list_providers(State(app), AdminCaller).await
}

/// Gives a provider the keys of the configuration again.
#[utoipa::path(
    delete, path = "/api/v1/admin/providers/{name}/keys", tag = "admin",
    params(("name" = String, Path, description = "The provider")),
    responses((status = 204, description = "Reset"), Problems),
    security(("bearer" = [])),
)]
#[tracing::instrument(skip_all, fields(provider = %name))]
pub(super) async fn reset_provider_keys(
    State(app): State<App>,
    _: AdminCaller,
    Path(name): Path<String>,
) -> Result<StatusCode> {
    find(&app, &name)?;
    app.providers.set_keys(&name, None).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn find(app: &App, name: &str) -> Result<()> {
    let known = app.config.common.ai.catalogue.provider(name);
    known.map(|_| ()).ok_or(Error::NotFound("provider"))
}
