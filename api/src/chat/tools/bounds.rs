//! How far a model may go with tools in one answer.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use shared::{
    clients::chat::{Prompt, ToolSpec, ToolUse},
    tools::{Called, Outcome, Tool},
};
use tokio::time::Instant;

/// Most calls of an answer.
const CALLS_MAX: usize = 8;
/// Longest time from the first call on in which calls may be begun.
const TIME_MAX: Duration = Duration::from_mins(1);
/// Wrong arguments in a row of one tool after which it is not offered any more.
const WRONG_MAX: u32 = 2;

/// What a model may still do.
pub(super) struct Bounds {
    /// All of which the model was told first.
    known: Vec<Arc<Tool>>,
    /// Those that it may want to be called.
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
    /// It must answer, and is told of tools all the same: some providers take no calls of earlier without.
    Forbidden,
    /// It is told of no tools, as it wanted them all the same.
    Without,
}

impl Bounds {
    pub(super) fn new(tools: Vec<Arc<Tool>>) -> Self {
        Self {
            known: tools.clone(),
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
        let told = match self.stage {
            Stage::Free => &self.tools[..],
            Stage::Forbidden => &self.known[..],
            Stage::Without => &[],
        };
        prompt.tools = told.iter().map(|tool| spec(tool)).collect();
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

    /// Until when calls may be begun. Those that were begun end by themselves.
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
                self.forbid();
            }
        }
    }

    /// Looks whether the model must answer now.
    pub(super) fn look(&mut self) {
        let is_late = self.until.is_some_and(|until| Instant::now() >= until);
        if self.calls_left == 0 || is_late || self.tools.is_empty() {
            self.forbid();
        }
    }

    /// The model must answer.
    pub(super) fn forbid(&mut self) {
        self.stage = Stage::Forbidden;
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

#[cfg(test)]
mod tests {
    use shared::{
        clock::Clock,
        config::{Problems, RedisConfig, ToolArgs},
        redis::Redis,
        tools::Tools,
    };
    use tokio_util::task::TaskTracker;

    use super::*;

    /// Those of an answer that has the weather and currencies; nobody is asked.
    fn bounds() -> Bounds {
        let key = || Some("k".to_owned());
        let args = ToolArgs {
            openweather_api_key: key(),
            exchange_rate_api_key: key(),
            nominatim_base_url: Some("off".to_owned()),
            ..ToolArgs::default()
        };
        let config = args.check(&mut Problems::default());
        let redis = Redis::connect(&RedisConfig {
            url: "redis://127.0.0.1:9".into(),
            tls_insecure: false,
            ca: None,
            prefix: String::new(),
        });
        let (redis, tasks) = (redis.unwrap(), TaskTracker::new());
        let tools = Tools::new(&config, "BaatCheet/test", &redis, Clock::System, &tasks);
        Bounds::new(tools.unwrap().offered())
    }

    /// Names of the tools that a model is told of, and whether it may have them called.
    fn told(bounds: &Bounds) -> (Vec<String>, ToolUse) {
        let mut prompt = Prompt::default();
        bounds.tell(&mut prompt);
        let names = prompt.tools.into_iter().map(|tool| tool.name);
        (names.collect(), prompt.tool_use)
    }

    #[tokio::test]
    async fn eight_calls_are_carried_out_and_then_it_must_answer() {
        let mut bounds = bounds();
        let names = vec!["weather".to_owned(), "currency".to_owned()];
        for call in 1..=8 {
            assert_eq!(bounds.stage(), Stage::Free, "before call {call}");
            assert_eq!(told(&bounds), (names.clone(), ToolUse::Auto));
            assert_eq!(bounds.allow("weather").unwrap().name, "weather");
            bounds.note("weather", Outcome::Completed);
            bounds.look();
        }
        assert_eq!(bounds.stage(), Stage::Forbidden);
        assert_eq!(told(&bounds), (names, ToolUse::Forbidden));
        let refused = bounds.allow("currency").unwrap_err();
        assert_eq!(refused.outcome, Outcome::Invalid);
        assert!(refused.text.contains("too many calls"), "{}", refused.text);
        // One that does not listen is told of no tools.
        bounds.insist();
        assert_eq!(told(&bounds), (Vec::new(), ToolUse::Forbidden));
    }

    #[tokio::test]
    async fn what_is_no_tool_counts_as_a_call() {
        let mut bounds = bounds();
        for _ in 0..8 {
            let refused = bounds.allow("teleport").unwrap_err();
            assert_eq!(refused.text, "There is no such tool.");
        }
        let refused = bounds.allow("weather").unwrap_err();
        assert!(refused.text.contains("too many calls"), "{}", refused.text);
    }

    #[tokio::test]
    async fn calls_go_on_for_a_minute_from_the_first_one_and_then_it_must_answer() {
        assert_eq!(TIME_MAX.as_secs(), 60);
        let mut bounds = bounds();
        bounds.look();
        assert_eq!((bounds.until, bounds.stage()), (None, Stage::Free));
        let before = Instant::now();
        let until = bounds.until();
        assert!((before + TIME_MAX..=Instant::now() + TIME_MAX).contains(&until));
        bounds.look();
        assert_eq!(bounds.stage(), Stage::Free);
        // A later round has what is left of it.
        assert_eq!(bounds.until(), until);
        bounds.until = Some(Instant::now());
        bounds.look();
        assert_eq!(bounds.stage(), Stage::Forbidden);
        assert_eq!(told(&bounds).1, ToolUse::Forbidden);
    }
}
