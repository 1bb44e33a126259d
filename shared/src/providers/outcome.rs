//! What came of a call.

use std::time::Duration;

use super::{Picked, Providers, millis, pool::Shared};
use crate::clients::chat::Limit;

/// Wait after a refusal for too many requests that does not say how long.
const COOL: Duration = Duration::from_secs(5);
/// Shortest time for which an account is left alone that asked too much, also where the provider says none.
const SHORTEST: Duration = Duration::from_secs(1);

impl Providers {
    /// The provider began to answer: it is there.
    pub async fn answered(&self, picked: &Picked) {
        if !picked.was_probe() {
            return;
        }
        let (providers, picked) = (self.clone(), picked.clone());
        self.surely(async move {
            let (pool, model) = (&picked.pool, &picked.model);
            pool.local().breakers.close(model);
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
        let now = self.now();
        let local = pool
            .local()
            .breakers
            .open(now, model, first, longest, times);
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

    pub(super) async fn unprobe(self, pool: Shared, model: String, mark: u32) {
        pool.local().breakers.end_probe(&model, mark);
        let mark = mark.to_string();
        self.note(&pool, "unprobe", &[&model, &mark]).await;
    }
}
