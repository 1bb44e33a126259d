//! Answers of models: asked for, streamed, resumed anywhere, stopped, and accounted for.
//!
//! An answer is made by a task of its own, whoever listens. While it is made, it is in the memory of its instance, in a
//! stream of Redis for readers at other instances, and each second in Postgres; in the end it is in its message.

mod answer;
mod dto;
mod echo;
mod events;
mod keeper;
mod live;
mod prompt;
mod relay;
pub(crate) mod route;
mod routes;
mod shown;
mod turn;

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use secrecy::SecretString;
use shared::{clients::chat::Models, config::ProviderConfig};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

pub(crate) use self::keeper::start;
use self::live::{Live, Stop};
use crate::{app::App, extract::BodyLimit};

/// The longest message takes twelve bytes a character where a client escapes all of it.
const BODY_LIMIT_BYTES: usize = 12 * dto::MESSAGE_MAX + 512 * 1024;

/// The routes that answer at once.
pub(crate) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(routes::cancel_chat_stream))
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
    /// Which key is tried first.
    next_key: AtomicUsize,
}

impl Chat {
    /// Makes it; `stopping` is cancelled when no answers shall be begun any more.
    pub(crate) fn new(models: Models, stopping: CancellationToken) -> Self {
        Self(Arc::new(Parts {
            models,
            live: Live::default(),
            instance: Uuid::new_v4(),
            making: TaskTracker::new(),
            stopping,
            next_key: AtomicUsize::new(0),
        }))
    }

    fn models(&self) -> &Models {
        &self.0.models
    }

    fn live(&self) -> &Live {
        &self.0.live
    }

    fn instance(&self) -> Uuid {
        self.0.instance
    }

    /// The keys of a provider, each with its group, in the order in which they are tried: each call begins with another.
    fn keys(&self, provider: &ProviderConfig) -> Vec<(SecretString, String)> {
        let keys = &provider.keys;
        let first = self.0.next_key.fetch_add(1, Ordering::Relaxed) % keys.len();
        let rotated = keys[first..].iter().chain(&keys[..first]);
        rotated
            .map(|key| (key.key.clone(), key.account.clone().unwrap_or_default()))
            .collect()
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
        let any = !self.0.live.own().is_empty();
        self.0.live.stop_all(Stop::Interrupted);
        any
    }
}
