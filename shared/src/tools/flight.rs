//! Results of tools, remembered in Redis; and asking once, however many want the same.
//!
//! In a process, whoever comes while a tool is asked waits for that answer. Over all processes, whoever holds a key of Redis
//! asks, and the others look for the result; where its process dies, the key goes soon, and one of the others has it next.
//! Without Redis each process asks by itself.

use std::{
    collections::BTreeMap,
    pin::pin,
    sync::{Arc, MutexGuard},
    time::Duration,
};

use futures::{
    FutureExt as _,
    future::{BoxFuture, Shared},
};
use serde_json::{Map, Value};
use tokio::time::Instant;

use super::{Called, Outcome, Tool, Tools, output::OUTPUT_MAX_BYTES, schema::fingerprint};
use crate::keyring::random;

/// A call whose result is waited for.
pub(super) type Flight = Shared<BoxFuture<'static, Called>>;

/// How often it is looked whether another process has the result.
const LOOK: Duration = Duration::from_millis(50);
/// How long who asks is taken for alive without a sign of life, and how often there is one.
const LEASE: Duration = Duration::from_secs(3);
const RENEW: Duration = Duration::from_secs(1);
/// Removes a key that is still one's own.
pub(super) const RELEASE: &str = "
    if redis.call('GET', KEYS[1]) == ARGV[1] then return { redis.call('DEL', KEYS[1]) } end
    return { 0 }";
/// Keeps one for longer.
pub(super) const RENEW_KEY: &str = "
    if redis.call('GET', KEYS[1]) == ARGV[1] then return { redis.call('PEXPIRE', KEYS[1], ARGV[2]) } end
    return { 0 }";

/// Removes a flight, however it ends.
struct Landing {
    tools: Tools,
    key: String,
}

impl Drop for Landing {
    fn drop(&mut self) {
        self.tools.flights().remove(&self.key);
    }
}

impl Tools {
    /// What a tool says to arguments, remembered or asked for once.
    pub(super) async fn shared(
        &self,
        tool: &Arc<Tool>,
        arguments: Map<String, Value>,
        lifetime: Duration,
        until: Instant,
    ) -> Called {
        let keys = self.0.redis.keys();
        let key = keys.tool_result(&tool.name, &fingerprint(&arguments));
        if let Some(called) = self.remembered(&key).await {
            return called;
        }
        let flight = {
            let mut flights = self.flights();
            let known = flights.get(&key).cloned();
            known.unwrap_or_else(|| {
                let flight = self.begin(tool.clone(), key.clone(), arguments, lifetime, until);
                flights.insert(key, flight.clone());
                flight
            })
        };
        flight.await
    }

    /// What whoever waits hears. The first of them has it asked for, by a task that no stop of theirs reaches.
    fn begin(
        &self,
        tool: Arc<Tool>,
        key: String,
        arguments: Map<String, Value>,
        lifetime: Duration,
        until: Instant,
    ) -> Flight {
        let tools = self.clone();
        let landed = async move {
            let tasks = tools.0.tasks.clone();
            let flying = tasks.spawn(async move {
                let landing = Landing { tools, key };
                let tools = &landing.tools;
                tools
                    .fly(&tool, &landing.key, &arguments, lifetime, until)
                    .await
            });
            flying.await.unwrap_or_else(|_| Called::unavailable())
        };
        landed.boxed().shared()
    }

    async fn fly(
        &self,
        tool: &Tool,
        key: &str,
        arguments: &Map<String, Value>,
        lifetime: Duration,
        until: Instant,
    ) -> Called {
        let redis = &self.0.redis;
        let own = redis.keys().tool_flight(key);
        let token = hex::encode(random::<16>());
        // Until it is ours, or nobody knows.
        while let Ok(false) = redis.claim(&own, token.clone().into_bytes(), LEASE).await {
            if Instant::now() >= until {
                return Called::unavailable();
            }
            tokio::time::sleep(LOOK).await;
            if let Some(called) = self.remembered(key).await {
                return called;
            }
        }
        // Another process may have come to its end just before.
        let called = if let Some(called) = self.remembered(key).await {
            called
        } else {
            let mut asking = pin!(self.ask(tool, arguments, until));
            loop {
                match tokio::time::timeout(RENEW, &mut asking).await {
                    Ok(called) => break called,
                    Err(_) => self.renew(&own, &token).await,
                }
            }
        };
        if called.outcome == Outcome::Completed && !called.is_cached {
            let text = called.text.clone().into_bytes();
            if let Err(error) = redis.set(key, text, lifetime).await {
                tracing::debug!(error = %error, "what a tool said is not remembered");
            }
        }
        let released = redis.run(&self.0.release, vec![own], vec![token]).await;
        if let Err(error) = released {
            tracing::debug!(error = %error, "who asks a tool is not forgotten yet");
        }
        called
    }

    /// Says that whoever asks is alive.
    async fn renew(&self, own: &str, token: &str) {
        let redis = &self.0.redis;
        let arguments = vec![token.to_owned(), LEASE.as_millis().to_string()];
        let renewed = redis.run(&self.0.renew, vec![own.to_owned()], arguments);
        if let Err(error) = renewed.await {
            tracing::debug!(error = %error, "others may ask a tool for the same");
        }
    }

    /// What is remembered in Redis; nothing where that cannot be what we left there.
    async fn remembered(&self, key: &str) -> Option<Called> {
        let known = self.0.redis.get(key).await.ok()??;
        let text = String::from_utf8(known).ok()?;
        (text.len() <= OUTPUT_MAX_BYTES).then(|| Called::remembered(text))
    }

    fn flights(&self) -> MutexGuard<'_, BTreeMap<String, Flight>> {
        self.0
            .flights
            .lock()
            .expect("nothing panics while it holds this lock")
    }
}
