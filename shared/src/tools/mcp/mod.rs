//! Tools of servers that speak the Model Context Protocol (<https://modelcontextprotocol.io>, streamable HTTP).
//!
//! Each call and each look has a session of its own: nobody's calls share what a server remembers of a session, and any
//! instance does the same. What servers say is bounded, as what any other service says.

mod client;
mod session;

use std::{
    collections::BTreeSet,
    sync::{Arc, RwLock},
    time::Duration,
};

use async_trait::async_trait;
use rmcp::model as protocol;
use serde_json::{Map, Value};
use tokio::sync::{Notify, OnceCell};
use tokio_util::task::TaskTracker;

use self::session::Endpoint;
use super::{Answer, Executor, Source, Tool, ToolError, http::Http, output::cut, schema::Schema};
use crate::config::McpConfig;

/// How often it is looked what a server offers.
const LOOK: Duration = Duration::from_mins(5);
/// The same, after it did not say.
const LOOK_AGAIN: Duration = Duration::from_secs(15);
/// Most tools of a server.
const TOOLS_MAX: usize = 64;
/// Largest JSON Schema of a tool, and longest description.
const SCHEMA_MAX_BYTES: usize = 32 * 1024;
const DESCRIPTION_MAX: usize = 1_024;
/// Longest name that models take (`OpenAI`'s reference of functions).
const NAME_MAX: usize = 64;
/// Between the names of a server and of its tool.
const JOINT: &str = "__";

/// A server, and what it offers.
pub(super) struct Server {
    name: String,
    endpoint: Endpoint,
    tools: RwLock<Vec<Arc<Tool>>>,
    /// It should be looked soon.
    look: Notify,
}

impl Server {
    pub(super) fn new(config: &McpConfig, http: &Http, tasks: &TaskTracker) -> Self {
        Self {
            name: config.name.clone(),
            endpoint: Endpoint::new(config, http, tasks),
            tools: RwLock::default(),
            look: Notify::new(),
        }
    }

    /// Whether it is called so.
    pub(super) fn is_called(&self, name: &str) -> bool {
        self.name == name
    }

    /// What it offered when it was looked last.
    pub(super) fn tools(&self) -> Vec<Arc<Tool>> {
        let tools = self.tools.read();
        tools
            .expect("nothing panics while it holds this lock")
            .clone()
    }

    /// Has it looked soon what it offers.
    pub(super) fn look_again(&self) {
        self.look.notify_one();
    }

    /// Looks what it offers, for ever.
    pub(super) async fn follow(&self, timeout: Duration) {
        let mut was_there = true;
        loop {
            match self.look(timeout).await {
                Ok(tools) => {
                    if tools.len() != self.tools().len() || !was_there {
                        tracing::info!(
                            server = self.name,
                            tools = tools.len(),
                            "tools are offered"
                        );
                    }
                    self.offer(tools);
                    was_there = true;
                    tokio::select! {
                        () = tokio::time::sleep(LOOK) => {}
                        () = self.look.notified() => {}
                    }
                }
                // What is known stays: calls say that it does not answer.
                Err(error) => {
                    if was_there {
                        tracing::warn!(server = self.name, error = %error, "a server of tools does not answer");
                    }
                    was_there = false;
                    tokio::time::sleep(LOOK_AGAIN).await;
                }
            }
        }
    }

    fn offer(&self, tools: Vec<Arc<Tool>>) {
        let mut known = self
            .tools
            .write()
            .expect("nothing panics while it holds this lock");
        *known = tools;
    }

    async fn look(&self, timeout: Duration) -> Result<Vec<Arc<Tool>>, ToolError> {
        let listed = tokio::time::timeout(timeout, self.endpoint.list(TOOLS_MAX)).await;
        let listed =
            listed.map_err(|_| ToolError::Unavailable("it takes too long".to_owned()))??;
        let (server, endpoint) = (self.name.clone(), self.endpoint.clone());
        // Schemas of others may take a while.
        let made = tokio::task::spawn_blocking(move || make(&server, &endpoint, listed)).await;
        made.map_err(|_| ToolError::Unavailable("what it offers cannot be read".to_owned()))
    }
}

/// Those of the tools that can be offered.
fn make(server: &str, endpoint: &Endpoint, listed: Vec<protocol::Tool>) -> Vec<Arc<Tool>> {
    let mut names = BTreeSet::new();
    let mut tools = Vec::with_capacity(listed.len());
    for tool in listed {
        let remote = tool.name.to_string();
        match of_server(server, endpoint, &tool) {
            Ok(tool) if names.insert(tool.name.clone()) => tools.push(Arc::new(tool)),
            Ok(_) => tracing::warn!(
                server,
                tool = cut(&remote, NAME_MAX),
                "two tools have one name"
            ),
            Err(problem) => {
                tracing::warn!(
                    server,
                    tool = cut(&remote, NAME_MAX),
                    problem,
                    "a tool is left out"
                );
            }
        }
    }
    tools
}

fn of_server(server: &str, endpoint: &Endpoint, tool: &protocol::Tool) -> Result<Tool, String> {
    let name = name_of(server, &tool.name).ok_or("its name is too long")?;
    let parameters = Value::Object(tool.input_schema.as_ref().clone());
    if parameters.to_string().len() > SCHEMA_MAX_BYTES {
        return Err("its schema is too large".to_owned());
    }
    let description = tool.description.as_deref().unwrap_or_default();
    Ok(Tool {
        name,
        description: cut(&description.replace('\0', ""), DESCRIPTION_MAX),
        schema: Schema::new(&parameters)?,
        parameters,
        source: Source::Mcp(server.to_owned()),
        service: format!("mcp:{server}"),
        // It may do something.
        lifetime: None,
        tokens: OnceCell::new(),
        executor: Box::new(Remote {
            name: tool.name.to_string(),
            endpoint: endpoint.clone(),
        }),
    })
}

/// The name of a tool with that of its server, in the characters that models take.
fn name_of(server: &str, tool: &str) -> Option<String> {
    let is_taken = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let name = format!("{server}{JOINT}{tool}").replace(|c: char| !is_taken(c), "_");
    (name.len() <= NAME_MAX && !tool.is_empty()).then_some(name)
}

/// A tool of a server.
struct Remote {
    /// As the server calls it.
    name: String,
    endpoint: Endpoint,
}

#[async_trait]
impl Executor for Remote {
    async fn run(&self, arguments: &Map<String, Value>) -> Result<Answer, ToolError> {
        self.endpoint.call(&self.name, arguments).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_models_take() {
        assert_eq!(name_of("docs", "search").as_deref(), Some("docs__search"));
        assert_eq!(name_of("docs", "a.b/ç").as_deref(), Some("docs__a_b__"));
        assert_eq!(name_of("docs", ""), None);
        assert_eq!(name_of("docs", &"x".repeat(59)), None);
    }
}
