//! Vectors of texts.

use std::mem;

use shared::{
    catalogue::{EmbeddingModel, Route},
    clients::chat::{AnswerError, Embedded, Embedding},
    models::{
        message::Failure,
        usage::{Attempt, Kind, Outcome},
    },
    providers::Picked,
    tokens::TokenCounts,
};

use super::{End, Unkept, begin};
use crate::{
    app::App,
    caller::Caller,
    chat::{
        attempt::Counted,
        route::{first_attempt, pick_first},
        tries::{NoAnswer, Question, Tries},
    },
    error::Result,
    extract::Room,
    middleware::RequestId,
};

/// What vectors are wanted of.
#[derive(Debug)]
pub(crate) struct Vectors {
    /// The model.
    pub(crate) model: EmbeddingModel,
    /// Those of its routes that can be asked.
    pub(crate) routes: Vec<Route>,
    /// What is asked.
    pub(crate) embedding: Embedding,
    /// How many vectors are wanted.
    pub(crate) wanted: usize,
    /// Tokens of all of it, as they are stored.
    pub(crate) stored_tokens: u32,
    /// What it takes of the room for large questions.
    pub(crate) room: Room,
}

/// Has vectors made, to their end: a client that goes away has paid for them by then.
///
/// # Errors
/// Where nobody can be asked now, and as the database fails.
pub(crate) async fn vectors(
    app: &App,
    caller: &Caller,
    request: &RequestId,
    vectors: Vectors,
) -> Result<End<Embedded>> {
    let (_, end) = begin(app, caller, request, vectors).await?;
    Ok(end.await.unwrap_or_else(|_| End::lost()))
}

impl Unkept for Vectors {
    type Answer = Embedded;

    const KIND: Kind = Kind::Embedding;
    const IS_LEFT: bool = false;

    async fn pick(&self, app: &App) -> Result<Option<Picked>> {
        let picked = pick_first(app, &self.model.id, &self.routes).await?;
        Ok(Some(picked))
    }

    fn attempt(&self, app: &App, first: Option<&Picked>) -> Attempt {
        let (id, routes) = (&self.model.id, &self.routes);
        let tokens = self.stored_tokens;
        let attempt = first.and_then(|first| first_attempt(app, id, routes, first, tokens));
        attempt.expect("the first key is one for a route of the model")
    }

    fn prepare(&mut self, tries: &mut Tries) {
        tries.stored_tokens = self.stored_tokens;
    }

    async fn ask(&mut self, tries: &mut Tries) -> Result<Embedded, Failure> {
        let Embedding {
            model,
            input,
            dimensions,
            user,
        } = &mut self.embedding;
        let mut asked = Asked {
            embedding: Embedding {
                model: mem::take(model),
                input: mem::take(input),
                dimensions: *dimensions,
                user: user.take(),
            },
            wanted: self.wanted,
        };
        let answered = tries
            .ask_all(&self.model.id, &self.routes, &mut asked)
            .await;
        self.room.leave();
        answered
    }
}

struct Asked {
    embedding: Embedding,
    wanted: usize,
}

impl Question for Asked {
    type Answer = Embedded;

    fn name(&mut self, model: &str) {
        model.clone_into(&mut self.embedding.model);
    }

    async fn put(&mut self, tries: &mut Tries, picked: &Picked) -> Result<Embedded, NoAnswer> {
        let models = tries.app.chat.models().clone();
        let (provider, secret) = (picked.provider(), picked.secret());
        let asked = models.embed(provider, secret, &self.embedding, self.wanted);
        let came = asked.await.map_err(NoAnswer::Refused)?;
        match &came {
            Ok(embedded) => {
                let tokens = embedded.tokens.map(|input| TokenCounts {
                    input,
                    ..TokenCounts::default()
                });
                let counted = Counted {
                    tokens,
                    cost_microusd: embedded.cost_microusd,
                };
                tries.close_attempt(Outcome::Completed, None, counted).await;
                tries.tell_answered(picked).await;
            }
            // It says that it did nothing.
            Err(AnswerError::Said(reason, _)) => tries.fail_attempt(reason.clone()),
            Err(error) => {
                let nothing = Counted::default();
                let reason = Some(error.to_string());
                tries.close_attempt(Outcome::Failed, reason, nothing).await;
            }
        }
        came.map_err(NoAnswer::Broken)
    }
}
