//! Tools that models may call: services of others, asked on behalf of whoever chats.
//!
//! What a tool says is data: it is bounded, remembered for some minutes, and never more than the text of a message. Each
//! service has a breaker, and is asked once for the same arguments, however many ask, on whatever instance. Only what is
//! configured is offered.

mod breaker;
mod currency;
mod flight;
mod http;
mod mcp;
mod news;
mod output;
mod places;
mod schema;
mod weather;
mod web_search;
mod weight;

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use serde_json::{Map, Value};
use tokio::sync::OnceCell;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use self::schema::ARGUMENTS_MAX_BYTES;
use self::{breaker::ToolBreakers, flight::Flight, http::Http, mcp::Server, schema::Schema};
use crate::{
    clock::Clock,
    config::ToolsConfig,
    redis::{Redis, Script},
};

/// What a model is told of a tool that does not answer.
const UNAVAILABLE: &str = "Service temporarily unavailable";

/// All tools; cheap to clone.
#[derive(Clone)]
pub struct Tools(Arc<Inner>);

struct Inner {
    builtin: Vec<Arc<Tool>>,
    servers: Vec<Server>,
    breakers: ToolBreakers,
    /// Longest time of a call.
    timeout: Duration,
    redis: Redis,
    release: Script,
    /// Those that ask: what they hear is remembered, also where nobody waits for it any more.
    tasks: TaskTracker,
    /// Calls whose results are waited for here, by what they are called in Redis.
    flights: Mutex<BTreeMap<String, Flight>>,
}

/// A tool that is offered.
pub struct Tool {
    /// Its name, as models know it.
    pub name: String,
    /// What it does, for models.
    pub description: String,
    /// JSON Schema of its arguments.
    pub parameters: Value,
    /// Whose it is.
    pub source: Source,
    schema: Schema,
    /// Whose breaker it has.
    service: String,
    /// How long its results are remembered; none where each call must be carried out.
    lifetime: Option<Duration>,
    /// Tokens of what models are told of it, once they are counted.
    tokens: OnceCell<u32>,
    executor: Box<dyn Executor>,
}

/// Whose a tool is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// Ours.
    Builtin,
    /// That of a server of the Model Context Protocol.
    Mcp(String),
}

/// What came of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Called {
    /// What the model is told.
    pub text: String,
    /// How it ended.
    pub outcome: Outcome,
    /// Whether it was remembered.
    pub is_cached: bool,
}

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The tool answered.
    Completed,
    /// The tool says that it could not do it.
    Failed,
    /// Its arguments are wrong, so nobody was asked.
    Invalid,
    /// It does not answer, or is left alone for a moment.
    Unavailable,
}

/// Carries out calls of one tool.
#[async_trait]
trait Executor: Send + Sync {
    /// Carries out a call whose arguments keep to the tool's schema.
    async fn run(&self, arguments: &Map<String, Value>) -> Result<Answer, ToolError>;
}

/// What a service answers.
struct Answer {
    text: String,
    /// The service says that it could not do it.
    is_error: bool,
}

/// Why a service does not answer.
#[derive(Debug, thiserror::Error)]
enum ToolError {
    /// It is away, or wants no more of us.
    #[error("it is not available: {0}")]
    Unavailable(String),
    /// It does not take this question.
    #[error("it refuses the question ({status}): {reason}")]
    Refused { status: u16, reason: String },
    /// It is asked by too many now, which says nothing of how it is.
    #[error("too many wait for it")]
    Busy,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Builtin => f.write_str("builtin"),
            Self::Mcp(name) => write!(f, "mcp:{name}"),
        }
    }
}

impl fmt::Debug for Tool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tool({} of {})", self.name, self.source)
    }
}

impl Outcome {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Invalid => "invalid",
            Self::Unavailable => "unavailable",
        }
    }
}

impl Called {
    /// Nobody answers.
    pub fn unavailable() -> Self {
        Self {
            text: UNAVAILABLE.to_owned(),
            outcome: Outcome::Unavailable,
            is_cached: false,
        }
    }

    /// What was asked for is wrong, as the model is told.
    pub fn invalid(problem: &str) -> Self {
        Self {
            text: output::cap(problem),
            outcome: Outcome::Invalid,
            is_cached: false,
        }
    }

    fn remembered(text: String) -> Self {
        Self {
            text,
            outcome: Outcome::Completed,
            is_cached: true,
        }
    }
}

impl Tool {
    /// One of ours.
    fn builtin(
        name: &str,
        description: &str,
        parameters: Value,
        minutes: u64,
        executor: impl Executor + 'static,
    ) -> Self {
        Self {
            name: name.to_owned(),
            description: description.to_owned(),
            schema: Schema::new(&parameters).expect("a test makes them all"),
            parameters,
            source: Source::Builtin,
            service: name.to_owned(),
            lifetime: Some(Duration::from_mins(minutes)),
            tokens: OnceCell::new(),
            executor: Box::new(executor),
        }
    }
}

impl Tools {
    /// Makes the tools that are configured; `agent` tells services who asks. Redis need not be there.
    ///
    /// # Errors
    /// When a client cannot be made.
    pub fn new(
        config: &ToolsConfig,
        agent: &str,
        redis: &Redis,
        clock: Clock,
        tasks: &TaskTracker,
    ) -> anyhow::Result<Self> {
        let http = Http::new(agent, config.timeout)?;
        let weather = config.weather.as_ref();
        let currency = config.currency.as_ref();
        let news = config.news.as_ref();
        let search = config.web_search.as_ref();
        let tools = [
            weather.map(|service| weather::tool(service, &http)),
            currency.map(|service| currency::tool(service, &http)),
            news.map(|service| news::tool(service, &http)),
            search.map(|service| web_search::tool(service, &http)),
            places::tool(config, &http, redis),
        ];
        let servers = config.mcp.iter();
        Ok(Self(Arc::new(Inner {
            builtin: tools.into_iter().flatten().map(Arc::new).collect(),
            servers: servers
                .map(|server| Server::new(server, &http, tasks))
                .collect(),
            breakers: ToolBreakers::new(redis.clone(), clock, config.timeout),
            timeout: config.timeout,
            redis: redis.clone(),
            release: Script::new(flight::RELEASE),
            tasks: tasks.clone(),
            flights: Mutex::default(),
        })))
    }

    /// Looks what servers offer, now and every few minutes, until the end.
    pub fn follow(&self, end: &CancellationToken) {
        for index in 0..self.0.servers.len() {
            let tools = self.clone();
            let following = async move { tools.0.servers[index].follow(tools.0.timeout).await };
            self.0
                .tasks
                .spawn(end.clone().run_until_cancelled_owned(following));
        }
    }

    /// All tools that are offered now: ours first, then those of each server.
    pub fn offered(&self) -> Vec<Arc<Tool>> {
        let of_servers = self.0.servers.iter().flat_map(Server::tools);
        self.0.builtin.iter().cloned().chain(of_servers).collect()
    }

    /// Carries out a call, as a model writes it: never fails, as the model hears what came of it.
    pub async fn call(&self, tool: &Arc<Tool>, arguments: &str) -> Called {
        let began = Instant::now();
        let called = match tool.schema.read(arguments) {
            Ok(arguments) => match tool.lifetime {
                Some(lifetime) => self.shared(tool, arguments, lifetime).await,
                None => self.alone(tool, arguments).await,
            },
            Err(problem) => Called::invalid(&format!("The arguments are not valid: {problem}")),
        };
        tracing::debug!(
            tool = tool.name,
            outcome = called.outcome.as_str(),
            cached = called.is_cached,
            durationMs = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
            "a tool was called"
        );
        called
    }

    /// Asks, whoever else asks the same. A stop of whoever waits does not reach it, so that it is known what came of it.
    async fn alone(&self, tool: &Arc<Tool>, arguments: Map<String, Value>) -> Called {
        let (tools, tool) = (self.clone(), tool.clone());
        let asking = async move { tools.ask(&tool, &arguments).await };
        let asked = self.0.tasks.spawn(asking).await;
        asked.unwrap_or_else(|_| Called::unavailable())
    }

    /// Asks a tool, if its breaker lets it.
    async fn ask(&self, tool: &Tool, arguments: &Map<String, Value>) -> Called {
        let breakers = &self.0.breakers;
        let pass = match breakers.pass(&tool.service).await {
            Ok(pass) => pass,
            Err(wait) => {
                let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
                tracing::debug!(tool = tool.name, waitMs = wait_ms, "a tool is left alone");
                return Called::unavailable();
            }
        };
        let ran = tokio::time::timeout(self.0.timeout, tool.executor.run(arguments)).await;
        let ran =
            ran.unwrap_or_else(|_| Err(ToolError::Unavailable("it takes too long".to_owned())));
        match ran {
            Ok(answer) => {
                breakers.answered(pass).await;
                Called {
                    text: output::cap(&answer.text),
                    outcome: if answer.is_error {
                        Outcome::Failed
                    } else {
                        Outcome::Completed
                    },
                    is_cached: false,
                }
            }
            Err(error @ ToolError::Refused { .. }) => {
                breakers.answered(pass).await;
                tracing::warn!(tool = tool.name, error = %error, "a tool does not take a question");
                Called {
                    text: "The service does not take these arguments.".to_owned(),
                    outcome: Outcome::Failed,
                    is_cached: false,
                }
            }
            Err(error @ ToolError::Busy) => {
                breakers.unknown(pass).await;
                tracing::warn!(tool = tool.name, error = %error, "a tool was not asked");
                Called::unavailable()
            }
            Err(error @ ToolError::Unavailable(_)) => {
                breakers.failed(pass).await;
                tracing::warn!(tool = tool.name, error = %error, "a tool does not answer");
                if let Source::Mcp(name) = &tool.source {
                    let mut servers = self.0.servers.iter();
                    if let Some(server) = servers.find(|server| server.is_called(name)) {
                        server.look_again();
                    }
                }
                Called::unavailable()
            }
        }
    }
}

/// A text of arguments that keep to their schema.
fn text<'a>(arguments: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    arguments.get(name).and_then(Value::as_str)
}

/// A whole number of arguments that keep to their schema, or the default.
fn number(arguments: &Map<String, Value>, name: &str, default: u64) -> u64 {
    let number = arguments.get(name).and_then(|value| {
        let whole = value.as_u64();
        // JSON Schema takes 2.0 for a whole number.
        whole.or_else(|| {
            value
                .as_f64()
                .and_then(|float| format!("{float:.0}").parse().ok())
        })
    });
    number.unwrap_or(default)
}

/// What a service says, in as few characters as JSON allows.
fn answer(value: &Value) -> Answer {
    Answer {
        text: value.to_string(),
        is_error: false,
    }
}

#[cfg(test)]
mod tests;
