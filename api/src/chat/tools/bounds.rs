//! How far a model may go with tools in one answer.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use shared::{
    clients::chat::{Prompt, ToolSpec, ToolUse},
    tools::{Called, Outcome, Tool},
};
use tokio::time::Instant;

/// Most calls of an answer.
const CALLS_MAX: usize = 8;
/// Longest time from the first call on in which tools may be called.
const TIME_MAX: Duration = Duration::from_mins(1);
/// Wrong arguments in a row of one tool after which it is not offered any more.
const WRONG_MAX: u32 = 2;

/// What a model may still do.
pub(super) struct Bounds {
    tools: Vec<Arc<Tool>>,
    calls_left: usize,
    /// Until when tools may be called, once one was.
    until: Option<Instant>,
    /// How often the arguments of a tool were wrong.
    wrong: BTreeMap<String, u32>,
    stage: Stage,
}

/// How the model is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// It may want tools to be called.
    Free,
    /// It is told that it must answer.
    Forbidden,
    /// It is told of no tools.
    Without,
}

impl Bounds {
    pub(super) fn new(tools: Vec<Arc<Tool>>) -> Self {
        Self {
            tools,
            calls_left: CALLS_MAX,
            until: None,
            wrong: BTreeMap::new(),
            stage: Stage::Free,
        }
    }

    pub(super) fn stage(&self) -> Stage {
        self.stage
    }

    /// Says in a prompt what the model may do.
    pub(super) fn tell(&self, prompt: &mut Prompt) {
        prompt.tools.clear();
        if self.stage != Stage::Without {
            prompt
                .tools
                .extend(self.tools.iter().map(|tool| spec(tool)));
        }
        prompt.tool_use = match self.stage {
            Stage::Free => ToolUse::Auto,
            Stage::Forbidden | Stage::Without => ToolUse::Forbidden,
        };
    }

    /// The tool of a name, if one more call is allowed; else what the model is told instead.
    pub(super) fn allow(&mut self, name: &str) -> Result<Arc<Tool>, Called> {
        if self.calls_left == 0 {
            return Err(Called::invalid("Not called: there were too many calls."));
        }
        self.calls_left -= 1;
        let mut tools = self.tools.iter();
        let tool = tools.find(|tool| tool.name == name).cloned();
        tool.ok_or_else(|| Called::invalid("There is no such tool."))
    }

    /// Until when calls may go on.
    pub(super) fn until(&mut self) -> Instant {
        *self.until.get_or_insert_with(|| Instant::now() + TIME_MAX)
    }

    /// Notes what came of a call: a tool whose arguments were wrong twice in a row is called no more.
    pub(super) fn note(&mut self, name: &str, outcome: Outcome) {
        if outcome != Outcome::Invalid {
            self.wrong.remove(name);
            return;
        }
        let wrong = self.wrong.entry(name.to_owned()).or_default();
        *wrong += 1;
        if *wrong >= WRONG_MAX {
            let before = self.tools.len();
            self.tools.retain(|tool| tool.name != name);
            // It makes names up.
            if self.tools.len() == before {
                self.stage = Stage::Forbidden;
            }
        }
    }

    /// Looks whether the model must answer now.
    pub(super) fn look(&mut self) {
        let is_late = self.until.is_some_and(|until| Instant::now() >= until);
        if self.calls_left == 0 || is_late {
            self.stage = Stage::Forbidden;
        }
        if self.tools.is_empty() {
            self.stage = Stage::Without;
        }
    }

    /// The model wants tools although it must answer.
    pub(super) fn insist(&mut self) {
        self.stage = Stage::Without;
    }
}

fn spec(tool: &Tool) -> ToolSpec {
    ToolSpec {
        name: tool.name.clone(),
        description: tool.description.clone(),
        parameters: tool.parameters.clone(),
    }
}
