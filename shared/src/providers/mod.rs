//! Whom to ask, and with which key: pools of keys, daily limits, cooldowns, and circuit breakers.
//!
//! Keys of one account share its quota, so they are a group: a group that asked too much is left alone, a key that is
//! refused is retired. What is counted and what is left alone is in Redis, the same for all instances, and changed by
//! scripts; while Redis is away each process goes on with what it knows itself. Retired keys are in Postgres.

mod budget;
mod local;
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
use tokio::{
    sync::{Mutex, OnceCell},
    time::MissedTickBehavior,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use self::view::{GroupView, KeyView, ModelView, ProviderView};
use self::{
    budget::Budget,
    local::{Place, Slot, Wanted},
    pool::{Pool, Shared},
    probe::Probe,
};
use crate::{
    clients::chat::Limit,
    clock::Clock,
    config::{AiConfig, BreakerConfig, ProviderConfig, ProviderKey},
    database,
    keyring::Keyring,
    models::provider_key,
    redis::{Redis, Script},
};

/// How long a try lasts at most that looks whether a provider is back, before another one may.
const PROBE: Duration = Duration::from_secs(75);
/// Wait after a refusal for too many requests that does not say how long.
const COOL: Duration = Duration::from_secs(5);
/// Shortest time for which an account is left alone that asked too much, also where the provider says none.
const SHORTEST: Duration = Duration::from_secs(1);
/// How often it is looked whether others have retired keys or set pools.
const LOOK: Duration = Duration::from_secs(5);
/// Longest wait for the first look, before anybody is asked.
const FIRST_LOOK: Duration = Duration::from_secs(5);

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

    /// Starts to follow what other instances retire, revive and set, until `stop`.
    ///
    /// # Errors
    /// When Redis cannot be subscribed to.
    pub fn follow(&self, tasks: &TaskTracker, stop: CancellationToken) -> anyhow::Result<()> {
        let redis = &self.0.redis;
        let mut news = redis.subscribe(&[redis.keys().providers_changed()])?;
        let providers = self.clone();
        tasks.spawn(stop.run_until_cancelled_owned(async move {
            let mut tick = tokio::time::interval(LOOK);
            tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                tokio::select! {
                    _ = tick.tick() => {}
                    _ = news.next() => providers.look_all_warmed().await,
                }
                if let Err(error) = providers.refresh().await {
                    tracing::debug!(error = %error, "what is known of keys may be old");
                }
            }
        }));
        Ok(())
    }

    /// Waits until it was read once which keys are retired, and which pools are set; while the database is away, for 5 s.
    /// Nobody is asked before that.
    pub async fn ready(&self) {
        let look = || async {
            let looked = tokio::time::timeout(FIRST_LOOK, self.refresh()).await;
            let problem = match looked {
                Ok(Ok(())) => return,
                Ok(Err(error)) => error.to_string(),
                Err(_) => "the database does not answer".to_owned(),
            };
            tracing::warn!(
                error = problem,
                "it is not known yet which keys are retired and set"
            );
        };
        self.0.looked.get_or_init(look).await;
    }

    /// Reads which keys are retired, and which pools are set.
    ///
    /// # Errors
    /// As the database fails.
    pub async fn refresh(&self) -> database::Result<()> {
        let _looking = self.0.looking.lock().await;
        let db = &self.0.db;
        let retired = provider_key::list_retired(db).await?;
        let set = provider_key::list_pools(db).await?;
        let mut configured: BTreeMap<Arc<str>, Vec<ProviderKey>> = self
            .0
            .ai
            .providers
            .iter()
            .map(|provider| (provider.name.clone(), provider.keys.clone()))
            .collect();
        for pool in set {
            let keys = pool
                .open_keys(&self.0.keyring)
                .map_err(|error| error.to_string());
            match keys.and_then(|text| ProviderKey::parse_all(&text).map_err(str::to_owned)) {
                Ok(keys) => _ = configured.insert(pool.provider.as_str().into(), keys),
                Err(error) => {
                    tracing::error!(provider = pool.provider, error, "its keys cannot be read");
                }
            }
        }
        let mut pools = self.pools();
        // One that had keys only by a pool that is gone has none any more.
        for name in pools.keys() {
            configured.entry(name.clone()).or_default();
        }
        for (name, keys) in configured {
            let known = pools.get(&name).cloned();
            let is_same = known.as_ref().is_some_and(|pool| {
                let known = &pool.config.keys;
                known.len() == keys.len()
                    && known
                        .iter()
                        .zip(&keys)
                        .all(|(one, other)| one.is_same_entry(other))
            });
            if is_same {
                continue;
            }
            let new = match known {
                Some(pool) => pool.with_keys(keys),
                None => match self.0.ai.with_keys(&name, keys) {
                    Some(config) => {
                        let zone = zone(&self.0.ai, &config);
                        Pool::new(config, zone)
                    }
                    None => continue,
                },
            };
            tracing::info!(provider = %name, keys = new.config.keys.len(), "the pool of keys is replaced");
            pools.insert(name, Arc::new(new));
        }
        for pool in pools.values() {
            let name = &pool.config.name;
            let of = retired.iter().filter(|row| *row.provider == **name);
            let now: BTreeMap<String, String> = of
                .map(|row| (row.key_id.clone(), row.reason.clone()))
                .collect();
            pool.set_retired(now);
        }
        Ok(())
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

    fn now(&self) -> i64 {
        self.0.clock.now().timestamp_millis()
    }

    /// For scripts: nothing, where they should look at the clock of Redis.
    fn script_now(&self) -> String {
        let frozen = self.0.clock.frozen_now();
        frozen.map_or(String::new(), |now| now.timestamp_millis().to_string())
    }

    /// Picks a key of a provider for a model, as the provider calls it: of the healthy groups one after the other, and of
    /// their keys one after the other. Those that were tried already are left out.
    ///
    /// # Errors
    /// [`NotNow`].
    pub async fn pick(
        &self,
        provider: &str,
        model: &str,
        tried: &[String],
    ) -> Result<Picked, NotNow> {
        self.ready().await;
        let pool = self.pool(provider).ok_or(NotNow::NoKey)?;
        let wait = |millis: i64| Duration::from_millis(millis.max(1).unsigned_abs());
        let open = || pool.local().open_ms(self.now(), model);
        if open().is_some() {
            // Decided here, unless somebody had it forgotten.
            self.look_warmed(&pool).await;
            if let Some(millis) = open() {
                return Err(NotNow::Open(wait(millis)));
            }
        }
        let mut again = pool.groups.len();
        loop {
            let now = self.now();
            // Redis may take it for one, also where we do not hear of that.
            let probe = Probe::new(self, &pool, model);
            let lease = (millis(PROBE), probe.mark());
            let arguments = self.pick_arguments(&pool.wanted(model, tried, lease, now));
            let shared = self.pick_shared(&pool, arguments).await;
            let is_shared = shared.is_some();
            let place = if let Some((place, warmed)) = shared {
                pool.warm(warmed);
                if !matches!(place, Place::Key { is_probe: true, .. }) {
                    probe.end();
                }
                place
            } else {
                let wanted = pool.wanted(model, tried, lease, now);
                pool.local().pick(now, &wanted)
            };
            let (index, is_probe, used, times) = match place {
                Place::Key {
                    index,
                    is_probe,
                    used,
                    times,
                } => (index, is_probe, used, times),
                Place::Wait(millis) => {
                    if tried.is_empty() {
                        tracing::warn!(provider, waitMs = millis, "all keys are exhausted");
                    }
                    return Err(NotNow::Exhausted(wait(millis)));
                }
                Place::Open(millis) => return Err(NotNow::Open(wait(millis))),
                Place::Nothing => return Err(NotNow::NoKey),
            };
            let (key, group) = pool.key(index).ok_or(NotNow::NoKey)?;
            let picked = Picked {
                model: model.to_owned(),
                secret: key.secret.clone(),
                key_id: key.id.clone(),
                group: group.name.clone(),
                probe: is_probe.then(|| Arc::new(probe)),
                times,
                is_shared,
                pool: pool.clone(),
            };
            if is_shared {
                let until = is_probe.then_some((now + lease.0, lease.1));
                pool.local().adopt(now, model, times, until);
                // What Redis was not told while it was away.
                let (cool, warmed) = {
                    let local = pool.local();
                    (local.cool_ms(now, &picked.group), local.warmed())
                };
                if let Some(cool) = cool.filter(|_| again > 0) {
                    again -= 1;
                    self.unused(&picked).await;
                    let (cool, warmed) = (cool.to_string(), warmed.to_string());
                    self.note(&pool, "cool", &[&picked.group, &cool, &warmed])
                        .await;
                    continue;
                }
                let day_ends = pool.day_ends(now);
                pool.local().count(now, &picked.key_id, used, day_ends);
            }
            if used == 1 && pool.config.daily_requests_per_key.is_some() {
                tracing::info!(provider, key = picked.key_id, "the day of a key begins");
            }
            return Ok(picked);
        }
    }

    fn pick_arguments(&self, wanted: &Wanted<'_>) -> Vec<String> {
        let mut arguments = vec![
            self.script_now(),
            wanted.model.to_owned(),
            wanted.probe_ms.to_string(),
            wanted.mark.to_string(),
            wanted.day_ends.to_string(),
            wanted
                .limit
                .map_or(String::new(), |limit| limit.to_string()),
            local::TOLD.to_string(),
            wanted.groups.len().to_string(),
        ];
        for (name, keys) in &wanted.groups {
            arguments.push((*name).to_owned());
            arguments.push(keys.len().to_string());
            arguments.extend(keys.iter().map(|slot| match slot {
                Slot::Free(id) => (*id).to_owned(),
                Slot::Tried(id) => format!("-{id}"),
                Slot::Out => String::new(),
            }));
        }
        arguments
    }

    /// Picks for all instances, and tells when keys were revived last; none where Redis is away.
    async fn pick_shared(&self, pool: &Pool, arguments: Vec<String>) -> Option<(Place, i64)> {
        let answer = self.run(&self.0.pick, pool, arguments).await?;
        let (warmed, answer) = answer.split_last()?;
        let place = match *answer {
            [-1, wait] => Place::Wait(wait),
            [-2, wait] => Place::Open(wait),
            [-3, _] => Place::Nothing,
            [index, is_probe, used, times] => Place::Key {
                index: usize::try_from(index).ok()?,
                is_probe: is_probe == 1,
                used: used.unsigned_abs(),
                times: u32::try_from(times).ok()?,
            },
            _ => return None,
        };
        Some((place, *warmed))
    }

    /// Looks whether somebody has revived the keys of a provider; then it is done here, too.
    async fn look_warmed(&self, pool: &Pool) {
        if let Some(warmed) = self.note(pool, "warmed", &[]).await {
            pool.warm(warmed);
        }
    }

    async fn look_all_warmed(&self) {
        for pool in self.all_pools() {
            self.look_warmed(&pool).await;
        }
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

    /// The provider began to answer: it is there.
    pub async fn answered(&self, picked: &Picked) {
        if !picked.was_probe() {
            return;
        }
        let (providers, picked) = (self.clone(), picked.clone());
        self.surely(async move {
            let (pool, model) = (&picked.pool, &picked.model);
            pool.local().close(model);
            pool.failures().remove(model);
            providers.note(pool, "close", &[model]).await;
            let provider = &pool.config.name;
            tracing::info!(%provider, model, "the provider is back");
        })
        .await;
    }

    /// The provider answered to the end.
    pub async fn completed(&self, picked: &Picked) {
        picked.pool.failures().remove(&picked.model);
        self.answered(picked).await;
    }

    /// The provider did not answer, or not to the end.
    pub async fn failed(&self, picked: &Picked) {
        let (pool, model) = (&picked.pool, &picked.model);
        let is_probe = picked.was_probe();
        {
            let mut failures = pool.failures();
            let number = failures.entry(model.clone()).or_default();
            *number += 1;
            if !is_probe && *number < self.0.breaker.failures {
                return;
            }
            failures.remove(model);
        }
        let (first, longest) = (millis(self.0.breaker.open), millis(self.0.breaker.longest));
        let times = picked.times;
        let local = pool.local().open(self.now(), model, first, longest, times);
        let (first, longest, times) = (first.to_string(), longest.to_string(), times.to_string());
        let (providers, picked) = (self.clone(), picked.clone());
        self.surely(async move {
            let (pool, model) = (&picked.pool, &picked.model);
            let shared = providers
                .note(pool, "open", &[model, &first, &longest, &times])
                .await;
            let provider = &pool.config.name;
            let open_ms = shared.unwrap_or(local);
            if open_ms > 0 {
                tracing::warn!(%provider, model, openMs = open_ms, "the provider is left alone");
            }
        })
        .await;
    }

    /// Too much was asked with the keys of this account: it is left alone at least for as long as the provider says.
    pub async fn limited(&self, picked: &Picked, limit: Limit) {
        let (pool, now) = (&picked.pool, self.now());
        let provider = &pool.config.name;
        let wait_ms = limit.wait.map(|wait| millis(wait.max(SHORTEST)));
        tracing::warn!(%provider, group = picked.group, daily = limit.is_daily, waitMs = wait_ms, "an account asked too much");
        let (what, names, wait) = if limit.is_daily {
            let wait = wait_ms.unwrap_or_else(|| pool.day_ends(now) - now);
            // The quota is the account's.
            let names = pool.ids_of(&picked.group);
            for id in &names {
                pool.local().spend(now, id, wait);
            }
            ("spend", names, wait)
        } else {
            let wait = wait_ms.unwrap_or(millis(COOL));
            pool.local().cool(now, &picked.group, wait);
            ("cool", vec![picked.group.clone()], wait)
        };
        let (providers, picked) = (self.clone(), picked.clone());
        self.surely(async move {
            let wait = wait.to_string();
            for name in &names {
                providers.note(&picked.pool, what, &[name, &wait]).await;
            }
            providers.end_probe(&picked).await;
        })
        .await;
    }

    /// The key is not taken: nobody tries it again until the configuration changes, or somebody revives it.
    pub async fn retired(&self, picked: &Picked, reason: String) {
        let (pool, now) = (&picked.pool, self.0.clock.now());
        let provider = &pool.config.name;
        tracing::error!(%provider, key = picked.key_id, reason, "a key is retired");
        pool.retire(&picked.key_id, &reason);
        let (providers, picked) = (self.clone(), picked.clone());
        self.surely(async move {
            let (db, provider) = (&providers.0.db, &picked.pool.config.name);
            let looking = providers.0.looking.lock().await;
            // What was read meanwhile did not know of it.
            if let Some(pool) = providers.pool(provider) {
                pool.retire(&picked.key_id, &reason);
            }
            let stored = provider_key::retire(db, provider, &picked.key_id, reason, now).await;
            drop(looking);
            match stored {
                Ok(()) => providers.tell().await,
                Err(error) => tracing::warn!(error = %error, "a retired key is not stored"),
            }
            providers.end_probe(&picked).await;
        })
        .await;
    }

    /// The provider was not asked after all.
    pub async fn unused(&self, picked: &Picked) {
        picked.pool.local().give_back(&picked.key_id);
        let (providers, picked) = (self.clone(), picked.clone());
        self.surely(async move {
            if picked.is_shared {
                providers
                    .note(&picked.pool, "return", &[&picked.key_id])
                    .await;
            }
            providers.end_probe(&picked).await;
        })
        .await;
    }

    /// Nothing is known of how the provider is.
    pub async fn end_probe(&self, picked: &Picked) {
        if let Some(probe) = picked.probe.as_ref().filter(|probe| probe.end()) {
            let (pool, model) = (picked.pool.clone(), picked.model.clone());
            self.surely(self.clone().unprobe(pool, model, probe.mark()))
                .await;
        }
    }

    async fn unprobe(self, pool: Shared, model: String, mark: u32) {
        pool.local().end_probe(&model, mark);
        let mark = mark.to_string();
        self.note(&pool, "unprobe", &[&model, &mark]).await;
    }

    /// Tells all instances to look what has changed.
    async fn tell(&self) {
        let channel = self.0.redis.keys().providers_changed();
        self.0.redis.publish(channel, "changed".to_owned()).await;
    }

    /// Lets keys of a provider be used again: one, or all, and then also groups and breakers.
    ///
    /// # Errors
    /// As the database fails.
    pub async fn revive(&self, provider: &str, key_id: Option<&str>) -> database::Result<()> {
        provider_key::revive(&self.0.db, provider, key_id).await?;
        if let Some(pool) = self.pool(provider).filter(|_| key_id.is_none()) {
            // Others do the same once they hear of it, or see it where they pick a key; without Redis they do not.
            let warmed = self.note(&pool, "warm", &[]).await;
            let next = pool.local().warmed() + 1;
            pool.warm(warmed.unwrap_or(next));
        }
        self.refresh().await?;
        self.tell().await;
        Ok(())
    }

    /// Gives a provider other keys, as they are written in a variable; none: those of the configuration.
    ///
    /// # Errors
    /// As the database fails.
    pub async fn set_keys(&self, provider: &str, keys: Option<&str>) -> database::Result<()> {
        match keys {
            Some(keys) => {
                let now = self.0.clock.now();
                provider_key::set_pool(&self.0.db, &self.0.keyring, provider, keys, now).await?;
            }
            None => provider_key::clear_pool(&self.0.db, provider).await?,
        }
        self.refresh().await?;
        self.tell().await;
        Ok(())
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
