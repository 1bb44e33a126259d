//! Asking those who have a model, one after the other, until one answers; whatever comes of it, each try is accounted for and
//! told to the pools. Answers of conversations are made with it, and those that nobody keeps (`direct`).

use std::time::Duration;

use shared::{
    catalogue::Route,
    clients::chat::{Answer, AnswerError, AskError, Ending, Limit, Piece, Prompt, ToolCallPart},
    ids::MessageId,
    models::{
        message::Failure,
        usage::{Attempt, Outcome},
    },
    providers::Picked,
};
use tokio::{sync::mpsc, time::Instant};
use uuid::Uuid;

use super::{
    attempt::Counted,
    failure::{Unanswered, answer_failure, ask_failure},
    live::Speaker,
    route,
};
use crate::app::App;

/// How often all providers are asked, where a failure may have passed, and the pause between.
const ROUNDS: u32 = 2;
const BEFORE_ROUND: Duration = Duration::from_millis(400);
/// Between what a model says before and after a call of tools.
const BREAK: &str = "\n\n";

/// How providers are asked for one answer, and what they said.
pub(super) struct Tries {
    pub(super) app: App,
    /// The answer, as it is known here.
    pub(super) answer: MessageId,
    /// This making of it.
    pub(super) id: Uuid,
    pub(super) speaker: Speaker,
    /// Who hears all of it as it comes, and not only its words.
    pub(super) hearer: Option<mpsc::UnboundedSender<Piece>>,
    /// What was asked of providers so far.
    pub(super) attempts: Vec<Attempt>,
    /// Tokens of what is asked, as they are stored: before the factor of any model.
    pub(super) stored_tokens: u32,
    /// The same; nothing where pictures are shown or tools are told of, of which nobody can tell what they take.
    pub(super) estimated: Option<u32>,
    /// Whether it costs what the table says.
    pub(super) is_priced: bool,
    /// When the provider that is asked now was asked, and the time of its first word.
    pub(super) asking: Option<(Instant, Option<Instant>)>,
    /// The key that was picked before the answer was begun.
    pub(super) first: Option<Picked>,
    /// Whether the first attempt is stored already.
    pub(super) is_noted: bool,
    /// The key that is used now.
    pub(super) using: Option<Picked>,
    /// What the model thought for the attempt, and asked tools for.
    pub(super) thoughts: String,
    /// Bytes that were said before the provider was asked this time: it is asked again after calls of tools.
    pub(super) round: usize,
    /// How often it was asked before, and has answered.
    pub(super) number: u32,
    /// Whether what is said next begins a paragraph.
    pub(super) needs_break: bool,
}

/// Something that a provider is asked.
pub(super) trait Question: Send + Sync {
    /// What it answers.
    type Answer: Send;

    /// Names the model as the next provider does.
    fn name(&mut self, model: &str);

    /// Asks a provider, and reads what it answers. The attempt is closed, unless the provider refuses. Once an answer has begun,
    /// it is not put again.
    fn put(
        &mut self,
        tries: &mut Tries,
        picked: &Picked,
    ) -> impl Future<Output = Result<Self::Answer, NoAnswer>> + Send;
}

/// Why a provider has not answered.
pub(super) enum NoAnswer {
    /// It said so before it began.
    Refused(AskError),
    /// It broke off.
    Broken(AnswerError),
}

/// What came of a call.
enum CameTo {
    Answered,
    Failed,
    Limited(Limit),
    Retired(String),
    Nothing,
}

impl Question for Prompt {
    type Answer = Ending;

    fn name(&mut self, model: &str) {
        model.clone_into(&mut self.model);
    }

    async fn put(&mut self, tries: &mut Tries, picked: &Picked) -> Result<Ending, NoAnswer> {
        let models = tries.app.chat.models().clone();
        let asked = models.ask(picked.provider(), picked.secret(), self).await;
        tries.read_asked(asked, picked, || {}).await
    }
}

impl Tries {
    /// Nothing was asked yet.
    pub(super) fn new(app: &App, answer: MessageId, id: Uuid, speaker: Speaker) -> Self {
        Self {
            app: app.clone(),
            answer,
            id,
            round: speaker.len(),
            speaker,
            hearer: None,
            attempts: Vec::new(),
            stored_tokens: 0,
            estimated: None,
            is_priced: true,
            asking: None,
            first: None,
            is_noted: false,
            using: None,
            thoughts: String::new(),
            number: 0,
            needs_break: false,
        }
    }

    /// Asks those who have a model, one after the other, until one answers to the end.
    pub(super) async fn ask_all<Q: Question>(
        &mut self,
        model: &str,
        routes: &[Route],
        question: &mut Q,
    ) -> Result<Q::Answer, Failure> {
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
                question.name(&route.model);
                if let Some(answer) = self.ask(model, route, question, &mut last).await? {
                    return Ok(answer);
                }
            }
            // Only what may have passed by now is tried again.
            if !last.may_heal {
                break;
            }
        }
        Err(last.failure())
    }

    /// Asks a provider with one key after the other, until it answers or none is left. Nothing where another provider may
    /// be asked.
    async fn ask<Q: Question>(
        &mut self,
        model: &str,
        route: &Route,
        question: &mut Q,
        last: &mut Unanswered,
    ) -> Result<Option<Q::Answer>, Failure> {
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
            let name = &route.provider;
            let error = match question.put(self, &picked).await {
                Ok(answer) => return Ok(Some(answer)),
                Err(NoAnswer::Broken(error)) => {
                    let refusal = error.as_refusal().filter(|_| !self.is_begun());
                    if let Some(refusal) = refusal {
                        refusal
                    } else {
                        let told = answer_failure(name, &error);
                        let came_to = if error.is_failure() {
                            CameTo::Failed
                        } else {
                            CameTo::Nothing
                        };
                        self.tell(&picked, came_to).await;
                        if self.is_begun() {
                            return Err(told);
                        }
                        if error.is_failure() {
                            last.failed(told);
                        } else {
                            last.refused(told);
                        }
                        return Ok(None);
                    }
                }
                Err(NoAnswer::Refused(error)) => {
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
                // It may be good for other things; another key may do this.
                AskError::Barred { .. } => {
                    self.tell(&picked, CameTo::Nothing).await;
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

    /// Tells that the provider has answered to the end.
    pub(super) async fn tell_answered(&mut self, picked: &Picked) {
        self.tell(picked, CameTo::Answered).await;
    }

    /// Whether anything was said since the provider was asked.
    fn is_begun(&self) -> bool {
        self.speaker.len() > self.round
    }

    /// Reads an answer, if there is one. `begun` is called with its first word: from then on nobody else is asked.
    pub(super) async fn read_asked(
        &mut self,
        asked: Result<Answer, AskError>,
        picked: &Picked,
        begun: impl FnOnce() + Send,
    ) -> Result<Ending, NoAnswer> {
        let answer = asked.map_err(NoAnswer::Refused)?;
        let read = self.read(answer, picked, begun).await;
        read.map_err(NoAnswer::Broken)
    }

    /// Says what a provider says. Its attempt is accounted for, whatever comes of it.
    async fn read(
        &mut self,
        mut answer: Answer,
        picked: &Picked,
        begun: impl FnOnce() + Send,
    ) -> Result<Ending, AnswerError> {
        let mut is_first = true;
        let mut begun = Some(begun);
        let read = loop {
            let piece = answer.next().await;
            if is_first && matches!(piece, Ok(Some(_))) {
                is_first = false;
                self.app.providers.answered(picked).await;
            }
            match piece {
                Ok(Some(Piece::End(ending))) => break Ok(ending),
                Ok(Some(piece)) => {
                    self.hear(piece);
                    if self.is_begun()
                        && let Some(begun) = begun.take()
                    {
                        begun();
                    }
                }
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

    /// Says what comes; who hears all of it gets it as it is. Then all of it counts as said: it has left.
    pub(super) fn hear(&mut self, piece: Piece) {
        match &piece {
            Piece::Text(text) | Piece::Refusal(text) => {
                self.note_first();
                self.say(text);
            }
            Piece::Thought(text) => self.think(text),
            Piece::Call(call) => {
                self.note_first();
                self.call(call);
            }
            Piece::Logprobs(_) | Piece::End(_) => {}
        }
        if let Some(hearer) = &self.hearer {
            // Whoever has gone is noticed elsewhere.
            _ = hearer.send(piece);
        }
    }

    fn note_first(&mut self) {
        if let Some((_, first)) = &mut self.asking {
            first.get_or_insert_with(Instant::now);
        }
    }

    fn think(&mut self, text: &str) {
        if self.hearer.is_some() {
            self.speaker.say(text);
        } else {
            self.thoughts.push_str(text);
        }
    }

    fn call(&mut self, call: &ToolCallPart) {
        if let Some((_, name)) = &call.begun {
            self.think(name);
        }
        self.think(&call.arguments);
    }

    /// Says more; what comes after a call begins anew.
    pub(super) fn say(&mut self, text: &str) {
        if text.is_empty() {
            return;
        }
        if std::mem::take(&mut self.needs_break) {
            self.speaker.say(BREAK);
        }
        self.speaker.say(text);
    }
}
