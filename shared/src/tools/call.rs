//! Calling a tool: what is asked, for how long, and what the model hears of it.

use std::sync::Arc;

use serde_json::{Map, Value};
use tokio::time::Instant;

use super::{Called, Outcome, Source, Tool, ToolError, Tools, output};

/// Tools whose questions say nothing of who asks: only of these it is told that somebody has asked the same before.
const IMPERSONAL: [&str; 2] = ["weather", "currency"];

impl Tools {
    /// Carries out a call, as a model writes it: never fails, as the model hears what came of it.
    pub async fn call(&self, tool: &Arc<Tool>, arguments: &str) -> Called {
        let began = Instant::now();
        let until = began + self.0.timeout;
        let mut called = match read(tool, arguments).await {
            Ok(arguments) => match tool.lifetime {
                Some(lifetime) => self.shared(tool, arguments, lifetime, until).await,
                None => self.alone(tool, arguments, until).await,
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
        called.is_cached &= IMPERSONAL.contains(&tool.name.as_str());
        called
    }

    /// Asks, whoever else asks the same. A stop of whoever waits does not reach it, so that it is known what came of it.
    async fn alone(
        &self,
        tool: &Arc<Tool>,
        arguments: Map<String, Value>,
        until: Instant,
    ) -> Called {
        let (tools, tool) = (self.clone(), tool.clone());
        let asking = async move { tools.ask(&tool, &arguments, until).await };
        let asked = self.0.tasks.spawn(asking).await;
        asked.unwrap_or_else(|_| Called::unavailable())
    }

    /// Asks a tool, if its breaker lets it, for no longer than until then.
    pub(super) async fn ask(
        &self,
        tool: &Tool,
        arguments: &Map<String, Value>,
        until: Instant,
    ) -> Called {
        let breakers = &self.0.breakers;
        let pass = match breakers.pass(&tool.service).await {
            Ok(pass) => pass,
            Err(wait) => {
                let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
                tracing::debug!(tool = tool.name, waitMs = wait_ms, "a tool is left alone");
                return Called::unavailable();
            }
        };
        let patience = until.saturating_duration_since(Instant::now());
        let ran = tokio::time::timeout(patience, tool.executor.run(arguments)).await;
        let ran = ran.unwrap_or_else(|_| {
            if patience < self.0.timeout / 2 {
                Err(ToolError::Late)
            } else {
                Err(ToolError::Unavailable("it takes too long".to_owned()))
            }
        });
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
            Err(error @ (ToolError::Busy | ToolError::Late)) => {
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

/// Reads arguments, and not on a thread of requests where that takes a while.
async fn read(tool: &Arc<Tool>, arguments: &str) -> Result<Map<String, Value>, String> {
    if tool.schema.is_quick(arguments) {
        return tool.schema.read(arguments);
    }
    let (tool, arguments) = (tool.clone(), arguments.to_owned());
    let reading = tokio::task::spawn_blocking(move || tool.schema.read(&arguments));
    let read = reading.await;
    read.unwrap_or_else(|_| Err("they cannot be read".to_owned()))
}
