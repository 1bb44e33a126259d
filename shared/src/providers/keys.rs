//! Which keys there are, and which are not taken: what is stored, and what others change.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tokio::time::MissedTickBehavior;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{Picked, Providers, pool::Pool, zone};
use crate::{config::ProviderKey, database, models::provider_key};

/// How often it is looked whether others have retired keys or set pools.
const LOOK: Duration = Duration::from_secs(5);
/// Longest wait for the first look, before anybody is asked.
const FIRST_LOOK: Duration = Duration::from_secs(5);

impl Providers {
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

    /// Looks whether somebody has revived the keys of a provider; then it is done here, too.
    pub(super) async fn look_warmed(&self, pool: &Pool) {
        if let Some(warmed) = self.note(pool, "warmed", &[]).await {
            pool.warm(warmed);
        }
    }

    async fn look_all_warmed(&self) {
        for pool in self.all_pools() {
            self.look_warmed(&pool).await;
        }
    }

    /// Tells all instances to look what has changed.
    async fn tell(&self) {
        let channel = self.0.redis.keys().providers_changed();
        self.0.redis.publish(channel, "changed".to_owned()).await;
    }
}
