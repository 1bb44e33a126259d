//! Models that can be asked now.

use axum::extract::State;
use serde::Serialize;
use shared::{
    catalogue::{self, Route},
    tokens::Encoding,
};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    app::App,
    caller::Caller,
    chat::route::{self, Choice},
    error::{Problems, Result},
    extract::{Json, Path},
};

/// The feature's routes.
pub(crate) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list_models))
        .routes(routes!(get_model))
}

/// All models that can be asked now.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct ModelList {
    data: Vec<Model>,
    /// The model that answers those who name none; null if nobody can be asked.
    #[schema(example = "gpt-4o-mini")]
    default_model: Option<String>,
    /// The table that models and prices are from.
    #[schema(example = "2026-11-28")]
    version: String,
}

/// A model.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Model {
    #[schema(example = "gpt-4o-mini")]
    id: String,
    /// For people.
    #[schema(example = "GPT-4o mini")]
    name: String,
    /// Most tokens of a question and its answer.
    #[schema(example = 128_000)]
    context_tokens: u32,
    /// Most tokens of an answer.
    #[schema(example = 16_384)]
    max_output_tokens: u32,
    /// Whether it can be shown pictures.
    sees_pictures: bool,
    /// Who is asked, in this order.
    providers: Vec<ModelProvider>,
}

/// Who has a model.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct ModelProvider {
    #[schema(example = "openai")]
    name: String,
    /// How it calls the model.
    #[schema(example = "gpt-4o-mini")]
    model: String,
    /// Prices in millionths of a US dollar, of a million tokens; null if they are not known, and answers are `unpriced`.
    price_microusd_per_million: Option<ModelPrice>,
    tokens: ModelTokens,
}

/// How its tokens are counted before it is asked: in an encoding, times a factor.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct ModelTokens {
    /// What is counted in: the model's own, or that of all models whose own is not known.
    encoding: Encoding,
    /// Whether it is the model's own. Then the factor is 1.
    #[schema(example = false)]
    exact: bool,
    /// What that is multiplied by, as learned from what the provider reports; 1 until something was.
    #[schema(example = 1.08)]
    factor: f64,
    /// Root mean square by which single answers differ from the factor, as a share of it; null until something was learned.
    #[schema(example = 0.021)]
    error: Option<f64>,
    /// From how many answers it was learned.
    #[schema(example = 20)]
    samples: u64,
}

/// Prices in millionths of a US dollar, of a million tokens.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct ModelPrice {
    /// Of a question.
    #[schema(example = 150_000)]
    input: u64,
    /// Of what of a question the provider had already.
    #[schema(example = 75_000)]
    cached_input: u64,
    /// Of an answer.
    #[schema(example = 600_000)]
    output: u64,
}

impl From<catalogue::Price> for ModelPrice {
    fn from(price: catalogue::Price) -> Self {
        Self {
            input: price.input,
            cached_input: price.cached_input.unwrap_or(price.input),
            output: price.output,
        }
    }
}

impl ModelTokens {
    fn of(app: &App, route: &Route) -> Self {
        let measure = app.tokens.measure(&route.provider, &route.model);
        if measure.is_exact {
            return Self {
                encoding: measure.encoding,
                exact: true,
                factor: 1.0,
                error: Some(0.0),
                samples: 0,
            };
        }
        let learned = app.tokens.learned(&route.provider, &route.model);
        Self {
            encoding: measure.encoding,
            exact: false,
            factor: measure.factor(),
            error: learned.map(|learned| learned.error()),
            samples: learned.map_or(0, |learned| learned.samples),
        }
    }
}

impl Model {
    fn of(app: &App, choice: Choice) -> Self {
        match choice {
            Choice::Model(model, routes) => Self {
                id: model.id,
                name: model.name,
                context_tokens: model.context_tokens,
                max_output_tokens: model.max_output_tokens,
                sees_pictures: model.sees_pictures,
                providers: routes
                    .into_iter()
                    .map(|route| ModelProvider {
                        tokens: ModelTokens::of(app, &route),
                        name: route.provider,
                        model: route.model,
                        price_microusd_per_million: route.price.map(ModelPrice::from),
                    })
                    .collect(),
            },
            Choice::Echo => Self {
                id: catalogue::ECHO.to_owned(),
                name: "Echo: says the question back, until a provider is configured".to_owned(),
                context_tokens: 1_000_000,
                max_output_tokens: 1_000_000,
                sees_pictures: false,
                providers: Vec::new(),
            },
        }
    }
}

/// Lists the models that can be asked now, best first: those of which a provider is configured.
#[utoipa::path(
    get, path = "/api/v1/models", tag = "models",
    responses((status = 200, description = "The models", body = ModelList), Problems),
    security(("bearer" = [])),
)]
#[tracing::instrument(skip_all)]
async fn list_models(State(app): State<App>, _: Caller) -> Result<Json<ModelList>> {
    let default_model = route::choose(&app, None).ok();
    Ok(Json(ModelList {
        default_model: default_model.map(|choice| choice.id().to_owned()),
        data: route::usable(&app)
            .map(|choice| Model::of(&app, choice))
            .collect(),
        version: app.config.common.ai.catalogue.version.clone(),
    }))
}

/// Gets a model.
#[utoipa::path(
    get, path = "/api/v1/models/{model}", tag = "models",
    params(("model" = String, Path, description = "Its id")),
    responses((status = 200, description = "The model", body = Model), Problems),
    security(("bearer" = [])),
)]
#[tracing::instrument(skip_all)]
async fn get_model(
    State(app): State<App>,
    _: Caller,
    Path(id): Path<String>,
) -> Result<Json<Model>> {
    let choice = route::choose(&app, Some(&id))?;
    Ok(Json(Model::of(&app, choice)))
}
