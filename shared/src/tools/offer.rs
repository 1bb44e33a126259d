//! Which tools are offered: to whoever lists them, to a model that is told of all, and by their names.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use futures::future::join_all;
use tokio_util::sync::CancellationToken;

use super::{Tool, Tools, mcp::Server};

/// Most tools that are told of where nobody names any, as providers take no more, and bytes of all that is told of them.
const AUTO_MAX: usize = 128;
const AUTO_MAX_BYTES: usize = 64 * 1024;
/// Longest wait for what servers offer, when the program starts.
const READY: Duration = Duration::from_secs(5);

/// Why there is no tool of a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotOffered {
    /// Nobody has it.
    #[error("no tool has this name")]
    Unknown,
    /// Nobody knows, as the server that may have it is away.
    #[error("the server of tools {0} is away")]
    Away(String),
}

impl Tools {
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

    /// Waits until it was looked once what servers offer, for some seconds at most.
    pub async fn ready(&self) {
        let looks = join_all(self.0.servers.iter().map(Server::looked));
        if tokio::time::timeout(READY, looks).await.is_err() {
            tracing::debug!("not every server of tools has answered yet");
        }
    }

    /// All tools that are offered now: ours first, then those of each server.
    pub fn offered(&self) -> Vec<Arc<Tool>> {
        let of_servers = self.0.servers.iter().flat_map(Server::tools);
        self.0.builtin.iter().cloned().chain(of_servers).collect()
    }

    /// Those that a model is told of where nobody names any: as many as all providers take.
    pub fn automatic(&self) -> Vec<Arc<Tool>> {
        let (tools, left_out) = chosen(self.offered());
        let told = self.0.left_out.lock();
        let mut told = told.expect("nothing panics while it holds this lock");
        if *told != left_out {
            if let Some(first) = left_out.first() {
                let number = left_out.len();
                tracing::warn!(
                    tools = number,
                    first,
                    "more tools are offered than models are told of unless they are named"
                );
            }
            *told = left_out;
        }
        tools
    }

    /// The tool of a name. Where a server may have it that has not said so yet, it is asked once more.
    ///
    /// # Errors
    /// [`NotOffered`].
    pub async fn find(&self, name: &str) -> Result<Arc<Tool>, NotOffered> {
        let mut builtin = self.0.builtin.iter();
        if let Some(tool) = builtin.find(|tool| tool.name == name) {
            return Ok(tool.clone());
        }
        let mut servers = self.0.servers.iter();
        match servers.find(|server| server.may_have(name)) {
            Some(server) => server.find(name, self.0.timeout).await,
            None => Err(NotOffered::Unknown),
        }
    }
}

/// As many of some tools, the first of them, as models are told of unless they are named; and the names of the others.
fn chosen(offered: Vec<Arc<Tool>>) -> (Vec<Arc<Tool>>, BTreeSet<String>) {
    let (mut tools, mut left_out) = (Vec::with_capacity(offered.len()), BTreeSet::new());
    let mut bytes = 0;
    for tool in offered {
        let with = bytes + tool.name.len() + tool.description.len() + tool.bytes;
        if tools.len() < AUTO_MAX && with <= AUTO_MAX_BYTES {
            bytes = with;
            tools.push(tool);
        } else {
            left_out.insert(tool.name.clone());
        }
    }
    (tools, left_out)
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;
    use serde_json::{Map, Value, json};

    use super::*;
    use crate::tools::{Answer, Executor, ToolError};

    struct Nobody;

    #[async_trait]
    impl Executor for Nobody {
        async fn run(&self, _: &Map<String, Value>) -> Result<Answer, ToolError> {
            Err(ToolError::Busy)
        }
    }

    fn tool(number: usize, bytes: usize) -> Arc<Tool> {
        let schema = json!({ "type": "object", "description": "x".repeat(bytes) });
        let name = format!("tool_{number:03}");
        Arc::new(Tool::builtin(&name, "", schema, 1, Nobody))
    }

    #[test]
    fn models_are_told_of_no_more_tools_than_providers_take() {
        let (tools, left_out) = chosen((0..200).map(|number| tool(number, 1)).collect());
        assert_eq!((tools.len(), left_out.len()), (AUTO_MAX, 200 - AUTO_MAX));
        assert_eq!(tools[127].name, "tool_127");
        assert!(left_out.contains("tool_128"));
        // What is short still has room beside what is long.
        let sizes = [30_000, 30_000, 30_000, 10];
        let tools = sizes.into_iter().enumerate();
        let (tools, left_out) = chosen(tools.map(|(number, size)| tool(number, size)).collect());
        let names: Vec<&str> = tools.iter().map(|tool| tool.name.as_str()).collect();
        assert_eq!(names, ["tool_000", "tool_001", "tool_003"]);
        assert_eq!(left_out.first().unwrap(), "tool_002");
    }
}
