//! Tools of servers that speak the Model Context Protocol (<https://modelcontextprotocol.io>, streamable HTTP).
//!
//! Each call and each look has a session of its own: nobody's calls share what a server remembers of a session, and any
//! instance does the same. What servers say is bounded, as what any other service says.

mod client;
mod parameters;
mod session;

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, RwLock},
    time::Duration,
};

use async_trait::async_trait;
use rmcp::model as protocol;
use serde_json::{Map, Value};
use tokio::{
    sync::{Notify, OnceCell, watch},
    time::Instant,
};
use tokio_util::task::TaskTracker;

use self::{parameters::Parameters, session::Endpoint};
use super::{
    Answer, Executor, NotOffered, Source, Tool, ToolError, http::Http, output::cut, schema::Schema,
};
use crate::config::McpConfig;

/// How often it is looked what a server offers.
const LOOK: Duration = Duration::from_mins(5);
/// The same, after it did not say.
const LOOK_AGAIN: Duration = Duration::from_secs(15);
/// For how long another look would hardly find anything else.
const FRESH: Duration = Duration::from_secs(5);
/// Least time between two looks, whoever wants another one.
const LOOK_PAUSE: Duration = Duration::from_secs(1);
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
    /// How it was found when it was looked last.
    seen: watch::Sender<Seen>,
    /// Which tools are left out and why, as far as it was logged.
    left_out: Mutex<LeftOut>,
}

/// Tools that are not offered, and why.
type LeftOut = BTreeSet<(String, String)>;

/// How a server was found.
#[derive(Debug, Clone, Copy, Default)]
struct Seen {
    /// When that was, if ever.
    at: Option<Instant>,
    /// Whether it said what it offers.
    is_there: bool,
}

impl Seen {
    /// Whether another look would hardly find anything else.
    fn is_fresh(self) -> bool {
        self.at.is_some_and(|at| at.elapsed() < FRESH)
    }
}

impl Server {
    pub(super) fn new(config: &McpConfig, http: &Http, tasks: &TaskTracker) -> Self {
        Self {
            name: config.name.clone(),
            endpoint: Endpoint::new(config, http, tasks),
            tools: RwLock::default(),
            look: Notify::new(),
            seen: watch::Sender::default(),
            left_out: Mutex::default(),
        }
    }

    /// Whether it is called so.
    pub(super) fn is_called(&self, name: &str) -> bool {
        self.name == name
    }

    /// Whether the name of a tool begins with its own.
    pub(super) fn may_have(&self, tool: &str) -> bool {
        let rest = tool.strip_prefix(&self.name);
        rest.is_some_and(|rest| rest.starts_with(JOINT))
    }

    /// What it offered when it was looked last.
    pub(super) fn tools(&self) -> Vec<Arc<Tool>> {
        let tools = self.tools.read();
        tools
            .expect("nothing panics while it holds this lock")
            .clone()
    }

    /// One of its tools. Where it is not known, another look is waited for, if the last one was some time ago.
    ///
    /// # Errors
    /// [`NotOffered`].
    pub(super) async fn find(
        &self,
        name: &str,
        patience: Duration,
    ) -> Result<Arc<Tool>, NotOffered> {
        let known = || self.tools().into_iter().find(|tool| tool.name == name);
        let seen = || *self.seen.borrow();
        if let Some(tool) = known() {
            return Ok(tool);
        }
        if !seen().is_fresh() {
            let mut looks = self.seen.subscribe();
            self.look_again();
            _ = tokio::time::timeout(patience, looks.changed()).await;
        }
        known().ok_or_else(|| {
            if seen().is_there {
                NotOffered::Unknown
            } else {
                NotOffered::Away(self.name.clone())
            }
        })
    }

    /// Waits until it was looked once.
    pub(super) async fn looked(&self) {
        let mut looks = self.seen.subscribe();
        // It is told by what this belongs to.
        _ = looks.wait_for(|seen| seen.at.is_some()).await;
    }

    /// Has it looked soon what it offers.
    pub(super) fn look_again(&self) {
        self.look.notify_one();
    }

    /// Looks what it offers, for ever.
    pub(super) async fn follow(&self, timeout: Duration) {
        let mut was_there = true;
        loop {
            let pause = match self.look(timeout).await {
                Ok(tools) => {
                    let number = tools.len();
                    if !was_there {
                        tracing::info!(
                            server = self.name,
                            tools = number,
                            "the server of tools is back"
                        );
                    } else if number != self.tools().len() {
                        tracing::info!(server = self.name, tools = number, "tools are offered");
                    }
                    self.offer(tools);
                    was_there = true;
                    LOOK
                }
                // What is known stays: calls say that it does not answer.
                Err(error) => {
                    if was_there {
                        tracing::warn!(server = self.name, error = %error, "a server of tools does not answer");
                    }
                    was_there = false;
                    LOOK_AGAIN
                }
            };
            self.seen.send_replace(Seen {
                at: Some(Instant::now()),
                is_there: was_there,
            });
            tokio::time::sleep(LOOK_PAUSE).await;
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.look.notified() => {}
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

    /// Logs what is left out, unless that was known.
    fn leave_out(&self, left_out: LeftOut) {
        let mut told = self
            .left_out
            .lock()
            .expect("nothing panics while it holds this lock");
        for (tool, problem) in left_out.difference(&told) {
            tracing::warn!(server = self.name, tool, problem, "a tool is left out");
        }
        *told = left_out;
    }

    async fn look(&self, timeout: Duration) -> Result<Vec<Arc<Tool>>, ToolError> {
        let listed = tokio::time::timeout(timeout, self.endpoint.list(TOOLS_MAX)).await;
        let listed =
            listed.map_err(|_| ToolError::Unavailable("it takes too long".to_owned()))??;
        let (server, endpoint) = (self.name.clone(), self.endpoint.clone());
        // Schemas of others may take a while.
        let made = tokio::task::spawn_blocking(move || make(&server, &endpoint, listed)).await;
        let (tools, left_out) =
            made.map_err(|_| ToolError::Unavailable("what it offers cannot be read".to_owned()))?;
        self.leave_out(left_out);
        Ok(tools)
    }
}

/// Those of the tools that can be offered, and the others.
fn make(
    server: &str,
    endpoint: &Endpoint,
    listed: Vec<protocol::Tool>,
) -> (Vec<Arc<Tool>>, LeftOut) {
    let mut names = BTreeSet::new();
    let (mut tools, mut left_out) = (Vec::with_capacity(listed.len()), LeftOut::new());
    for tool in listed {
        let problem = match of_server(server, endpoint, &tool) {
            Ok(tool) if names.insert(tool.name.clone()) => {
                tools.push(Arc::new(tool));
                continue;
            }
            Ok(_) => "another tool has its name".to_owned(),
            Err(problem) => problem,
        };
        left_out.insert((cut(&tool.name, NAME_MAX), problem));
    }
    (tools, left_out)
}

fn of_server(server: &str, endpoint: &Endpoint, tool: &protocol::Tool) -> Result<Tool, String> {
    let name = name_of(server, &tool.name).ok_or("its name is too long")?;
    let parameters = Parameters::of(&tool.input_schema)?;
    let bytes = parameters.checked.to_string().len();
    if bytes > SCHEMA_MAX_BYTES {
        return Err("its schema is too large".to_owned());
    }
    let description = tool.description.as_deref().unwrap_or_default();
    Ok(Tool {
        name,
        description: cut(&description.replace('\0', ""), DESCRIPTION_MAX),
        schema: Schema::new(&parameters.checked)?,
        parameters: parameters.told,
        bytes,
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
