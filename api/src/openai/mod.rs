//! The surface that speaks like `OpenAI`'s API, so that its clients work here: `/v1/...`, in its words, with its errors.
//!
//! Nothing is kept of what is asked, but for what it took; with a `conversation_id` a question becomes a turn of that
//! conversation. Sources: `OpenAI`'s API reference, and what its SDKs do with answers, read in November 2026.

mod chunks;
mod completions;
mod conversation;
mod docs;
mod embeddings;
mod fault;
mod links;
mod messages;
mod models;
mod parameters;
mod request;
mod stream;
mod transcriptions;
mod whole;

use axum::routing::get;
use utoipa_axum::{router::OpenApiRouter, routes};

pub(crate) use self::{
    docs::{OpenAiError, OpenAiErrorBody},
    fault::refuse,
};
use crate::{
    app::App,
    extract::{BodyLimit, Paced},
};

/// Where the surface is.
const PREFIX: &str = "/v1/";
/// Largest question, in bytes: pictures come in it.
const QUESTION_LIMIT_BYTES: usize = 20 << 20;

/// Whether a path belongs to this surface.
pub(crate) fn is_path(path: &str) -> bool {
    path.starts_with(PREFIX) || path == PREFIX.trim_end_matches('/')
}

/// The routes that answer at once.
pub(crate) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(models::list_openai_models))
        .routes(routes!(models::get_openai_model))
        // Ids of models may have slashes, and clients send them as they are.
        .route(
            "/v1/models/{model}/{*rest}",
            get(models::get_openai_model_of),
        )
}

/// The routes that last as long as providers do.
pub(crate) fn lasting_router() -> OpenApiRouter<App> {
    let questions = OpenApiRouter::new()
        .routes(routes!(completions::create_openai_chat_completion))
        .routes(routes!(embeddings::create_openai_embedding))
        .layer(axum::extract::DefaultBodyLimit::max(QUESTION_LIMIT_BYTES))
        .layer(axum::Extension(BodyLimit(QUESTION_LIMIT_BYTES)))
        .layer(axum::Extension(Paced));
    questions.routes(routes!(transcriptions::create_openai_transcription))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_below_v1_speaks_like_openai() {
        assert!(is_path("/v1/models") && is_path("/v1/") && is_path("/v1"));
        assert!(!is_path("/api/v1/models") && !is_path("/v1x") && !is_path("/"));
    }
}
