//! The handler of counting.

use axum::extract::State;

use super::dto::{CountTokens, Counted, TokenCount};
use crate::{
    app::App,
    caller::Caller,
    chat::route,
    error::{Problems, Result},
    extract::Json,
};

/// Counts the tokens of a text or of messages, as they are counted before a model is asked.
///
/// Models of `OpenAI` are counted exactly. For others the count is an estimate, whose factor is learned from what their
/// providers report. Nobody is asked, and nothing is stored.
#[utoipa::path(
    post, path = "/api/v1/tokens/count", tag = "models", request_body = CountTokens,
    responses((status = 200, description = "How many there are", body = TokenCount), Problems),
    security(("bearer" = [])),
)]
#[tracing::instrument(skip_all)]
pub(super) async fn count_tokens(
    State(app): State<App>,
    _: Caller,
    Json(input): Json<CountTokens>,
) -> Result<Json<TokenCount>> {
    let (model, counted) = input.check()?;
    let measure = match &model {
        Some(id) => route::measure(&app, id)?,
        None => app.tokens.plain(),
    };
    let counted = match counted {
        Counted::Text(text) => measure.count_aside(text).await,
        Counted::Messages(messages) => measure.count_messages(messages).await,
    };
    Ok(Json(TokenCount {
        model,
        tokens: counted.tokens,
        encoding: measure.encoding,
        exact: measure.is_exact && !counted.is_estimated,
        factor: measure.factor(),
    }))
}
