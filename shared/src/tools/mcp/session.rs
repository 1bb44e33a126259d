//! Sessions with a server: begun, used once, and ended behind the back of whoever wants the result.

use std::sync::Arc;

use rmcp::{
    RoleClient, ServiceError,
    model::{
        CallToolRequestParams, CallToolResponse, CallToolResult, ClientCapabilities, ClientConfig,
        ContentBlock, ErrorCode, ErrorData, Implementation, PaginatedRequestParams, Tool,
    },
    serve_client,
    service::RunningService,
    transport::{
        StreamableHttpClientTransport, common::client_side_sse::NeverRetry,
        streamable_http_client::StreamableHttpClientTransportConfig,
    },
};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Map, Value};
use tokio_util::task::TaskTracker;

use super::client::{ANSWER_MAX_BYTES, Bounded};
use crate::{
    config::McpConfig,
    tools::{Answer, ToolError, http::Http, output::reason},
};

/// How we are called.
const NAME: &str = "BaatCheet";
/// Most pages of a list.
const PAGES_MAX: usize = 16;
/// Mistakes of the question, not of the server.
const OF_THE_QUESTION: [ErrorCode; 2] = [ErrorCode::INVALID_PARAMS, ErrorCode::METHOD_NOT_FOUND];

type Session = RunningService<RoleClient, ClientConfig>;

/// Where a server is, and what opens it; cheap to clone.
#[derive(Clone)]
pub(super) struct Endpoint {
    url: Arc<str>,
    bearer: Option<SecretString>,
    client: Bounded,
    /// Owns what ends sessions.
    tasks: TaskTracker,
}

impl Endpoint {
    pub(super) fn new(config: &McpConfig, http: &Http, tasks: &TaskTracker) -> Self {
        Self {
            url: config.url.as_str().into(),
            bearer: config.bearer.clone(),
            client: Bounded::new(http),
            tasks: tasks.clone(),
        }
    }

    /// Lists tools, at most so many.
    ///
    /// # Errors
    /// [`ToolError::Unavailable`].
    pub(super) async fn list(&self, most: usize) -> Result<Vec<Tool>, ToolError> {
        let session = self.begin().await?;
        let mut tools = Vec::new();
        let mut cursor = None;
        for _ in 0..PAGES_MAX {
            let page = PaginatedRequestParams::default().with_cursor(cursor);
            let page = session
                .list_tools(Some(page))
                .await
                .map_err(|error| unavailable(&error))?;
            tools.extend(page.tools);
            cursor = page.next_cursor;
            if cursor.is_none() || tools.len() >= most {
                break;
            }
        }
        tools.truncate(most);
        self.end(session);
        Ok(tools)
    }

    /// Calls a tool.
    ///
    /// # Errors
    /// [`ToolError::Unavailable`].
    pub(super) async fn call(
        &self,
        name: &str,
        arguments: &Map<String, Value>,
    ) -> Result<Answer, ToolError> {
        let session = self.begin().await?;
        let call = CallToolRequestParams::new(name.to_owned()).with_arguments(arguments.clone());
        let called = session.call_tool_once(call).await;
        self.end(session);
        match called {
            Ok(CallToolResponse::Complete(result)) => Ok(answer(&result)),
            // Nobody is here who could be asked, or wait.
            Ok(_) | Err(ServiceError::UnexpectedResponse) => {
                Ok(failed("The tool wants more than arguments."))
            }
            // It is there: what it does not do for one says nothing of what it does for others.
            Err(ServiceError::McpError(error)) => Ok(refused(name, &error)),
            Err(error) => Err(unavailable(&error)),
        }
    }

    async fn begin(&self) -> Result<Session, ToolError> {
        let mut config = StreamableHttpClientTransportConfig::with_uri(self.url.clone())
            .max_sse_event_size(ANSWER_MAX_BYTES)
            .reinit_on_expired_session(false);
        config.retry_config = Arc::new(NeverRetry::default());
        if let Some(bearer) = &self.bearer {
            config = config.auth_header(bearer.expose_secret());
        }
        let transport = StreamableHttpClientTransport::with_client(self.client.clone(), config);
        let own = Implementation::new(NAME, env!("CARGO_PKG_VERSION"));
        let own = ClientConfig::new(ClientCapabilities::default(), own);
        // Boxed, as it would make every caller's future as large.
        Box::pin(serve_client(own, transport))
            .await
            .map_err(|error| unavailable(&error))
    }

    fn end(&self, session: Session) {
        self.tasks.spawn(async move {
            if let Err(error) = session.cancel().await {
                tracing::debug!(error = %error, "a session of tools did not end well");
            }
        });
    }
}

fn unavailable(error: &impl std::fmt::Display) -> ToolError {
    ToolError::Unavailable(reason(error))
}

fn failed(text: impl Into<String>) -> Answer {
    Answer {
        text: text.into(),
        is_error: true,
    }
}

/// What a model is told of an error: what is wrong with its question, but nothing of the server's inside.
fn refused(tool: &str, error: &ErrorData) -> Answer {
    tracing::debug!(tool, error = reason(error), "a tool reports an error");
    if OF_THE_QUESTION.contains(&error.code) {
        failed(error.message.clone())
    } else {
        failed(format!("The tool reports an error ({}).", error.code.0))
    }
}

/// The texts of a result; of anything else, that it was there.
fn answer(result: &CallToolResult) -> Answer {
    let texts: Vec<String> = result
        .content
        .iter()
        .map(|block| match block {
            ContentBlock::Text(text) => text.text.clone(),
            ContentBlock::Resource(resource) => resource.get_text(),
            ContentBlock::ResourceLink(link) => link.uri.clone(),
            ContentBlock::Image(_) => "[a picture]".to_owned(),
            ContentBlock::Audio(_) => "[a sound]".to_owned(),
            _ => "[something else]".to_owned(),
        })
        .filter(|text| !text.is_empty())
        .collect();
    let text = match (&result.structured_content, texts.is_empty()) {
        (Some(structured), true) => structured.to_string(),
        _ => texts.join("\n"),
    };
    Answer {
        text,
        is_error: result.is_error == Some(true),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_error_is_told_as_far_as_it_is_of_the_question() {
        let told = |error: ErrorData| refused("x", &error).text;
        let wrong = ErrorData::invalid_params("no such page", None);
        assert_eq!(told(wrong), "no such page");
        for (error, code) in [
            (ErrorData::internal_error("a secret", None), "-32603"),
            (ErrorData::new(ErrorCode(-7), "a secret", None), "-7"),
        ] {
            let told = told(error);
            assert!(told.contains(code) && !told.contains("secret"), "{told}");
        }
    }

    #[test]
    fn a_result_is_its_texts() {
        let result = CallToolResult::success(vec![
            ContentBlock::text("one"),
            ContentBlock::image("AAAA", "image/png"),
            ContentBlock::text(""),
        ]);
        let told = answer(&result);
        assert_eq!(
            (told.text.as_str(), told.is_error),
            ("one\n[a picture]", false)
        );
        let result = CallToolResult::error(vec![ContentBlock::text("no")]);
        assert!(answer(&result).is_error);
        let result: CallToolResult =
            serde_json::from_value(json!({ "content": [], "structuredContent": { "a": 1 } }))
                .unwrap();
        assert_eq!(answer(&result).text, r#"{"a":1}"#);
    }
}
