//! What is known of a provider in this process: it decides while Redis is away, and is the rule that the scripts follow.

use std::collections::BTreeMap;

/// Stands for no limit, and for a day of which nothing is left.
const ALL: u64 = 1_000_000_000_000_000;

/// Times are in milliseconds since 1970.
#[derive(Debug, Default, Clone)]
pub(super) struct Local {
    turn: usize,
    /// Of a key: how often it was used, and when its day ends.
    days: BTreeMap<String, (u64, i64)>,
    /// Of a group: until when it is left alone.
    cool: BTreeMap<String, i64>,
    /// Of a model.
    breakers: BTreeMap<String, Breaker>,
}

#[derive(Debug, Default, Clone, Copy)]
struct Breaker {
    /// Until when nobody is let through.
    open: i64,
    /// How often it opened in a row.
    times: u32,
    /// Until when somebody else tries.
    probe: Option<i64>,
}

/// What is asked for.
#[derive(Debug, Clone)]
pub(super) struct Wanted<'a> {
    pub(super) model: &'a str,
    /// How long a probe may take, in milliseconds.
    pub(super) probe_ms: i64,
    /// When a day ends that begins now.
    pub(super) day_ends: i64,
    /// Most uses of a key in a day.
    pub(super) limit: Option<u64>,
    /// Names of groups, and ids of their keys; none for those that must not be used.
    pub(super) groups: Vec<(&'a str, Vec<Option<&'a str>>)>,
}

/// What is had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// The key at this place of all keys.
    Key {
        /// Counted over all groups.
        index: usize,
        /// Whether it is used to see if the provider is back.
        is_probe: bool,
        /// How often it is used today, this time too.
        used: u64,
    },
    /// All keys are used up or cool for so long, in milliseconds.
    Wait(i64),
    /// The breaker is open for so long, in milliseconds.
    Open(i64),
    /// There is no key that may be used.
    Nothing,
}

impl Local {
    pub(super) fn pick(&mut self, now: i64, wanted: &Wanted<'_>) -> Place {
        let mut is_probe = false;
        if let Some(breaker) = self.breakers.get(wanted.model) {
            let until = breaker.probe.unwrap_or(0).max(breaker.open);
            if now < until {
                return Place::Open(until - now);
            }
            is_probe = true;
        }
        let limit = wanted.limit.unwrap_or(ALL);
        let groups = wanted.groups.len();
        let turn = self.turn;
        self.turn = self.turn.wrapping_add(1);
        let mut soonest: Option<i64> = None;
        let mut wait = |at: i64| soonest = Some(soonest.map_or(at, |known| known.min(at)));
        for step in 0..groups {
            let number = (turn + step) % groups;
            let (name, keys) = &wanted.groups[number];
            let before: usize = wanted.groups[..number]
                .iter()
                .map(|(_, keys)| keys.len())
                .sum();
            if let Some(&cool) = self.cool.get(*name).filter(|cool| now < **cool) {
                if keys.iter().any(Option::is_some) {
                    wait(cool);
                }
                continue;
            }
            for step in 0..keys.len() {
                let index = (turn / groups + step) % keys.len();
                let Some(id) = keys[index] else { continue };
                let known = self.days.get(id).copied();
                let (used, ends) = known
                    .filter(|(_, ends)| now < *ends)
                    .unwrap_or((0, wanted.day_ends));
                if used >= limit {
                    wait(ends);
                    continue;
                }
                self.days.insert(id.to_owned(), (used + 1, ends));
                if let Some(breaker) = self.breakers.get_mut(wanted.model) {
                    breaker.probe = Some(now + wanted.probe_ms);
                }
                return Place::Key {
                    index: before + index,
                    is_probe,
                    used: used + 1,
                };
            }
        }
        soonest.map_or(Place::Nothing, |at| Place::Wait(at - now))
    }

    /// Leaves a group alone; never shorter than it was asked for before.
    pub(super) fn cool(&mut self, now: i64, group: &str, millis: i64) {
        let cool = self.cool.entry(group.to_owned()).or_default();
        *cool = (*cool).max(now + millis);
    }

    /// Nothing is left of the day of a key.
    pub(super) fn spend(&mut self, now: i64, key: &str, millis: i64) {
        self.days.insert(key.to_owned(), (ALL, now + millis));
    }

    /// A key was not used after all.
    pub(super) fn give_back(&mut self, key: &str) {
        if let Some((used, _)) = self.days.get_mut(key).filter(|(used, _)| *used < ALL) {
            *used = used.saturating_sub(1);
        }
    }

    /// Lets nobody through for some time, which doubles with each time in a row.
    pub(super) fn open(&mut self, now: i64, model: &str, first: i64, longest: i64) -> i64 {
        let breaker = self.breakers.entry(model.to_owned()).or_default();
        if now < breaker.open {
            return breaker.open - now;
        }
        let wait = first
            .saturating_mul(1_i64.checked_shl(breaker.times).unwrap_or(i64::MAX))
            .clamp(0, longest);
        breaker.times = (breaker.times + 1).min(32);
        breaker.open = now + wait;
        breaker.probe = None;
        wait
    }

    /// Lets everybody through.
    pub(super) fn close(&mut self, model: &str) {
        self.breakers.remove(model);
    }

    /// A try came to nothing that tells whether the provider is back.
    pub(super) fn end_probe(&mut self, model: &str) {
        if let Some(breaker) = self.breakers.get_mut(model) {
            breaker.probe = None;
        }
    }

    /// Forgets all that keeps keys from being used.
    pub(super) fn warm(&mut self) {
        *self = Self {
            turn: self.turn,
            ..Self::default()
        };
    }

    /// All of it, under the names that it has in Redis.
    pub(super) fn fields(&self) -> BTreeMap<String, i64> {
        let mut fields = BTreeMap::new();
        for (key, (used, ends)) in &self.days {
            fields.insert(format!("n:{key}"), i64::try_from(*used).unwrap_or(i64::MAX));
            fields.insert(format!("r:{key}"), *ends);
        }
        for (group, until) in &self.cool {
            fields.insert(format!("c:{group}"), *until);
        }
        for (model, breaker) in &self.breakers {
            fields.insert(format!("b:{model}"), breaker.open);
            fields.insert(format!("o:{model}"), breaker.times.into());
        }
        fields
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted<'a>(groups: &[(&'a str, &[&'a str])], limit: Option<u64>) -> Wanted<'a> {
        Wanted {
            model: "m",
            probe_ms: 60_000,
            day_ends: 1_000_000,
            limit,
            groups: groups
                .iter()
                .map(|(name, keys)| (*name, keys.iter().map(|key| Some(*key)).collect()))
                .collect(),
        }
    }

    fn index(place: Place) -> usize {
        match place {
            Place::Key { index, .. } => index,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn two_calls_in_a_row_use_different_groups_and_then_different_keys() {
        let mut local = Local::default();
        let wanted = wanted(&[("a", &["1", "2"]), ("b", &["3", "4", "5"])], None);
        let picked: Vec<usize> = (0..8).map(|_| index(local.pick(0, &wanted))).collect();
        assert_eq!(picked, [0, 2, 1, 3, 0, 4, 1, 2]);
        local.cool(0, "b", 7_000);
        local.cool(0, "b", 1_000);
        assert!((0..4).all(|_| index(local.pick(6_999, &wanted)) < 2));
        let later: Vec<usize> = (0..2).map(|_| index(local.pick(7_000, &wanted))).collect();
        assert!(later.iter().any(|index| *index >= 2), "{later:?}");
    }

    #[test]
    fn keys_are_used_up_one_after_the_other_until_their_day_ends() {
        let mut local = Local::default();
        let wanted = wanted(&[("a", &["1"]), ("b", &["2"])], Some(2));
        for _ in 0..4 {
            index(local.pick(10, &wanted));
        }
        assert_eq!(local.pick(10, &wanted), Place::Wait(999_990));
        local.give_back("2");
        assert_eq!(index(local.pick(10, &wanted)), 1);
        local.cool(10, "a", 5_000);
        assert_eq!(local.pick(10, &wanted), Place::Wait(5_000));
        assert!(matches!(
            local.pick(1_000_000, &wanted),
            Place::Key { used: 1, .. }
        ));
        local.spend(1_000_000, "1", 50);
        local.spend(1_000_000, "2", 90);
        assert_eq!(local.pick(1_000_010, &wanted), Place::Wait(40));
    }

    #[test]
    fn a_breaker_lets_one_through_at_a_time_and_waits_longer_each_time() {
        let mut local = Local::default();
        let wanted = wanted(&[("a", &["1"])], None);
        assert_eq!(local.open(0, "m", 20_000, 300_000), 20_000);
        assert_eq!(local.pick(19_999, &wanted), Place::Open(1));
        let probe = local.pick(20_000, &wanted);
        assert!(matches!(probe, Place::Key { is_probe: true, .. }));
        assert_eq!(local.pick(20_001, &wanted), Place::Open(59_999));
        assert_eq!(local.open(20_001, "m", 20_000, 300_000), 40_000);
        for expected in [80_000, 160_000, 300_000, 300_000] {
            assert_eq!(
                local.open(i64::from(u32::MAX) * expected, "m", 20_000, 300_000),
                expected
            );
        }
        local.close("m");
        assert!(matches!(
            local.pick(0, &wanted),
            Place::Key {
                is_probe: false,
                ..
            }
        ));
    }

    #[test]
    fn nothing_is_had_where_no_key_may_be_used() {
        let mut local = Local::default();
        let mut wanted = wanted(&[("a", &["1"])], None);
        wanted.groups[0].1[0] = None;
        assert_eq!(local.pick(0, &wanted), Place::Nothing);
        local.cool(0, "a", 100);
        assert_eq!(local.pick(0, &wanted), Place::Nothing);
        wanted.groups.clear();
        assert_eq!(local.pick(0, &wanted), Place::Nothing);
    }
}
