//! Tools that models may call: services of others, asked on behalf of whoever chats.
//!
//! What a tool says is data: it is bounded, remembered for some minutes, and never more than the text of a message. Each
//! service has a breaker, and is asked once for the same arguments, however many ask, on whatever instance. Only what is
//! configured is offered.

mod breaker;
mod call;
mod currency;
mod effort;
mod flight;
mod http;
mod mcp;
mod news;
mod offer;
mod output;
mod places;
mod schema;
mod weather;
mod web_search;
mod weight;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use serde_json::{Map, Value};
use tokio::sync::OnceCell;
use tokio_util::task::TaskTracker;

use self::{breaker::ToolBreakers, flight::Flight, http::Http, mcp::Server, schema::Schema};
pub use self::{offer::NotOffered, schema::ARGUMENTS_MAX_BYTES};
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
    renew: Script,
    /// Those that ask: what they hear is remembered, also where nobody waits for it any more.
    tasks: TaskTracker,
    /// Calls whose results are waited for here, by what they are called in Redis.
    flights: Mutex<BTreeMap<String, Flight>>,
    /// What was left out last where nobody named any, as it was logged.
    left_out: Mutex<BTreeSet<String>>,
}

/// A tool that is offered.
pub struct Tool {
    /// Its name, as models know it.
    pub name: String,
    /// What it does, for models.
    pub description: String,
    /// JSON Schema of its arguments.
    pub parameters: Value,
    /// Bytes of that.
    bytes: usize,
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
    /// Whether it was remembered; told only where that says nothing of whoever asked before.
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
    /// It had hardly any time, as another instance was waited for: that says nothing of how it is, either.
    #[error("there was not enough time left")]
    Late,
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
            bytes: parameters.to_string().len(),
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
            renew: Script::new(flight::RENEW_KEY),
            tasks: tasks.clone(),
            flights: Mutex::default(),
            left_out: Mutex::default(),
        })))
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
