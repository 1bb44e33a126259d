//! Which key is used next.

use std::{sync::Arc, time::Duration};

use super::{
    NotNow, Picked, Providers, breakers,
    local::{Place, Slot, Wanted},
    millis,
    pool::Pool,
    probe::Probe,
};

/// How long a try lasts at most that looks whether a provider is back, before another one may.
const PROBE: Duration = Duration::from_secs(75);

impl Providers {
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
        let open = || pool.local().breakers.open_ms(self.now(), model);
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
                pool.local().breakers.adopt(now, model, times, until);
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
            breakers::TOLD.to_string(),
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
}
