//! Table of contents.

use std::any::Any;

use axum::{
    Router,
    http::header,
    middleware as layer,
    response::{IntoResponse as _, Redirect, Response},
    routing::get,
};
use tower_http::catch_panic::CatchPanicLayer;
use utoipa::OpenApi as _;
use utoipa_axum::router::OpenApiRouter;

use crate::{
    accounts, admin, api_keys,
    app::App,
    attachments, chat, conversations, deliveries,
    error::Error,
    events, exports, health, jobs, messages, metrics, middleware, models, notifications, openai,
    openapi::{self, Document},
    projects, search, tokens, tools, usage, variants, webhooks,
};

fn routes() -> OpenApiRouter<App> {
    let limited = OpenApiRouter::with_openapi(Document::openapi())
        .merge(accounts::router())
        .merge(admin::router())
        .merge(api_keys::router())
        .merge(attachments::router())
        .merge(variants::router())
        .merge(chat::router())
        .merge(conversations::router())
        .merge(events::router())
        .merge(exports::router())
        .merge(jobs::router())
        .merge(messages::router())
        .merge(models::router())
        .merge(projects::router())
        .merge(search::router())
        .merge(tokens::router())
        .merge(tools::router())
        .merge(usage::router())
        .merge(webhooks::router())
        .merge(deliveries::router())
        .merge(notifications::router())
        .merge(openai::router())
        .merge(health::router())
        .merge(metrics::router())
        .layer(layer::from_fn(middleware::limit));
    limited
        .merge(attachments::upload_router())
        .merge(chat::streaming_router())
        .merge(openai::lasting_router())
}

/// The OpenAPI document.
pub fn document() -> serde_json::Value {
    openapi::complete(&routes().into_openapi())
}

/// All routes, with what happens around them.
pub(crate) fn router(app: App) -> Router {
    let (router, document) = routes().split_for_parts();
    router
        .merge(docs(&openapi::complete(&document)))
        .fallback(|| async { Error::NotFound("route") })
        .method_not_allowed_fallback(|| async { Error::MethodNotAllowed })
        .layer(axum::extract::DefaultBodyLimit::max(
            crate::extract::JSON_LIMIT_BYTES,
        ))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(layer::from_fn_with_state(
            app.clone(),
            middleware::preflight,
        ))
        .layer(layer::from_fn_with_state(app.clone(), middleware::around))
        .layer(layer::from_fn_with_state(app.clone(), middleware::headers))
        .with_state(app)
}

/// The document, and pages to read it with. All of it is in this program.
fn docs(document: &serde_json::Value) -> Router<App> {
    let json = [(header::CONTENT_TYPE, "application/json")];
    let document = document.to_string();
    let pages = utoipa_swagger_ui::SwaggerUi::new("/api/docs")
        .config(utoipa_swagger_ui::Config::from("/api/openapi.json").validator_url("none"));
    Router::new()
        .route("/", get(|| async { Redirect::temporary("/api/docs/") }))
        .route("/api/openapi.json", get(|| async move { (json, document) }))
        .merge(pages)
        .layer(layer::map_response(middleware::docs))
}

/// The panic hook has logged where it was.
fn panicked(_: Box<dyn Any + Send + 'static>) -> Response {
    Error::Internal(anyhow::anyhow!("a handler panicked")).into_response()
}

#[cfg(test)]
mod tests {
    use axum::{body::Body, http::Request};
    use tower::ServiceExt as _;

    use super::*;
    use crate::error::Problem;

    async fn answer(router: Router) -> Response {
        router
            .oneshot(Request::get("/").body(Body::empty()).unwrap())
            .await
            .unwrap()
    }

    #[tokio::test]
    async fn a_panic_is_a_problem_that_tells_nothing() {
        async fn handler() -> &'static str {
            panic!("a secret of the inside")
        }
        let router = Router::new()
            .route("/", get(handler))
            .layer(CatchPanicLayer::custom(panicked));
        let response = answer(router).await;
        let problem = response.extensions().get::<Problem>().unwrap();
        assert_eq!((problem.status, problem.code), (500, "internal"));
        assert_eq!(problem.detail, "internal error");
    }
}
