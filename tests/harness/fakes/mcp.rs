//! A server of the Model Context Protocol: the real one of the official library, with tools for tests.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, Ordering},
};

use axum::{
    Router,
    extract::{Request, State},
    http::{StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse as _, Response},
};
use rmcp::{
    ErrorData, RoleServer, ServerHandler,
    model::{
        CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, JsonObject,
        ListToolsResult, PaginatedRequestParams, ServerCapabilities, ServerConfig, Tool,
    },
    service::RequestContext,
    transport::streamable_http_server::{
        StreamableHttpServerConfig, StreamableHttpService, session::local::LocalSessionManager,
    },
};
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinHandle};

#[derive(Default)]
struct Shared {
    calls: Mutex<Vec<(String, Value)>>,
    is_away: AtomicBool,
    bearer: Option<String>,
}

/// The server.
pub struct McpServer {
    pub url: String,
    shared: Arc<Shared>,
    serving: JoinHandle<()>,
}

#[derive(Clone)]
struct Handler(Arc<Shared>);

impl ServerHandler for Handler {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
    }

    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let tool = |name: &'static str, schema: Value| {
            let schema: JsonObject = serde_json::from_value(schema).expect("an object");
            Tool::new(name, "A tool for tests.", schema)
        };
        let words = json!({ "type": "object", "properties": { "words": { "type": "string" } }, "required": ["words"] });
        let large = json!({ "type": "object", "description": "x".repeat(40_000) });
        let elsewhere =
            json!({ "type": "object", "properties": { "x": { "$ref": "http://127.0.0.1:9/x" } } });
        // Looked at 2^24 times.
        let definitions = (0..24).map(|at| {
            let next = json!({ "$ref": format!("#/$defs/a{}", at + 1) });
            (format!("a{at}"), json!({ "allOf": [next, next] }))
        });
        let last = ("a24".to_owned(), json!({ "type": "object" }));
        let definitions: JsonObject = definitions.chain([last]).collect();
        let twice =
            json!({ "type": "object", "$ref": "#/$defs/a0", "$defs": Value::Object(definitions) });
        let either =
            json!({ "type": "object", "anyOf": [{ "required": ["a"] }, { "required": ["b"] }] });
        Ok(ListToolsResult::with_all_items(vec![
            tool("shout", words.clone()),
            tool("long", words.clone()),
            tool("fail.with/text", words.clone()),
            tool("crash", words.clone()),
            tool("huge", words.clone()),
            tool("slow", words),
            tool("large", large),
            tool("elsewhere", elsewhere),
            tool("twice", twice),
            tool("list", json!({ "type": "array" })),
            tool("bare", json!({})),
            tool("either", either),
        ]))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let arguments = Value::Object(request.arguments.unwrap_or_default());
        let words = arguments["words"].as_str().unwrap_or_default().to_owned();
        let call = (request.name.to_string(), arguments);
        self.0.calls.lock().unwrap().push(call);
        let text = |text: String| vec![ContentBlock::text(text)];
        match &*request.name {
            "bare" | "either" => Ok(CallToolResult::success(text("done".to_owned())).into()),
            "shout" => Ok(CallToolResult::success(text(words.to_uppercase())).into()),
            "long" => Ok(CallToolResult::success(text(words.repeat(20_000))).into()),
            "fail.with/text" => Ok(CallToolResult::error(text(format!("no {words}"))).into()),
            // More than is read of any answer.
            "huge" => Ok(CallToolResult::success(text("x".repeat(2 << 20))).into()),
            "slow" => std::future::pending().await,
            _ => Err(ErrorData::internal_error("a secret of the inside", None)),
        }
    }
}

impl McpServer {
    /// Starts one with sessions and events, or one that answers in JSON and keeps none.
    pub async fn start(has_sessions: bool, bearer: Option<&str>) -> Self {
        let shared = Arc::new(Shared {
            bearer: bearer.map(str::to_owned),
            ..Shared::default()
        });
        let config = StreamableHttpServerConfig::default()
            .with_legacy_session_mode(has_sessions)
            .with_json_response(!has_sessions);
        let handler = Handler(shared.clone());
        let service: StreamableHttpService<Handler, LocalSessionManager> =
            StreamableHttpService::new(move || Ok(handler.clone()), Arc::default(), config);
        let router = Router::new()
            .nest_service("/mcp", service)
            .layer(middleware::from_fn_with_state(shared.clone(), guard));
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let address = listener.local_addr().expect("an address");
        #[expect(clippy::disallowed_methods, reason = "McpServer owns it")]
        let serving = tokio::spawn(async move {
            axum::serve(listener, router).await.expect("it serves");
        });
        Self {
            url: format!("http://{address}/mcp"),
            shared,
            serving,
        }
    }

    /// What was called, with which arguments.
    pub fn calls(&self) -> Vec<(String, Value)> {
        self.shared.calls.lock().unwrap().clone()
    }

    /// Answers nothing but errors, or is there again.
    pub fn go_away(&self, is_away: bool) {
        self.shared.is_away.store(is_away, Ordering::SeqCst);
    }
}

impl Drop for McpServer {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn guard(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    if shared.is_away.load(Ordering::SeqCst) {
        return StatusCode::BAD_GATEWAY.into_response();
    }
    let wanted = shared
        .bearer
        .as_ref()
        .map(|bearer| format!("Bearer {bearer}"));
    let given = request.headers().get(header::AUTHORIZATION);
    let is_known = wanted.is_none_or(|wanted| given.is_some_and(|given| *given == *wanted));
    if is_known {
        next.run(request).await
    } else {
        StatusCode::UNAUTHORIZED.into_response()
    }
}
