//! Answers that nobody keeps: asked for like those of conversations, with the same keys, breakers and ledger, but told to who
//! asked and to nobody else.
//!
//! While one is made it has a row of `generations` without a message, which is there before its provider is asked: so it is
//! in the ledger whatever becomes of this instance, as others end what it leaves. When its client goes away, nobody can
//! read it on, so its provider is left as well.

mod talk;
mod vectors;

use std::time::Duration;

use shared::{
    database::{self, Origin, Tx},
    ids::{MessageId, UserId},
    models::{
        generation::{self, NewUnkept},
        message::{AnswerUsage, Failure},
        usage::{self, Attempt, Kind, Outcome, Purpose},
    },
    providers::Picked,
};
use tokio::{
    sync::{oneshot, watch},
    time::Instant,
};
use tracing::Instrument as _;
use uuid::Uuid;

pub(crate) use self::{
    talk::{Hearing, Talk, talk},
    vectors::{Vectors, vectors},
};
use super::{
    ending::{STORE_AGAIN, STORE_TRIES, answer_usage},
    failure::{failure, stopped},
    live::Stop,
    tries::Tries,
};
use crate::{
    app::App,
    caller::Caller,
    error::{Error, Result},
    middleware::RequestId,
    usage::admit,
};

/// Who asks waits for the ledger no longer than that: the answer is whole.
const UNTIL_STORED: Duration = Duration::from_secs(2);

/// Something that is asked and not kept.
trait Unkept: Send + Sync + 'static {
    /// What is answered.
    type Answer: Send + 'static;

    /// What it is in the ledger.
    const KIND: Kind;
    /// Whether it ends when its client has gone; else it takes no time, and is paid for already.
    const IS_LEFT: bool;

    /// Picks the key that is used first; none where nobody needs one.
    fn pick(&self, app: &App) -> impl Future<Output = Result<Option<Picked>>> + Send;

    /// What is noted before the first provider is asked.
    fn attempt(&self, app: &App, first: Option<&Picked>) -> Attempt;

    /// Tells how it is asked.
    fn prepare(&mut self, tries: &mut Tries);

    /// Asks.
    fn ask(
        &mut self,
        tries: &mut Tries,
    ) -> impl Future<Output = Result<Self::Answer, Failure>> + Send;
}

/// How it ended.
#[derive(Debug)]
pub(crate) struct End<A> {
    /// What was answered.
    pub(crate) came: Result<A, Failure>,
    /// What it took.
    pub(crate) usage: AnswerUsage,
    /// Who was asked last.
    pub(crate) provider: Option<String>,
}

impl<A> End<A> {
    /// What is known where nobody tells the end.
    fn lost() -> Self {
        Self {
            came: Err(failure("interrupted", "the answer was interrupted")),
            usage: AnswerUsage::default(),
            provider: None,
        }
    }
}

/// Something that is being answered.
struct Making {
    origin: Origin,
    user: UserId,
    kind: Kind,
    tries: Tries,
    stopped: watch::Receiver<Option<Stop>>,
    began: Instant,
}

/// How the making went.
enum Made<A> {
    Whole(A),
    Stopped(Stop),
    Failed(Failure),
}

/// Begins it, and tells by which id it is known and how it will end. A client that goes away meanwhile leaves nothing half
/// begun.
async fn begin<U: Unkept>(
    app: &App,
    caller: &Caller,
    request: &RequestId,
    asked: U,
) -> Result<(MessageId, oneshot::Receiver<End<U::Answer>>)> {
    let origin = Origin {
        user: Some(caller.user),
        request_id: Some(request.id.clone()),
        traceparent: request.traceparent.clone(),
    };
    let beginning = begin_to_end(app.clone(), caller.user, origin, asked);
    let begun = app.tasks.spawn(beginning.in_current_span()).await;
    begun.map_err(anyhow::Error::from)?
}

async fn begin_to_end<U: Unkept>(
    app: App,
    user: UserId,
    origin: Origin,
    mut asked: U,
) -> Result<(MessageId, oneshot::Receiver<End<U::Answer>>)> {
    let began = Instant::now();
    admit(&app, &app.db, user).await?;
    let first = asked.pick(&app).await?;
    let (message, id) = (MessageId::new(), Uuid::new_v4());
    let new = NewUnkept {
        message,
        id,
        user,
        instance: app.chat.instance(),
        kind: U::KIND,
        attempts: vec![asked.attempt(&app, first.as_ref())],
    };
    if let Err(error) = generation::begin_unkept(&app.db, new, app.clock.now()).await {
        if let Some(picked) = &first {
            app.providers.unused(picked).await;
        }
        return Err(Error::from(error));
    }
    let (speaker, stopped) = app.chat.live().begin(message, id, String::new());
    let mut tries = Tries {
        first,
        is_noted: true,
        ..Tries::new(&app, message, id, speaker)
    };
    asked.prepare(&mut tries);
    let (ended, end) = oneshot::channel();
    let making = Making {
        origin,
        user,
        kind: U::KIND,
        tries,
        stopped,
        began,
    };
    app.chat.make(making.run(asked, ended));
    Ok((message, end))
}

impl Making {
    /// Makes the answer to its end, whatever that is, and accounts for it.
    async fn run<U: Unkept>(mut self, mut asked: U, mut ended: oneshot::Sender<End<U::Answer>>) {
        let mut stopped = self.stopped.clone();
        let stop = async {
            let why = stopped.wait_for(Option::is_some).await.map(|why| *why);
            match why {
                Ok(why) => why.unwrap_or(Stop::Interrupted),
                // The speaker is ours, so this does not happen while we speak.
                Err(_) => std::future::pending().await,
            }
        };
        let gone = async {
            ended.closed().await;
            if !U::IS_LEFT {
                std::future::pending::<()>().await;
            }
        };
        let longest = self.tries.app.config.chat.answer_time;
        let asking = asked.ask(&mut self.tries);
        let made = tokio::select! {
            biased;
            why = stop => Made::Stopped(why),
            () = gone => Made::Stopped(Stop::Cancelled),
            made = tokio::time::timeout(longest, asking) => match made {
                Ok(Ok(answer)) => Made::Whole(answer),
                Ok(Err(failure)) => Made::Failed(failure),
                Err(_) => Made::Failed(failure("timeout", "the answer took too long")),
            },
        };
        // It may be large, and accounting may take long.
        drop(asked);
        self.end(made, ended).await;
    }

    /// Accounts for it, and tells.
    async fn end<A>(mut self, made: Made<A>, ended: oneshot::Sender<End<A>>) {
        self.tries.release().await;
        // There is no more to be heard.
        self.tries.hearer = None;
        let outcome = match &made {
            // Another instance has accounted for it.
            Made::Stopped(Stop::Lost) => return,
            Made::Stopped(Stop::Cancelled) => Outcome::Cancelled,
            Made::Stopped(Stop::Interrupted) => Outcome::Interrupted,
            Made::Whole(_) | Made::Failed(_) => Outcome::Failed,
        };
        self.tries.close_open(outcome).await;
        let came = match made {
            Made::Whole(answer) => Ok(answer),
            Made::Failed(failure) => Err(failure),
            Made::Stopped(Stop::Cancelled) => Err(stopped()),
            Made::Stopped(_) => Err(failure(
                "interrupted",
                "the server was stopped before the answer ended",
            )),
        };
        let attempts = &self.tries.attempts;
        let end = End {
            came,
            usage: answer_usage(attempts, self.began.elapsed(), Duration::ZERO),
            provider: attempts.last().map(|last| last.provider.clone()),
        };
        let mut storing = Box::pin(self.store());
        let stored = tokio::time::timeout(UNTIL_STORED, &mut storing).await;
        _ = ended.send(end);
        if stored.is_err() {
            storing.await;
        }
    }

    /// Writes what was asked into the ledger, unless another has done so.
    async fn store(&self) {
        for attempt in 0..=STORE_TRIES {
            match self.store_once().await {
                Ok(()) => return,
                Err(error) if attempt < STORE_TRIES => {
                    let error = anyhow::Error::new(error);
                    tracing::warn!(error = %format!("{error:#}"), "an answer is not in the ledger yet");
                    tokio::time::sleep(STORE_AGAIN).await;
                }
                Err(error) => {
                    let error = anyhow::Error::new(error);
                    tracing::error!(error = %format!("{error:#}"), "an answer is not in the ledger");
                }
            }
        }
    }

    async fn store_once(&self) -> database::Result<()> {
        let Tries {
            app, id, attempts, ..
        } = &self.tries;
        let _turn = app.ledger.turn(self.user).await;
        let mut tx = Tx::begin(&app.db, &app.redis, self.origin.clone()).await?;
        if generation::take(&mut tx, *id).await?.is_none() {
            return Ok(());
        }
        let purpose = Purpose {
            user: Some(self.user),
            ..Purpose::default()
        };
        let limits = &app.config.common.usage_limits;
        usage::record(&mut tx, limits, self.kind, purpose, attempts).await?;
        tx.commit().await?;
        Ok(())
    }
}
