//! Models that can be asked now: those that answer, that make vectors, and that write down what is said.

use axum::extract::State;
use chrono::NaiveDate;
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    docs::OpenAiErrors,
    fault::{Fault, Result},
};
use crate::{
    app::App,
    caller::Caller,
    chat::route::usable,
    error::repeat,
    extract::{Json, Path},
};

/// All models that can be asked now.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct OpenAiModelList {
    /// `list`.
    #[schema(example = "list")]
    object: &'static str,
    data: Vec<OpenAiModel>,
}

/// A model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(super) struct OpenAiModel {
    #[schema(example = "gpt-4o-mini")]
    id: String,
    /// `model`.
    #[schema(example = "model")]
    object: &'static str,
    /// Seconds since 1970: when the table of models was made.
    #[schema(example = 1_764_288_000)]
    created: i64,
    /// Who is asked first.
    #[schema(example = "openai")]
    owned_by: String,
}

/// Lists the models that can be asked now.
#[utoipa::path(
    get, path = "/v1/models", tag = "openai",
    responses((status = 200, description = "The models", body = OpenAiModelList), OpenAiErrors),
    security(("bearer" = [])),
)]
#[tracing::instrument(skip_all)]
pub(super) async fn list_openai_models(
    State(app): State<App>,
    _: Caller,
) -> Result<Json<OpenAiModelList>> {
    Ok(Json(OpenAiModelList {
        object: "list",
        data: all(&app),
    }))
}

/// Gets a model; slashes of its id may be sent as they are.
#[utoipa::path(
    get, path = "/v1/models/{model}", tag = "openai",
    params(("model" = String, Path, description = "Its id")),
    responses((status = 200, description = "The model", body = OpenAiModel), OpenAiErrors),
    security(("bearer" = [])),
)]
#[tracing::instrument(skip_all)]
pub(super) async fn get_openai_model(
    State(app): State<App>,
    _: Caller,
    Path(id): Path<String>,
) -> Result<Json<OpenAiModel>> {
    find(&app, &id)
}

/// The same, where the id has slashes.
#[tracing::instrument(skip_all)]
pub(super) async fn get_openai_model_of(
    State(app): State<App>,
    _: Caller,
    Path((owner, rest)): Path<(String, String)>,
) -> Result<Json<OpenAiModel>> {
    find(&app, &format!("{owner}/{rest}"))
}

fn find(app: &App, id: &str) -> Result<Json<OpenAiModel>> {
    let found = all(app).into_iter().find(|model| model.id == id);
    let found = found.ok_or_else(|| {
        let id = repeat(id);
        let message =
            format!("The model '{id}' does not exist, or no provider of it is configured.");
        Fault::no_model(message)
    })?;
    Ok(Json(found))
}

fn all(app: &App) -> Vec<OpenAiModel> {
    let catalogue = &app.config.common.ai.catalogue;
    let created = created(&catalogue.version);
    let mut all: Vec<OpenAiModel> = Vec::new();
    let mut add = |id: &str, owner: &str| {
        if all.iter().all(|known| known.id != id) {
            all.push(OpenAiModel {
                id: id.to_owned(),
                object: "model",
                created,
                owned_by: owner.to_owned(),
            });
        }
    };
    for choice in usable(app) {
        add(choice.id(), choice.first_provider());
    }
    for model in &catalogue.embedding_models {
        let mut routes = model.routes.iter();
        if let Some(route) = routes.find(|route| app.providers.can_ask(&route.provider)) {
            add(&model.id, &route.provider);
        }
    }
    for provider in &catalogue.providers {
        if app.providers.can_ask(&provider.name) {
            for model in &provider.transcription {
                add(&model.model, &provider.name);
            }
        }
    }
    all
}

/// When a table was made whose version is a day.
fn created(version: &str) -> i64 {
    let day = version.parse::<NaiveDate>().unwrap_or_default();
    day.and_time(chrono::NaiveTime::MIN).and_utc().timestamp()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_as_old_as_its_version_says() {
        assert_eq!(created("2025-11-28"), 1_764_288_000);
        assert_eq!(created("mine"), 0);
    }
}
