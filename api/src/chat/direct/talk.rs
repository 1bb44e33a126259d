//! Answers of models to questions in `OpenAI`'s own words.

use std::mem;

use shared::{
    clients::chat::{Ending, Passed, Piece},
    ids::MessageId,
    models::{
        message::Failure,
        usage::{Attempt, Kind},
    },
    providers::Picked,
};
use tokio::sync::{mpsc, oneshot};

use super::{End, Unkept, begin};
use crate::{
    app::App,
    caller::Caller,
    chat::{
        route::Choice,
        tries::{NoAnswer, Question, Tries},
    },
    error::Result,
    extract::Room,
    middleware::RequestId,
};

/// A question.
#[derive(Debug)]
pub(crate) struct Talk {
    /// Who answers.
    pub(crate) choice: Choice,
    /// What is asked.
    pub(crate) passed: Passed,
    /// What is said last, for who says it back; nothing for others.
    pub(crate) question: String,
    /// Tokens of all of it, as they are stored.
    pub(crate) stored_tokens: u32,
    /// Whether that is all that providers count: of pictures and tools nobody knows.
    pub(crate) is_counted: bool,
    /// Whether it costs what the table says.
    pub(crate) is_priced: bool,
    /// What it takes of the room for large questions.
    pub(crate) room: Room,
}

/// Somebody who hears an answer. Dropping it ends the answer.
pub(crate) struct Hearing {
    /// By which it is known.
    pub(crate) id: MessageId,
    pieces: mpsc::UnboundedReceiver<Piece>,
    end: oneshot::Receiver<End<Ending>>,
}

/// Asks.
///
/// # Errors
/// Where nobody can be asked now, and as the database fails.
pub(crate) async fn talk(
    app: &App,
    caller: &Caller,
    request: &RequestId,
    talk: Talk,
) -> Result<Hearing> {
    let (hearer, pieces) = mpsc::unbounded_channel();
    let hearer = Some(hearer);
    let asked = Asked { talk, hearer };
    let (id, end) = begin(app, caller, request, asked).await?;
    Ok(Hearing { id, pieces, end })
}

impl Hearing {
    /// Waits for more; none after the end.
    pub(crate) async fn next(&mut self) -> Option<Piece> {
        self.pieces.recv().await
    }

    /// Waits for the end, once there is no more.
    pub(crate) async fn end(&mut self) -> End<Ending> {
        (&mut self.end).await.unwrap_or_else(|_| End::lost())
    }
}

struct Asked {
    talk: Talk,
    /// Until it is begun.
    hearer: Option<mpsc::UnboundedSender<Piece>>,
}

impl Unkept for Asked {
    type Answer = Ending;

    const KIND: Kind = Kind::Chat;
    const IS_LEFT: bool = true;

    async fn pick(&self, app: &App) -> Result<Option<Picked>> {
        self.talk.choice.pick(app).await
    }

    fn attempt(&self, app: &App, first: Option<&Picked>) -> Attempt {
        let talk = &self.talk;
        let mut attempt = talk.choice.attempt(app, first, talk.stored_tokens);
        attempt.price = attempt.price.filter(|_| talk.is_priced);
        attempt
    }

    fn prepare(&mut self, tries: &mut Tries) {
        let talk = &self.talk;
        tries.hearer = self.hearer.take();
        tries.stored_tokens = talk.stored_tokens;
        tries.estimated = talk.is_counted.then_some(talk.stored_tokens);
        tries.is_priced = talk.is_priced;
    }

    async fn ask(&mut self, tries: &mut Tries) -> Result<Ending, Failure> {
        let Talk {
            choice,
            passed,
            question,
            stored_tokens,
            room,
            ..
        } = &mut self.talk;
        match choice {
            Choice::Model(model, routes) => {
                let mut handed = Handed {
                    passed: mem::take(passed),
                    room: room.clone(),
                };
                tries.ask_all(&model.id, routes, &mut handed).await
            }
            Choice::Echo => tries.echo(question, *stored_tokens).await,
        }
    }
}

/// A question that is handed on. It is not kept for longer than another provider may be asked.
struct Handed {
    passed: Passed,
    room: Room,
}

impl Question for Handed {
    type Answer = Ending;

    fn name(&mut self, model: &str) {
        model.clone_into(&mut self.passed.model);
    }

    async fn put(&mut self, tries: &mut Tries, picked: &Picked) -> Result<Ending, NoAnswer> {
        let models = tries.app.chat.models().clone();
        let (provider, secret) = (picked.provider(), picked.secret());
        let asked = models.pass(provider, secret, &self.passed).await;
        let begun = || {
            self.passed.fields.clear();
            self.room.leave();
        };
        tries.read_asked(asked, picked, begun).await
    }
}
