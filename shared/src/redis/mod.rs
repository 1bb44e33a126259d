//! Redis: speed, never truth. Every call is short, bounded and allowed to fail.

mod breaker;
mod script;
mod stream;
mod tls;

use std::{sync::Arc, time::Duration};

use fred::{
    clients::SubscriberClient,
    interfaces::{ClientLike, EventInterface, KeysInterface, LuaInterface, PubsubInterface},
    prelude::{Builder, Client, Config, ReconnectPolicy},
    types::{
        Expiration, Message, SetOptions,
        config::{TlsConnector, UnresponsiveConfig},
    },
};
use secrecy::ExposeSecret;
use tokio::sync::broadcast;

use self::breaker::Breaker;
pub use self::{
    script::Script,
    stream::{Entry, Number, READ_MAX},
};
use crate::{
    config::RedisConfig,
    ids::{AttachmentId, ConversationId, MessageId},
    telemetry::report_step,
};

/// Longest wait for one command.
const COMMAND_TIMEOUT: Duration = Duration::from_millis(100);
/// Longest wait that anybody may ask for.
const LONGEST_TIMEOUT: Duration = Duration::from_secs(2);
/// Longest wait for a message to be published: the commit it follows is done, the caller waits for an answer.
const PUBLISH_TIMEOUT: Duration = Duration::from_millis(50);
/// Longest wait for a script: it stands before work that must not wait for it.
const SCRIPT_TIMEOUT: Duration = Duration::from_millis(50);

/// Names of keys and channels; nothing else builds them.
#[derive(Debug, Clone)]
pub struct Keys(Arc<str>);

impl Keys {
    /// Makes the names of one deployment.
    pub fn new(prefix: &str) -> Self {
        Self(prefix.into())
    }

    /// ZSET of dispatched job ids of one queue.
    pub fn queue(&self, queue: crate::queue::Queue) -> String {
        format!("{}jobs:q:{queue}", self.0)
    }

    /// Channel: these queues have new rows in Postgres (names, comma-separated).
    pub fn enqueued(&self) -> String {
        format!("{}jobs:enqueued", self.0)
    }

    /// Channel: these queues have new ids in Redis (names, comma-separated).
    pub fn dispatched(&self) -> String {
        format!("{}jobs:dispatched", self.0)
    }

    /// Channel: these jobs shall be cancelled (ids, comma-separated).
    pub fn cancel(&self) -> String {
        format!("{}jobs:cancel", self.0)
    }

    /// Channel: these jobs have changed (ids, comma-separated).
    pub fn changed(&self) -> String {
        format!("{}jobs:changed", self.0)
    }

    /// Hash: what is counted of a provider's keys, and what is left alone.
    pub fn provider(&self, name: &str) -> String {
        format!("{}providers:{name}", self.0)
    }

    /// When a provider was probed last, and how it was.
    pub fn provider_health(&self, name: &str) -> String {
        format!("{}providers:health:{name}", self.0)
    }

    /// Channel: keys were retired, revived or set.
    pub fn providers_changed(&self) -> String {
        format!("{}providers:changed", self.0)
    }

    /// Stream: an answer that is being made, numbered by the bytes said so far and what tools did there; each making has its
    /// own.
    pub fn answer(&self, message: MessageId, making: uuid::Uuid) -> String {
        format!("{}stream:{message}:{making}", self.0)
    }

    /// Channel: these answers shall be stopped (ids, comma-separated).
    pub fn stop_answer(&self) -> String {
        format!("{}stream:stop", self.0)
    }

    /// What goes along with the next question of a conversation.
    pub fn context(&self, conversation: ConversationId) -> String {
        format!("{}context:{conversation}", self.0)
    }

    /// Text that was read in an attachment.
    pub fn attachment_text(&self, attachment: AttachmentId) -> String {
        format!("{}cache:attachment-text:{attachment}", self.0)
    }

    /// What a tool said; `hash` is of its arguments.
    pub fn tool_result(&self, tool: &str, hash: &[u8]) -> String {
        format!("{}cache:tool:{tool}:{}", self.0, hex::encode(hash))
    }

    /// Who asks a tool for a result that others wait for.
    pub fn tool_flight(&self, result: &str) -> String {
        format!("{result}:asking")
    }

    /// Hash: which tools are left alone.
    pub fn tool_breakers(&self) -> String {
        format!("{}tools:breakers", self.0)
    }

    /// Whose turn it is to ask a service that takes one question at a time.
    pub fn tool_turn(&self, service: &str) -> String {
        format!("{}tools:turn:{service}", self.0)
    }

    /// Who the owner of an access token or API key is; `hash` is its SHA-256.
    pub fn session(&self, hash: &[u8]) -> String {
        format!("{}cache:session:{}", self.0, hex::encode(hash))
    }

    /// Sorted set: what was spent of one budget of a rate limit.
    pub fn limit(&self, policy: &str, subject: &str) -> String {
        format!("{}rl:{policy}:{subject}", self.0)
    }
}

/// Why a command was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Redis failed often just now; it is asked again in some seconds.
    #[error("redis is away")]
    Open,
    /// No answer in time.
    #[error("redis did not answer in time")]
    Timeout,
    /// Redis said no.
    #[error(transparent)]
    Failed(#[from] fred::error::Error),
}

/// A connection that reconnects for ever; cheap to clone.
#[derive(Clone)]
pub struct Redis {
    client: Client,
    builder: Arc<Builder>,
    breaker: Arc<Breaker>,
    keys: Keys,
}

impl std::fmt::Debug for Redis {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Redis")
    }
}

impl Redis {
    /// Starts connecting, and returns at once: Redis may be down.
    ///
    /// # Errors
    /// When the URL or a certificate cannot be used.
    pub fn connect(config: &RedisConfig) -> anyhow::Result<Self> {
        let mut fred = Config::from_url(config.url.expose_secret())?;
        fred.fail_fast = false;
        if config.is_tls() {
            fred.tls = Some(TlsConnector::from(tls::config(config)?).into());
        }
        let mut builder = Builder::from_config(fred);
        builder
            .set_policy(ReconnectPolicy::new_linear(0, 3_000, 100))
            .with_performance_config(|performance| {
                performance.default_command_timeout = LONGEST_TIMEOUT;
            })
            .with_connection_config(|connection| {
                connection.connection_timeout = Duration::from_secs(2);
                connection.internal_command_timeout = Duration::from_secs(2);
                connection.max_command_attempts = 1;
                connection.unresponsive = UnresponsiveConfig {
                    max_timeout: Some(Duration::from_secs(3)),
                    interval: Duration::from_secs(1),
                };
            });
        let client = builder.build()?;
        let _connecting = client.connect();
        Ok(Self {
            client,
            builder: Arc::new(builder),
            breaker: Arc::new(Breaker::new()),
            keys: Keys::new(&config.prefix),
        })
    }

    /// Names of keys and channels.
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// Whether Redis is thought to be there. Where it is not, that is a step of the present piece of work.
    pub fn is_up(&self) -> bool {
        let is_up = !self.breaker.is_open() && self.client.is_connected();
        if !is_up {
            report_step("redis", true, || Error::Open.to_string());
        }
        is_up
    }

    /// Asks Redis for a sign of life.
    ///
    /// # Errors
    /// When there is none within 100 ms.
    pub async fn ping(&self) -> Result<(), Error> {
        let ping = Box::pin(self.client.ping::<()>(None));
        self.bounded(COMMAND_TIMEOUT, ping).await
    }

    /// Reads a key.
    ///
    /// # Errors
    /// When Redis does not answer within 100 ms.
    pub async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, Error> {
        // Boxed, as fred's futures are 16 KB and would make every caller's future as large.
        let get = Box::pin(self.client.get::<Option<Vec<u8>>, _>(key));
        self.bounded(COMMAND_TIMEOUT, get).await
    }

    /// Writes a key that goes after `lifetime`.
    ///
    /// # Errors
    /// When Redis does not answer within 100 ms.
    pub async fn set(&self, key: &str, value: Vec<u8>, lifetime: Duration) -> Result<(), Error> {
        let millis = i64::try_from(lifetime.as_millis()).unwrap_or(i64::MAX);
        let set = self.client.set::<(), _, _>(
            key,
            value.as_slice(),
            Some(Expiration::PX(millis)),
            None,
            false,
        );
        self.bounded(COMMAND_TIMEOUT, Box::pin(set)).await
    }

    /// Writes a key that goes after `lifetime`, unless it is there; tells whether it was not.
    ///
    /// # Errors
    /// When Redis does not answer within 100 ms.
    pub async fn claim(
        &self,
        key: &str,
        value: Vec<u8>,
        lifetime: Duration,
    ) -> Result<bool, Error> {
        let millis = i64::try_from(lifetime.as_millis()).unwrap_or(i64::MAX);
        let set = self.client.set::<Option<String>, _, _>(
            key,
            value.as_slice(),
            Some(Expiration::PX(millis)),
            Some(SetOptions::NX),
            false,
        );
        let set = self.bounded(COMMAND_TIMEOUT, Box::pin(set)).await?;
        Ok(set.is_some())
    }

    /// Removes keys.
    ///
    /// # Errors
    /// When Redis does not answer within 100 ms.
    pub async fn remove(&self, keys: Vec<String>) -> Result<(), Error> {
        let remove = Box::pin(self.client.del::<(), _>(keys));
        self.bounded(COMMAND_TIMEOUT, remove).await
    }

    /// Runs a script, which Redis learns when it does not know it yet. It must answer with a list of numbers.
    ///
    /// # Errors
    /// When Redis does not answer within 50 ms.
    pub async fn run(
        &self,
        script: &Script,
        keys: Vec<String>,
        arguments: Vec<String>,
    ) -> Result<Vec<i64>, Error> {
        self.run_within(SCRIPT_TIMEOUT, script, keys, arguments)
            .await
    }

    /// The same with another limit.
    ///
    /// # Errors
    /// When Redis does not answer within the limit, of 2 s at most.
    pub async fn run_within(
        &self,
        limit: Duration,
        script: &Script,
        keys: Vec<String>,
        arguments: Vec<String>,
    ) -> Result<Vec<i64>, Error> {
        let client = &self.client;
        let run = Box::pin(async move {
            match client
                .evalsha(script.sha1(), keys.clone(), arguments.clone())
                .await
            {
                Err(error) if error.details().starts_with("NOSCRIPT") => {
                    client.eval(script.lua(), keys, arguments).await
                }
                ran => ran,
            }
        });
        self.bounded(limit.min(LONGEST_TIMEOUT), run).await
    }

    /// Tells a channel something, within 50 ms. A message that is lost costs its receivers a second, so an error
    /// is not told.
    pub async fn publish(&self, channel: String, message: String) {
        let publish = Box::pin(self.client.publish::<(), _, _>(channel, message));
        if let Err(error) = self.bounded(PUBLISH_TIMEOUT, publish).await {
            tracing::debug!(error = %error, "could not publish");
        }
    }

    /// Listens to channels, again after each reconnect.
    ///
    /// # Errors
    /// When the client cannot be built.
    pub fn subscribe(&self, channels: &[String]) -> anyhow::Result<Subscription> {
        let client = self.builder.build_subscriber_client()?;
        let messages = client.message_rx();
        let resubscribing = client.manage_subscriptions();
        let _connecting = client.connect();
        let (subscriber, channels) = (client.clone(), channels.to_vec());
        // Before the first connection the command waits in the client; after it, `manage_subscriptions` takes over.
        #[expect(
            clippy::disallowed_methods,
            reason = "the task is owned by the Subscription, which aborts it"
        )]
        let subscribing = tokio::spawn(async move {
            while let Err(error) = subscriber.subscribe(channels.clone()).await {
                tracing::debug!(error = %error, "could not subscribe yet");
                tokio::time::sleep(Duration::from_millis(250)).await;
            }
        });
        Ok(Subscription {
            client,
            messages,
            tasks: [resubscribing, subscribing],
        })
    }

    /// Ends the connection.
    pub async fn quit(&self) {
        let _ = tokio::time::timeout(COMMAND_TIMEOUT, Box::pin(self.client.quit())).await;
    }

    async fn bounded<T>(
        &self,
        limit: Duration,
        command: impl Future<Output = Result<T, fred::error::Error>>,
    ) -> Result<T, Error> {
        let result = if self.breaker.is_open() {
            Err(Error::Open)
        } else {
            let result = match tokio::time::timeout(limit, command).await {
                Ok(result) => result.map_err(Error::from),
                Err(_) => Err(Error::Timeout),
            };
            self.breaker.record(result.is_ok());
            result
        };
        if let Err(error) = &result {
            report_step("redis", true, || error.to_string());
        }
        result
    }
}

/// Messages of some channels.
pub struct Subscription {
    client: SubscriberClient,
    messages: broadcast::Receiver<Message>,
    tasks: [tokio::task::JoinHandle<()>; 2],
}

/// What a [`Subscription`] hears.
pub enum Heard {
    /// Channel and text.
    Message(String, String),
    /// Messages were lost, by a reconnect or because they came too fast: look at everything.
    Gap,
}

impl Subscription {
    /// Waits for the next message. It never ends: while Redis is away there is silence.
    pub async fn next(&mut self) -> Heard {
        match self.messages.recv().await {
            Ok(message) => Heard::Message(
                message.channel.to_string(),
                message.value.as_string().unwrap_or_default(),
            ),
            Err(broadcast::error::RecvError::Lagged(_)) => Heard::Gap,
            Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
        let client = self.client.clone();
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move { client.quit().await });
        }
    }
}
