//! Who is asked, and what each way of not answering means for the next.

use std::time::Duration;

use shared::{
    catalogue::Route, clients::chat::AskError, models::message::Failure, providers::Picked,
};

use super::{CameTo, NoAnswer, Question, Tries};
use crate::chat::{
    failure::{Unanswered, answer_failure, ask_failure},
    route,
};

/// How often all providers are asked, where a failure may have passed, and the pause between.
const ROUNDS: u32 = 2;
const BEFORE_ROUND: Duration = Duration::from_millis(400);

impl Tries {
    /// Asks those who have a model, one after the other, until one answers to the end.
    pub(in crate::chat) async fn ask_all<Q: Question>(
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
}
