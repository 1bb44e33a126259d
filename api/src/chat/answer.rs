//! Making an answer: asking those who have the model, saying what they say, and accounting for it in the end.

use std::{sync::Arc, time::Duration};

use shared::{
    clients::chat::{Ending, Part, Prompt, Said},
    database::Origin,
    ids::ProjectId,
    models::message::{self, AnswerContext, Failure},
    tools::Tool,
};
use tokio::{sync::watch, time::Instant};

use super::{
    failure::failure,
    live::Stop,
    prompt::{Asked, Left, Prompted, alone, prompt},
    route::Choice,
    tools::Round,
    tries::Tries,
};
use crate::app::App;

/// Pause before a question is put together again.
const PROMPT_AGAIN: Duration = Duration::from_millis(500);
/// How often a question is put together while the database is away.
const PROMPT_TRIES: u32 = 10;

/// How an answer is asked for.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Options {
    /// How free it is.
    pub(super) temperature: Option<f64>,
    /// Most tokens of it.
    pub(super) max_tokens: Option<u32>,
}

/// An answer that is being made.
pub(super) struct Making {
    pub(super) app: App,
    pub(super) origin: Origin,
    pub(super) asked: Asked,
    pub(super) choice: Choice,
    pub(super) options: Options,
    pub(super) row: message::Model,
    pub(super) project: Option<ProjectId>,
    pub(super) stopped: watch::Receiver<Option<Stop>>,
    /// When it was asked for.
    pub(super) began: Instant,
    pub(super) context: AnswerContext,
    /// What is left of it for the next question.
    pub(super) left: Option<Left>,
    /// Whether a model shall name the conversation.
    pub(super) wants_title: bool,
    /// Tools that it may call.
    pub(super) tools: Vec<Arc<Tool>>,
    /// What was asked of them so far and what they said, as it is stored, oldest first.
    pub(super) exchange: Vec<message::Model>,
    /// The round of calls that is made now.
    pub(super) open: Option<Round>,
    /// How long tools were waited for.
    pub(super) tools_time: Duration,
    /// Whether it is not known how much of what tools said is stored.
    pub(super) is_doubtful: bool,
    /// How providers are asked, and what they said.
    pub(super) tries: Tries,
}

/// How the making went.
pub(super) enum Made {
    Whole(Ending),
    Stopped(Stop),
    Failed(Failure),
}

impl Making {
    /// Makes the answer to its end, whatever that is, and stores it.
    pub(super) async fn run(mut self) {
        let mut stopped = self.stopped.clone();
        let stop = async {
            let why = stopped.wait_for(Option::is_some).await.map(|why| *why);
            match why {
                Ok(why) => why.unwrap_or(Stop::Interrupted),
                // The speaker is ours, so this does not happen while we speak.
                Err(_) => std::future::pending().await,
            }
        };
        let longest = self.app.config.chat.answer_time;
        let made = tokio::select! {
            biased;
            why = stop => Made::Stopped(why),
            made = tokio::time::timeout(longest, self.make()) => match made {
                Ok(Ok(ending)) => Made::Whole(ending),
                Ok(Err(failure)) => Made::Failed(failure),
                Err(_) => Made::Failed(failure("timeout", "the answer took too long")),
            },
        };
        self.end(made).await;
    }

    async fn make(&mut self) -> Result<Ending, Failure> {
        let choice = self.choice.clone();
        if let Choice::Model(model, _) = &choice {
            self.weigh_tools(model).await;
        }
        let Prompted {
            said,
            context,
            stored_tokens,
            left,
        } = self.prompt().await;
        (self.context, self.left) = (context, left);
        self.tries.stored_tokens = stored_tokens;
        let Choice::Model(model, routes) = choice else {
            let question = said.last().map(Said::words).unwrap_or_default();
            return self.echo(&question).await;
        };
        let prompt = Prompt {
            model: String::new(),
            said,
            temperature: self.options.temperature,
            max_tokens: self
                .options
                .max_tokens
                .map(|most| most.min(model.max_output_tokens)),
            ..Prompt::default()
        };
        let mut parts = prompt.said.iter().flat_map(|said| &said.parts);
        let has_pictures = parts.any(|part| matches!(part, Part::Picture(_)));
        // Only what was counted, and whole, tells how a model counts; nor does anybody know what it is told of tools.
        let is_counted = !has_pictures && !self.context.estimated && self.context.cut == 0;
        self.tries.estimated = (is_counted && self.tools.is_empty()).then_some(stored_tokens);
        self.converse(&model, &routes, prompt).await
    }

    /// What the model is shown. Where the database stays away, that is the question alone.
    async fn prompt(&self) -> Prompted {
        for _ in 0..PROMPT_TRIES {
            match prompt(&self.app, &self.asked).await {
                Ok(prompted) => return prompted,
                Err(error) => {
                    tracing::debug!(error = %error, "a context is put together again");
                    tokio::time::sleep(PROMPT_AGAIN).await;
                }
            }
        }
        alone(&self.asked, "the database is away")
    }

    /// Bytes that were said before, if it goes on.
    pub(super) fn before(&self) -> usize {
        self.asked.begun.as_ref().map_or(0, String::len)
    }
}
