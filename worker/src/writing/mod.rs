//! Asking models for what jobs write: summaries and titles.
//!
//! They are asked like for answers, with the same keys, breakers and ledger. Nobody waits for them, so that each route is asked
//! once, and what may heal is left to another run of the job.

mod call;

use std::{
    sync::atomic::{AtomicI32, Ordering},
    time::Duration,
};

use shared::{
    catalogue::{Model, Route},
    clients::chat::{Answer, AnswerError, AskError, Ending, Piece, Prompt, Said},
    context::count,
    models::{
        message::Role,
        usage::{Kind, Outcome, Purpose},
    },
    providers::{NotNow, Picked},
    telemetry::report_step,
};

use self::call::Call;
use crate::{context::JobContext, jobs::Failure};

/// Most tokens that a model may think before it writes: providers count both together.
const THOUGHTS: u32 = 4_000;

/// Finds the first of these models that can be asked. No other one is told of the conversation.
pub(crate) fn choose(ctx: &JobContext, wanted: &[Option<&str>]) -> Option<Model> {
    let can_ask = |model: &&Model| {
        let mut routes = model.routes.iter();
        routes.any(|route| ctx.providers.can_ask(&route.provider))
    };
    let catalogue = ctx.providers.catalogue();
    let mut known = wanted.iter().flatten().filter_map(|id| catalogue.find(id));
    known.find(can_ask).cloned()
}

/// Has models write something for a job.
pub(crate) struct Writer<'a> {
    ctx: &'a JobContext,
    kind: Kind,
    purpose: Purpose,
    calls: AtomicI32,
}

/// Why nothing was written so far.
#[derive(Debug, Default)]
struct Trouble {
    reason: String,
    /// Whether another run may do better.
    may_heal: bool,
    retry_after: Option<Duration>,
}

/// What came of a call.
enum Came {
    Written(String),
    /// Another key may do better.
    NextKey(Trouble),
    /// Another provider may.
    NextRoute(Trouble),
    /// Nobody will.
    Refused(Trouble),
}

impl<'a> Writer<'a> {
    /// Makes one that accounts for what it asks.
    pub(crate) fn new(ctx: &'a JobContext, kind: Kind, purpose: Purpose) -> Self {
        Self {
            ctx,
            kind,
            purpose,
            calls: AtomicI32::new(0),
        }
    }

    /// Has a model write a text of about so many tokens at most.
    ///
    /// # Errors
    /// Temporary where another run may do better. Permanent also where nothing was written, or a filter stopped it.
    pub(crate) async fn write(
        &self,
        model: &Model,
        said: Vec<Said>,
        most_tokens: u32,
    ) -> Result<String, Failure> {
        let mut input = 0_u32;
        for one in &said {
            let counted =
                count::count_message(self.ctx.writing.encoding, Role::User, one.words()).await;
            input = input.saturating_add(counted.tokens);
        }
        let room = model.context_tokens - model.most_context();
        let mut prompt = Prompt {
            model: String::new(),
            said,
            temperature: None,
            max_tokens: Some(most_tokens.saturating_add(THOUGHTS).min(room)),
            ..Prompt::default()
        };
        let mut trouble = Trouble {
            reason: "no provider of the model can be asked".to_owned(),
            ..Trouble::default()
        };
        let providers = &self.ctx.providers;
        for route in &model.routes {
            if !providers.has(&route.provider) {
                continue;
            }
            prompt.model.clone_from(&route.model);
            match self.ask(model, route, &prompt, input).await {
                Ok(text) => return Ok(text),
                Err((next, is_final)) => {
                    report_step(&route.provider, true, || next.reason.clone());
                    trouble = trouble.or(next);
                    if is_final {
                        break;
                    }
                }
            }
        }
        Err(trouble.into())
    }

    /// Asks a provider with one key after the other. An error tells whether no other provider is to be asked.
    async fn ask(
        &self,
        model: &Model,
        route: &Route,
        prompt: &Prompt,
        input: u32,
    ) -> Result<String, (Trouble, bool)> {
        let providers = &self.ctx.providers;
        let mut tried = Vec::new();
        let mut last = Trouble {
            reason: format!("{} takes none of our keys", route.provider),
            ..Trouble::default()
        };
        loop {
            let picked = match providers.pick(&route.provider, &route.model, &tried).await {
                Ok(picked) => picked,
                Err(NotNow::Exhausted(wait) | NotNow::Open(wait)) => {
                    let why = "is asked too often, or has failed too often";
                    let now = Trouble::passing(format!("{} {why}", route.provider), Some(wait));
                    return Err((last.or(now), false));
                }
                Err(NotNow::NoKey) => return Err((last, false)),
            };
            tried.push(picked.key_id().to_owned());
            let number = 1 + self.calls.fetch_add(1, Ordering::Relaxed);
            let group = picked.group().to_owned();
            let call = match Call::begin(self, number, model, route, group, input).await {
                Ok(call) => call,
                Err(error) => {
                    providers.end_probe(&picked).await;
                    let error = anyhow::Error::new(error);
                    tracing::error!(error = %format!("{error:#}"), "a call of a model cannot be noted");
                    let reason = "what is asked cannot be accounted for".to_owned();
                    return Err((Trouble::passing(reason, None), true));
                }
            };
            // Boxed, as the state of a call with its connection is large.
            match Box::pin(self.call(&picked, prompt, call)).await {
                Came::Written(text) => return Ok(text),
                Came::NextKey(trouble) => last = last.or(trouble),
                Came::NextRoute(trouble) => return Err((last.or(trouble), false)),
                Came::Refused(trouble) => return Err((trouble, true)),
            }
        }
    }

    /// Asks once, and tells what came of it.
    async fn call(&self, picked: &Picked, prompt: &Prompt, mut call: Call<'_>) -> Came {
        let (providers, models) = (&self.ctx.providers, &self.ctx.models);
        let asked = models.ask(picked.provider(), picked.secret(), prompt).await;
        let mut answer = match asked {
            Ok(answer) => answer,
            Err(error) => {
                call.failed_at_once(error.to_string());
                return self.came_to(picked, error).await;
            }
        };
        let read = self.read(picked, &mut answer, &mut call).await;
        let (counted, cost) = (answer.usage(), answer.cost_microusd());
        match read {
            Ok(ending) => {
                let counted = ending.usage.or(counted);
                let text = call.ended(Outcome::Completed, None, counted, cost);
                providers.completed(picked).await;
                answer.drain().await;
                let nothing = if ending.finish == "content_filter" {
                    "the model was stopped by a filter"
                } else if text.trim().is_empty() {
                    "the model wrote nothing"
                } else {
                    return Came::Written(text);
                };
                Came::Refused(Trouble {
                    reason: nothing.to_owned(),
                    ..Trouble::default()
                })
            }
            Err(error) => {
                let refusal = error.as_refusal().filter(|_| call.text.is_empty());
                let is_nothing = matches!(error, AnswerError::Said(..)) && call.text.is_empty();
                let reason = error.to_string();
                if is_nothing {
                    call.failed_at_once(reason.clone());
                } else {
                    call.ended(Outcome::Failed, Some(reason.clone()), counted, cost);
                }
                if let Some(refusal) = refusal {
                    self.came_to(picked, refusal).await
                } else if error.is_failure() {
                    providers.failed(picked).await;
                    Came::NextRoute(Trouble::passing(reason, None))
                } else {
                    providers.end_probe(picked).await;
                    Came::NextRoute(Trouble {
                        reason,
                        ..Trouble::default()
                    })
                }
            }
        }
    }

    async fn read(
        &self,
        picked: &Picked,
        answer: &mut Answer,
        call: &mut Call<'_>,
    ) -> Result<Ending, AnswerError> {
        let mut is_first = true;
        loop {
            let piece = answer.next().await?;
            if std::mem::take(&mut is_first) && piece.is_some() {
                self.ctx.providers.answered(picked).await;
            }
            match piece {
                Some(Piece::Text(text) | Piece::Refusal(text)) => call.say(&text),
                Some(Piece::Thought(text)) => call.think(&text),
                Some(Piece::Call(_) | Piece::Logprobs(_)) => {}
                Some(Piece::End(ending)) => return Ok(ending),
                None => return Err(AnswerError::Cut),
            }
        }
    }

    /// Tells the pool why there is no answer, and what is to be done.
    async fn came_to(&self, picked: &Picked, error: AskError) -> Came {
        let providers = &self.ctx.providers;
        let reason = error.to_string();
        match error {
            AskError::Key {
                status,
                reason: said,
            } => {
                providers.retired(picked, format!("{status}: {said}")).await;
                Came::NextKey(Trouble {
                    reason,
                    ..Trouble::default()
                })
            }
            AskError::Barred { .. } => {
                providers.end_probe(picked).await;
                Came::NextKey(Trouble {
                    reason,
                    ..Trouble::default()
                })
            }
            AskError::Limited { limit, .. } => {
                providers.limited(picked, limit).await;
                Came::NextKey(Trouble::passing(reason, limit.wait))
            }
            AskError::Unavailable { retry_after, .. } => {
                providers.failed(picked).await;
                Came::NextRoute(Trouble::passing(reason, retry_after))
            }
            // It does not have the model, or takes less at once; another one may.
            AskError::Refused {
                status: 402..=404 | 413,
                ..
            } => {
                providers.end_probe(picked).await;
                Came::NextRoute(Trouble {
                    reason,
                    ..Trouble::default()
                })
            }
            AskError::Refused { .. } => {
                providers.completed(picked).await;
                Came::Refused(Trouble {
                    reason,
                    ..Trouble::default()
                })
            }
        }
    }
}

impl Trouble {
    fn passing(reason: String, retry_after: Option<Duration>) -> Self {
        Self {
            reason,
            may_heal: true,
            retry_after,
        }
    }

    /// The worse of two, which is the one that heals, as then all does; and the sooner time.
    fn or(self, next: Self) -> Self {
        let retry_after = match (self.retry_after, next.retry_after) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
        let told = if self.may_heal && !next.may_heal {
            self
        } else {
            next
        };
        Self {
            retry_after,
            ..told
        }
    }
}

impl From<Trouble> for Failure {
    fn from(trouble: Trouble) -> Self {
        if trouble.may_heal {
            Self::Temporary {
                reason: trouble.reason,
                retry_after: trouble.retry_after,
            }
        } else {
            Self::Permanent(trouble.reason)
        }
    }
}
