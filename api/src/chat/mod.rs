//! Answers of models: asked for, streamed, resumed anywhere, stopped, and accounted for.
//!
//! An answer is made by a task of its own, whoever listens. While it is made, it is in the memory of its instance, in a
//! stream of Redis for readers at other instances, and several times a second in Postgres; in the end it is in its
//! message.

mod aftermath;
mod answer;
mod assemble;
mod attempt;
mod batch;
mod context;
pub(crate) mod direct;
mod dto;
mod echo;
mod ending;
mod events;
mod failure;
mod keeper;
mod live;
mod place;
mod prompt;
mod quick;
mod relay;
pub(crate) mod route;
mod routes;
mod shown;
pub(crate) mod spoken;
mod store;
mod told;
mod tools;
mod tries;
mod turn;

use std::{sync::Arc, time::Duration};

use sea_orm::{DatabaseConnection, DbErr};
use secrecy::SecretString;
use shared::{
    clients::chat::{AskError, Models},
    config::ProviderConfig,
    database,
    ids::{MessageId, UserId},
    models::{
        generation::{self, Stopped},
        message,
        turn::{Begun, EndedTurn, NewTurn},
    },
};
use tokio::time::Instant;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use self::{
    batch::{Batch, Flush},
    live::{Live, Stop},
};
pub(crate) use self::{
    events::{as_stream, tell_usage},
    failure::scrub,
    keeper::start,
};
use crate::{
    app::App,
    extract::{BodyLimit, Paced},
};

/// The longest message takes twelve bytes a character where a client escapes all of it.
const BODY_LIMIT_BYTES: usize = 12 * dto::MESSAGE_MAX + 512 * 1024;

/// How long a database that is away is waited for, and how often it is looked.
const UNTIL_BACK: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(200);

/// The routes that answer at once.
pub(crate) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(routes::cancel_chat_stream))
        .routes(routes!(context::get_conversation_context))
}

/// The routes that last as long as an answer does.
pub(crate) fn streaming_router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(routes::create_chat_completion))
        .routes(routes!(routes::read_chat_stream))
        .routes(routes!(routes::regenerate_message))
        .routes(routes!(routes::continue_message))
        .routes(routes!(routes::resend_message))
        .layer(axum::extract::DefaultBodyLimit::max(BODY_LIMIT_BYTES))
        .layer(axum::Extension(BodyLimit(BODY_LIMIT_BYTES)))
        .layer(axum::Extension(Paced))
}

/// What the feature keeps in this process; cheap to clone.
#[derive(Clone)]
pub(crate) struct Chat(Arc<Parts>);

struct Parts {
    /// The way to all providers.
    models: Models,
    /// Answers that are known here.
    live: Live,
    /// How this process is known to the others.
    instance: Uuid,
    /// Owns the answers that are made here.
    making: TaskTracker,
    /// No more answers are begun.
    stopping: CancellationToken,
    begins: Batch<NewTurn>,
    ends: Batch<EndedTurn>,
    flushes: Batch<Flush>,
}

impl Chat {
    /// Makes it; `stopping` is cancelled when no answers shall be begun any more.
    pub(crate) fn new(
        models: Models,
        db: &DatabaseConnection,
        stopping: CancellationToken,
    ) -> Self {
        Self(Arc::new(Parts {
            models,
            live: Live::default(),
            instance: Uuid::new_v4(),
            making: TaskTracker::new(),
            stopping,
            begins: Batch::start(db, 2),
            ends: Batch::start(db, 2),
            flushes: Batch::start(db, 1),
        }))
    }

    /// Stores the beginning of an answer with those of others. None where it must be stored by itself.
    async fn begin(&self, turn: NewTurn) -> database::Result<Option<Begun>> {
        self.0.begins.write(turn).await
    }

    /// Stores the end of an answer with those of others. None where it must be stored by itself.
    async fn end(&self, turn: EndedTurn) -> database::Result<Option<message::Model>> {
        self.0.ends.write(turn).await
    }

    /// Waits until an answer that was begun with others would survive the end of the database's server. Where that cannot be
    /// had, it is not made.
    async fn flush(&self, answer: MessageId) -> database::Result<()> {
        let until = Instant::now() + UNTIL_BACK;
        let error = loop {
            match self.0.flushes.write(Flush(answer)).await {
                Ok(true) => return Ok(()),
                Ok(false) => {
                    break database::Error::Unavailable(DbErr::Custom(
                        "it was forgotten".to_owned(),
                    ));
                }
                Err(database::Error::Unavailable(_)) if Instant::now() < until => {
                    tokio::time::sleep(LOOK).await;
                }
                Err(error) => break error,
            }
        };
        self.live().stop(answer, Stop::Interrupted);
        Err(error)
    }

    fn models(&self) -> &Models {
        &self.0.models
    }

    fn live(&self) -> &Live {
        &self.0.live
    }

    /// How this process is known to the others.
    pub(crate) fn instance(&self) -> Uuid {
        self.0.instance
    }

    /// Asks a provider whether it is there.
    ///
    /// # Errors
    /// See [`AskError`].
    pub(crate) async fn probe(
        &self,
        provider: &ProviderConfig,
        key: &SecretString,
    ) -> Result<(), AskError> {
        self.0.models.probe(provider, key).await
    }

    /// Has an answer made by a task of its own.
    fn make(&self, making: impl Future<Output = ()> + Send + 'static) {
        self.0.making.spawn(making);
    }

    /// Whether the program is about to end.
    fn is_stopping(&self) -> bool {
        self.0.stopping.is_cancelled()
    }

    /// Waits until all answers that are made here have ended.
    pub(crate) async fn wait(&self) {
        self.0.making.close();
        self.0.making.wait().await;
    }

    /// Ends all answers that are made here, and tells whether there were any.
    pub(crate) fn interrupt(&self) -> bool {
        self.0.live.stop_all(Stop::Interrupted) > 0
    }
}

/// Stops answers of a user that were deleted.
pub(crate) async fn stop_deleted(app: &App, user: UserId, what: Stopped) {
    if let Err(error) = stop(app, user, what).await {
        let error = anyhow::Error::new(error);
        tracing::warn!(error = %format!("{error:#}"), "an answer that was deleted is still made");
    }
}

/// Stops answers of a user, wherever they are made.
///
/// # Errors
/// As the database fails.
async fn stop(app: &App, user: UserId, what: Stopped) -> database::Result<()> {
    let now = app.clock.now();
    let stopped = generation::request_cancel(&app.db, user, what, now).await?;
    let elsewhere: Vec<String> = stopped
        .into_iter()
        .filter(|id| !app.chat.live().stop(*id, Stop::Cancelled))
        .map(|id| id.to_string())
        .collect();
    if !elsewhere.is_empty() {
        let channel = app.redis.keys().stop_answer();
        app.redis.publish(channel, elsewhere.join(",")).await;
    }
    Ok(())
}
