//! Whom to ask, and with which key: pools of keys, daily limits, cooldowns, and circuit breakers.
//!
//! Keys of one account share its quota, so they are a group: a group that asked too much is left alone, a key that is
//! refused is retired. What is counted and what is left alone is in Redis, the same for all instances, and changed by
//! scripts; while Redis is away each process goes on with what it knows itself. Retired keys are in Postgres.

pub(crate) mod breakers;
mod budget;
mod keys;
mod local;
mod outcome;
mod picking;
mod pool;
mod probe;
mod view;

use std::{
    collections::BTreeMap,
    sync::{Arc, RwLock},
    time::Duration,
};

use jiff::tz::TimeZone;
use sea_orm::DatabaseConnection;
use secrecy::SecretString;
use tokio::sync::{Mutex, OnceCell};
use tokio_util::task::TaskTracker;

pub use self::view::{GroupView, KeyView, ModelView, ProviderView};
use self::{
    budget::Budget,
    pool::{Pool, Shared},
    probe::Probe,
};
use crate::{
    catalogue::Catalogue,
    clock::Clock,
    config::{AiConfig, BreakerConfig, ProviderConfig},
    keyring::Keyring,
    redis::{Redis, Script},
};

/// All providers; cheap to clone.
#[derive(Clone)]
pub struct Providers(Arc<Inner>);

struct Inner {
    ai: AiConfig,
    breaker: BreakerConfig,
    pools: RwLock<BTreeMap<Arc<str>, Shared>>,
    budget: Budget,
    db: DatabaseConnection,
    redis: Redis,
    clock: Clock,
    keyring: Keyring,
    pick: Script,
    note: Script,
    /// Those that note what came of a call: each takes little more than a script.
    tasks: TaskTracker,
    /// Held from reading what is stored until it is known here: it must not replace what is newer.
    looking: Mutex<()>,
    /// Whether it was read, or waited for long enough.
    looked: OnceCell<()>,
}

/// A key that may be used for one call. What came of it must be told.
#[derive(Clone)]
#[must_use = "what came of it must be told"]
pub struct Picked {
    pool: Shared,
    model: String,
    secret: SecretString,
    key_id: String,
    group: String,
    /// Where it is used to see if the provider is back.
    probe: Option<Arc<Probe>>,
    /// How often the breaker had opened.
    times: u32,
    /// Whether Redis has counted it.
    is_shared: bool,
}

/// Why nobody can be asked now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotNow {
    /// All keys are used up or left alone for so long.
    Exhausted(Duration),
    /// The provider failed too often, and is left alone for so long.
    Open(Duration),
    /// No key is taken any more, or all were tried.
    NoKey,
}

impl Picked {
    /// The provider.
    pub fn provider(&self) -> &ProviderConfig {
        &self.pool.config
    }

    /// The key.
    pub fn secret(&self) -> &SecretString {
        &self.secret
    }

    /// Whether it is for a model of a provider.
    pub fn is_of(&self, provider: &str, model: &str) -> bool {
        *self.pool.config.name == *provider && self.model == model
    }

    /// Its id, which tells nothing of it.
    pub fn key_id(&self) -> &str {
        &self.key_id
    }

    /// The account that it belongs to.
    pub fn group(&self) -> &str {
        &self.group
    }

    /// Whether it was used to see if the provider is back, and that was not known yet; now it is.
    fn was_probe(&self) -> bool {
        self.probe.as_ref().is_some_and(|probe| probe.end())
    }
}

impl Providers {
    /// Makes the pools. Neither Postgres nor Redis needs to be there yet.
    pub fn new(
        ai: AiConfig,
        db: DatabaseConnection,
        redis: Redis,
        clock: Clock,
        keyring: Keyring,
    ) -> Self {
        let pools = ai.providers.iter().map(|provider| {
            let pool = Pool::new(provider.clone(), zone(&ai, provider));
            (provider.name.clone(), Arc::new(pool))
        });
        Self(Arc::new(Inner {
            breaker: ai.breaker,
            pools: RwLock::new(pools.collect()),
            ai,
            budget: Budget::new(),
            db,
            redis,
            clock,
            keyring,
            pick: Script::new(include_str!("pick.lua")),
            note: Script::new(include_str!("note.lua")),
            tasks: TaskTracker::new(),
            looking: Mutex::new(()),
            looked: OnceCell::new(),
        }))
    }

    /// All models, and what they cost.
    pub fn catalogue(&self) -> &Catalogue {
        &self.0.ai.catalogue
    }

    /// Whether a provider has keys, whatever their state.
    pub fn has(&self, provider: &str) -> bool {
        self.pool(provider)
            .is_some_and(|pool| !pool.config.keys.is_empty())
    }

    /// Whether a provider has a key that it takes.
    pub fn can_ask(&self, provider: &str) -> bool {
        self.pool(provider).is_some_and(|pool| {
            let retired = pool.retired();
            let mut keys = pool.groups.iter().flat_map(|group| &group.keys);
            keys.any(|key| !retired.contains_key(&key.id))
        })
    }

    /// Whether a provider has this key, or any.
    pub fn has_key(&self, provider: &str, key_id: Option<&str>) -> bool {
        self.pool(provider).is_some_and(|pool| {
            let mut keys = pool.groups.iter().flat_map(|group| &group.keys);
            keys.any(|key| key_id.is_none_or(|id| key.id == id))
        })
    }

    /// Each provider with a key that it takes, to see whether it is there.
    pub fn probes(&self) -> Vec<(ProviderConfig, SecretString)> {
        let with_key = self.all_pools().into_iter().filter_map(|pool| {
            let retired = pool.retired();
            let mut keys = pool.groups.iter().flat_map(|group| &group.keys);
            let key = keys.find(|key| !retired.contains_key(&key.id))?;
            Some((pool.config.clone(), key.secret.clone()))
        });
        with_key.collect()
    }

    /// Whether no provider has keys.
    pub fn is_empty(&self) -> bool {
        let pools = self
            .0
            .pools
            .read()
            .expect("nothing panics while it holds this lock");
        pools.values().all(|pool| pool.config.keys.is_empty())
    }

    /// Counts a request, of whose number others may be tried again.
    pub fn count_request(&self) {
        self.0.budget.request();
    }

    /// Whether another one may be asked, after one has failed.
    pub fn may_retry(&self) -> bool {
        self.0.budget.retry()
    }

    fn pools(&self) -> std::sync::RwLockWriteGuard<'_, BTreeMap<Arc<str>, Shared>> {
        self.0
            .pools
            .write()
            .expect("nothing panics while it holds this lock")
    }

    fn pool(&self, provider: &str) -> Option<Shared> {
        let pools = self
            .0
            .pools
            .read()
            .expect("nothing panics while it holds this lock");
        pools.get(provider).cloned()
    }

    fn all_pools(&self) -> Vec<Shared> {
        let pools = self
            .0
            .pools
            .read()
            .expect("nothing panics while it holds this lock");
        pools.values().cloned().collect()
    }

    fn now(&self) -> i64 {
        self.0.clock.now().timestamp_millis()
    }

    /// For scripts: nothing, where they should look at the clock of Redis.
    fn script_now(&self) -> String {
        let frozen = self.0.clock.frozen_now();
        frozen.map_or(String::new(), |now| now.timestamp_millis().to_string())
    }

    async fn run(&self, script: &Script, pool: &Pool, arguments: Vec<String>) -> Option<Vec<i64>> {
        let (redis, limit) = (&self.0.redis, self.0.ai.script_limit);
        let key = redis.keys().provider(&pool.config.name);
        let ran = redis.run_within(limit, script, vec![key], arguments);
        ran.await
            .inspect_err(|error| tracing::debug!(error = %error, "keys are picked without redis"))
            .ok()
    }

    /// Notes something in Redis; tells what the script answers.
    async fn note(&self, pool: &Pool, what: &str, arguments: &[&str]) -> Option<i64> {
        let mut all = vec![self.script_now(), what.to_owned()];
        all.extend(arguments.iter().map(|argument| (*argument).to_owned()));
        let answer = self.run(&self.0.note, pool, all).await?;
        answer.first().copied()
    }

    /// Does something to its end, also where whoever waits for it is stopped meanwhile.
    async fn surely(&self, work: impl Future<Output = ()> + Send + 'static) {
        _ = self.0.tasks.spawn(work).await;
    }
}

/// Where a provider's days end.
fn zone(ai: &AiConfig, provider: &ProviderConfig) -> TimeZone {
    let of_provider = ai.catalogue.provider(&provider.name);
    let name = ai
        .reset_zone
        .as_deref()
        .or(of_provider.and_then(|provider| provider.reset_zone.as_deref()));
    name.and_then(|name| TimeZone::get(name).ok())
        .unwrap_or(TimeZone::UTC)
}

fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}
