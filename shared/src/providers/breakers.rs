//! Breakers, of a provider's models or of tools, as they are known in this process. Times are in milliseconds since 1970.

use std::collections::BTreeMap;

/// Longest wait that is told while somebody else tries, in milliseconds: mostly the first word comes within a second, and
/// whoever is told to wait does so.
pub(crate) const TOLD: i64 = 2_000;

/// By model; one that is closed is not there.
#[derive(Debug, Default, Clone)]
pub(crate) struct Breakers(BTreeMap<String, Breaker>);

#[derive(Debug, Default, Clone, Copy)]
struct Breaker {
    /// Until when nobody is let through.
    open: i64,
    /// How often it opened in a row.
    times: u32,
    /// Until when somebody else tries, and the mark of that.
    probe: Option<(i64, u32)>,
}

impl Breakers {
    /// For how long nobody is let through, or so it is told while somebody else tries.
    pub(crate) fn wait(&self, now: i64, model: &str) -> Option<i64> {
        let breaker = self.0.get(model)?;
        if now < breaker.open {
            return Some(breaker.open - now);
        }
        let (until, _) = breaker.probe.filter(|(until, _)| now < *until)?;
        Some((until - now).min(TOLD))
    }

    /// Somebody is let through: where the breaker is not closed, that is a probe until then, of this mark; tells how often the
    /// breaker has opened.
    pub(crate) fn begin_probe(&mut self, model: &str, lease: (i64, u32)) -> Option<u32> {
        let breaker = self.0.get_mut(model)?;
        breaker.probe = Some(lease);
        Some(breaker.times)
    }

    /// For how long a breaker that this process opened lets nobody through.
    pub(crate) fn open_ms(&self, now: i64, model: &str) -> Option<i64> {
        let breaker = self.0.get(model)?;
        (now < breaker.open).then(|| breaker.open - now)
    }

    /// What Redis knows of a breaker that let somebody through, who may be a probe: it may have been closed elsewhere, or
    /// opened.
    pub(crate) fn adopt(&mut self, now: i64, model: &str, times: u32, probe: Option<(i64, u32)>) {
        if probe.is_some() {
            let breaker = self.0.entry(model.to_owned()).or_default();
            breaker.times = times;
            breaker.probe = probe;
        } else if self.open_ms(now, model).is_none() {
            self.0.remove(model);
        }
    }

    /// Lets nobody through for some time, which doubles with each time in a row. What was begun before it opened the last
    /// time says nothing any more.
    pub(crate) fn open(
        &mut self,
        now: i64,
        model: &str,
        first: i64,
        longest: i64,
        times: u32,
    ) -> i64 {
        let known = self.0.get(model).copied().unwrap_or_default();
        if known.times != times {
            return 0;
        }
        if now < known.open {
            return known.open - now;
        }
        let wait = first
            .saturating_mul(1_i64.checked_shl(times.min(40)).unwrap_or(i64::MAX))
            .clamp(0, longest);
        let breaker = Breaker {
            open: now + wait,
            times: times + 1,
            probe: None,
        };
        self.0.insert(model.to_owned(), breaker);
        wait
    }

    /// Lets everybody through.
    pub(crate) fn close(&mut self, model: &str) {
        self.0.remove(model);
    }

    /// A try came to nothing that tells whether the provider is back.
    pub(crate) fn end_probe(&mut self, model: &str, mark: u32) {
        if let Some(breaker) = self.0.get_mut(model)
            && breaker.probe.is_some_and(|(_, known)| known == mark)
        {
            breaker.probe = None;
        }
    }

    /// All of it, under the names that it has in Redis.
    pub(crate) fn add_fields(&self, fields: &mut BTreeMap<String, i64>) {
        for (model, breaker) in &self.0 {
            fields.insert(format!("b:{model}"), breaker.open);
            fields.insert(format!("o:{model}"), breaker.times.into());
        }
    }
}
