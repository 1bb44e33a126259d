//! Making an answer: asking those who have the model, saying what they say, and accounting for it in the end.

use std::{sync::Arc, time::Duration};

use shared::{
    catalogue::{Model, Route},
    clients::chat::{Answer, AnswerError, AskError, Ending, Limit, Part, Piece, Prompt, Said},
    database::{self, Origin},
    ids::ProjectId,
    models::{
        message::{self, AnswerContext, Failure},
        usage::{Attempt, Outcome},
    },
    providers::Picked,
    tools::Tool,
};
use tokio::{sync::watch, time::Instant};
use uuid::Uuid;

use super::{
    attempt::Counted,
    failure::{Unanswered, answer_failure, ask_failure, failure},
    live::{Speaker, Stop},
    prompt::{Asked, Left, Prompted, prompt},
    route::{self, Choice},
};
use crate::app::App;

/// Pause before a question is put together again.
const PROMPT_AGAIN: Duration = Duration::from_millis(500);
/// How often a question is put together while the database is away.
const PROMPT_TRIES: u32 = 10;
/// How often all providers are asked, where a failure may have passed, and the pause between.
const ROUNDS: u32 = 2;
const BEFORE_ROUND: Duration = Duration::from_millis(400);

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
    pub(super) speaker: Speaker,
    pub(super) stopped: watch::Receiver<Option<Stop>>,
    /// When it was asked for.
    pub(super) began: Instant,
    /// What was asked of providers so far.
    pub(super) attempts: Vec<Attempt>,
    pub(super) context: AnswerContext,
    /// Tokens of what is asked, as they are stored: before the factor of any model.
    pub(super) stored_tokens: u32,
    /// The same; nothing where pictures are shown or tools are told of, of which nobody can tell what they take.
    pub(super) estimated: Option<u32>,
    /// What is left of it for the next question.
    pub(super) left: Option<Left>,
    /// Whether a model shall name the conversation.
    pub(super) wants_title: bool,
    /// When the provider that is asked now was asked, and the time of its first word.
    pub(super) asking: Option<(Instant, Option<Instant>)>,
    /// This making of the answer.
    pub(super) id: Uuid,
    /// The key that was picked before the answer was begun.
    pub(super) first: Option<Picked>,
    /// Whether the first attempt is stored already.
    pub(super) is_noted: bool,
    /// The key that is used now.
    pub(super) using: Option<Picked>,
    /// What the model thought for the attempt.
    pub(super) thoughts: String,
    /// Tools that it may call.
    pub(super) tools: Vec<Arc<Tool>>,
    /// What was asked of them so far and what they said, as it is stored, oldest first.
    pub(super) exchange: Vec<message::Model>,
    /// Bytes that were said before the provider was asked this time: it is asked again after calls of tools.
    pub(super) round: usize,
    /// Whether what is said next begins a paragraph.
    pub(super) needs_break: bool,
}

/// What came of a call.
enum CameTo {
    Answered,
    Failed,
    Limited(Limit),
    Retired(String),
    Nothing,
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
        let Prompted {
            said,
            context,
            stored_tokens,
            left,
        } = self.prompt().await?;
        (self.context, self.left) = (context, left);
        self.stored_tokens = stored_tokens;
        let Choice::Model(model, routes) = self.choice.clone() else {
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
        self.estimated = (is_counted && self.tools.is_empty()).then_some(stored_tokens);
        self.converse(&model, &routes, prompt).await
    }

    /// Asks those who have a model, one after the other, until one answers to the end.
    pub(super) async fn ask_all(
        &mut self,
        model: &Model,
        routes: &[Route],
        prompt: &mut Prompt,
    ) -> Result<Ending, Failure> {
        self.app.providers.count_request();
        let mut last = Unanswered::default();
        for round in 0..ROUNDS {
            if round > 0 {
                tokio::time::sleep(self.app.pause(BEFORE_ROUND)).await;
            }
            for route in routes {
                // No outage may multiply the traffic.
                if last.may_heal && !self.app.providers.may_retry() {
                    return Err(last.failure());
                }
                prompt.model.clone_from(&route.model);
                if let Some(ending) = self.ask(&model.id, route, prompt, &mut last).await? {
                    return Ok(ending);
                }
            }
            // Only what may have passed by now is tried again.
            if !last.may_heal {
                break;
            }
        }
        Err(last.failure())
    }

    async fn prompt(&self) -> Result<Prompted, Failure> {
        let mut tries = 0;
        loop {
            match prompt(&self.app, &self.asked).await {
                Ok(prompted) => return Ok(prompted),
                Err(database::Error::Unavailable(_)) if tries < PROMPT_TRIES => {
                    tries += 1;
                    tokio::time::sleep(PROMPT_AGAIN).await;
                }
                Err(error) => {
                    let code = match error {
                        database::Error::Unavailable(_) => "unavailable",
                        _ => "internal",
                    };
                    let error = anyhow::Error::new(error);
                    tracing::error!(error = %format!("{error:#}"), "a question could not be put together");
                    return Err(failure(code, "the question could not be put together"));
                }
            }
        }
    }

    /// Asks a provider with one key after the other, until it answers or none is left. Nothing where another provider may
    /// be asked.
    async fn ask(
        &mut self,
        model: &str,
        route: &Route,
        prompt: &Prompt,
        last: &mut Unanswered,
    ) -> Result<Option<Ending>, Failure> {
        let providers = self.app.providers.clone();
        let mut tried = Vec::new();
        loop {
            let is_it = |first: &mut Picked| first.is_of(&route.provider, &route.model);
            let picked = match self.first.take_if(is_it) {
                Some(first) => Ok(first),
                None => providers.pick(&route.provider, &route.model, &tried).await,
            };
            let picked = match picked {
                Ok(picked) => picked,
                Err(why) => {
                    last.not_now(why);
                    return Ok(None);
                }
            };
            tried.push(picked.key_id().to_owned());
            self.using = Some(picked.clone());
            let group = picked.group().to_owned();
            let attempt = route::attempt(&self.app, model, route, group, self.stored_tokens);
            self.begin_attempt(attempt).await;
            let asked = self
                .app
                .chat
                .models()
                .ask(picked.provider(), picked.secret(), prompt)
                .await;
            let name = &route.provider;
            let error = match asked {
                Ok(answer) => match self.read(answer, &picked).await {
                    Ok(ending) => return Ok(Some(ending)),
                    Err(error) => {
                        let refusal = error.as_refusal().filter(|_| !self.is_begun());
                        if let Some(refusal) = refusal {
                            refusal
                        } else {
                            self.tell(&picked, CameTo::Failed).await;
                            let told = answer_failure(name, &error);
                            if self.is_begun() {
                                return Err(told);
                            }
                            last.failed(told);
                            return Ok(None);
                        }
                    }
                },
                Err(error) => {
                    self.fail_attempt(error.to_string());
                    error
                }
            };
            let told = ask_failure(name, &error);
            match error {
                AskError::Key { status, reason } => {
                    let reason = format!("{status}: {reason}");
                    self.tell(&picked, CameTo::Retired(reason)).await;
                    last.refused(told);
                }
                AskError::Limited { limit, .. } => {
                    self.tell(&picked, CameTo::Limited(limit)).await;
                    last.refused(told);
                }
                AskError::Unavailable { .. } => {
                    self.tell(&picked, CameTo::Failed).await;
                    last.failed(told);
                    return Ok(None);
                }
                // It does not have the model, takes less at once, or does not like the question; another one may.
                AskError::Refused {
                    status: 402..=404 | 413,
                    ..
                } => {
                    self.tell(&picked, CameTo::Nothing).await;
                    last.refused(told);
                    return Ok(None);
                }
                AskError::Refused { .. } => {
                    self.tell(&picked, CameTo::Answered).await;
                    return Err(told);
                }
            }
        }
    }

    /// Tells what came of a call, also where this answer is stopped meanwhile.
    async fn tell(&mut self, picked: &Picked, came_to: CameTo) {
        let (providers, picked) = (self.app.providers.clone(), picked.clone());
        let telling = async move {
            match came_to {
                CameTo::Answered => providers.completed(&picked).await,
                CameTo::Failed => providers.failed(&picked).await,
                CameTo::Limited(limit) => providers.limited(&picked, limit).await,
                CameTo::Retired(reason) => providers.retired(&picked, reason).await,
                CameTo::Nothing => providers.end_probe(&picked).await,
            }
        };
        let told = self.app.tasks.spawn(telling);
        self.using = None;
        _ = told.await;
    }

    /// Whether anything was said since the provider was asked.
    fn is_begun(&self) -> bool {
        self.speaker.len() > self.round
    }

    /// Bytes that were said before, if it goes on.
    pub(super) fn before(&self) -> usize {
        self.asked.begun.as_ref().map_or(0, String::len)
    }

    /// Says what a provider says. Its attempt is accounted for, whatever comes of it.
    async fn read(&mut self, mut answer: Answer, picked: &Picked) -> Result<Ending, AnswerError> {
        let mut is_first = true;
        let read = loop {
            let piece = answer.next().await;
            if is_first && matches!(piece, Ok(Some(_))) {
                is_first = false;
                self.app.providers.answered(picked).await;
            }
            match piece {
                Ok(Some(Piece::Text(text))) => {
                    if let Some((_, first)) = &mut self.asking {
                        first.get_or_insert_with(Instant::now);
                    }
                    self.say(&text);
                }
                Ok(Some(Piece::Thought(text))) => self.thoughts.push_str(&text),
                Ok(Some(Piece::End(ending))) => break Ok(ending),
                Ok(None) => break Err(AnswerError::Cut),
                Err(error) => break Err(error),
            }
        };
        let counted = Counted {
            tokens: match &read {
                Ok(ending) => ending.usage,
                Err(_) => answer.usage(),
            },
            cost_microusd: answer.cost_microusd(),
        };
        match &read {
            Ok(_) => {
                self.close_attempt(Outcome::Completed, None, counted).await;
                self.tell(picked, CameTo::Answered).await;
                self.app.tasks.spawn(answer.drain());
            }
            // It says that it did nothing.
            Err(AnswerError::Said(reason, _)) if is_first => self.fail_attempt(reason.clone()),
            Err(error) => {
                let reason = Some(error.to_string());
                self.close_attempt(Outcome::Failed, reason, counted).await;
            }
        }
        read
    }
}
