//! Results of tools, remembered in Redis; and asking once, however many want the same.
//!
//! In a process, whoever comes while a tool is asked waits for that answer. Over all processes, whoever holds a key of Redis
//! asks, and the others look for the result. Without Redis each process asks by itself.

use std::{
    collections::BTreeMap,
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
/// What is added to the longest time of a call, until its process is taken for dead.
const SPARE: Duration = Duration::from_secs(2);
/// Removes a key that is still one's own.
pub(super) const RELEASE: &str = "
    if redis.call('GET', KEYS[1]) == ARGV[1] then return { redis.call('DEL', KEYS[1]) } end
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
                let flight = self.begin(tool.clone(), key.clone(), arguments, lifetime);
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
    ) -> Flight {
        let tools = self.clone();
        let landed = async move {
            let tasks = tools.0.tasks.clone();
            let flying = tasks.spawn(async move {
                let landing = Landing { tools, key };
                let tools = &landing.tools;
                tools.fly(&tool, &landing.key, &arguments, lifetime).await
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
    ) -> Called {
        let redis = &self.0.redis;
        let own = redis.keys().tool_flight(key);
        let token = hex::encode(random::<16>());
        let longest = self.0.timeout + SPARE;
        let until = Instant::now() + longest;
        loop {
            match redis.claim(&own, token.clone().into_bytes(), longest).await {
                Ok(false) if Instant::now() < until => tokio::time::sleep(LOOK).await,
                // It is ours; or nobody knows; or whoever asks does not come to an end.
                Ok(_) | Err(_) => break,
            }
            if let Some(called) = self.remembered(key).await {
                return called;
            }
        }
        // Another process may have come to its end just before.
        let called = match self.remembered(key).await {
            Some(called) => called,
            None => self.ask(tool, arguments).await,
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
