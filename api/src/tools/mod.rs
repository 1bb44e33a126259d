//! Tools that models may call in an answer.

use axum::extract::State;
use serde::Serialize;
use serde_json::Value;
use shared::tools;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    app::App,
    caller::Caller,
    error::{Problems, Result},
    extract::Json,
};

/// The feature's routes.
pub(crate) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list_tools))
}

/// All tools that are offered now.
#[derive(Debug, Serialize, ToSchema)]
struct ToolList {
    data: Vec<Tool>,
}

/// A tool.
#[derive(Debug, Serialize, ToSchema)]
struct Tool {
    /// By which an answer asks for it.
    #[schema(example = "weather")]
    name: String,
    /// What it does, as models are told.
    #[schema(example = "Tells the weather at a place.")]
    description: String,
    /// JSON Schema of its arguments.
    #[schema(value_type = Object, example = json!({
        "type": "object", "properties": { "location": { "type": "string" } }, "required": ["location"]
    }))]
    parameters: Value,
    /// `builtin`, or `mcp:` and the name of a server of the Model Context Protocol.
    #[schema(example = "builtin")]
    source: String,
}

impl From<&tools::Tool> for Tool {
    fn from(tool: &tools::Tool) -> Self {
        Self {
            name: tool.name.clone(),
            description: tool.description.clone(),
            parameters: tool.parameters.clone(),
            source: tool.source.to_string(),
        }
    }
}

/// Lists the tools that are offered now: those that are configured, and those of servers that answer.
///
/// An answer may use them if its request says so: `tools: "auto"`, or a list of their names.
#[utoipa::path(
    get, path = "/api/v1/tools", tag = "tools",
    responses((status = 200, description = "The tools", body = ToolList), Problems),
    security(("bearer" = [])),
)]
#[tracing::instrument(skip_all)]
async fn list_tools(State(app): State<App>, _: Caller) -> Result<Json<ToolList>> {
    let offered = app.tools.offered();
    let data = offered.iter().map(|tool| Tool::from(&**tool)).collect();
    Ok(Json(ToolList { data }))
}
