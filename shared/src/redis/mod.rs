//! Redis: speed, never truth. Every call is short, bounded and allowed to fail.

mod breaker;
mod channels;
mod keys;
mod script;
mod stream;
mod tls;

use std::{sync::Arc, time::Duration};

use fred::{
    interfaces::{ClientLike, KeysInterface, LuaInterface},
    prelude::{Builder, Client, Config, ReconnectPolicy},
    types::{
        Expiration, SetOptions,
        config::{TlsConnector, UnresponsiveConfig},
    },
};
use secrecy::ExposeSecret;

use self::breaker::Breaker;
pub use self::{
    channels::{Heard, Subscription},
    keys::Keys,
    script::Script,
    stream::{Entry, Number, READ_MAX},
};
use crate::{config::RedisConfig, telemetry::report_step};

/// Longest wait for one command.
const COMMAND_TIMEOUT: Duration = Duration::from_millis(100);
/// Longest wait that anybody may ask for.
const LONGEST_TIMEOUT: Duration = Duration::from_secs(2);
/// Longest wait for a script: it stands before work that must not wait for it.
const SCRIPT_TIMEOUT: Duration = Duration::from_millis(50);

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
