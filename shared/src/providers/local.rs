//! What is known of a provider in this process: it decides while Redis is away, and is the rule that the scripts follow.

use std::collections::BTreeMap;

use super::breakers::Breakers;

/// A day, in milliseconds.
const DAY: i64 = 86_400_000;

/// Times are in milliseconds since 1970.
#[derive(Debug, Default, Clone)]
pub(super) struct Local {
    turn: usize,
    /// Of a group.
    turns: BTreeMap<String, usize>,
    /// Of a key: how often it was used, and when its day ends.
    days: BTreeMap<String, (u64, i64)>,
    /// Of a key: until when nothing is left of its day.
    spent: BTreeMap<String, i64>,
    /// Of a group: until when it is left alone.
    cool: BTreeMap<String, i64>,
    /// Of models.
    pub(super) breakers: Breakers,
    /// The last time that somebody had all keys used again, as far as it is known here.
    warmed: i64,
}

/// What is asked for.
#[derive(Debug, Clone)]
pub(super) struct Wanted<'a> {
    pub(super) model: &'a str,
    /// How long a probe may take, in milliseconds.
    pub(super) probe_ms: i64,
    /// By which a probe is known.
    pub(super) mark: u32,
    /// When a day ends that begins now.
    pub(super) day_ends: i64,
    /// Most uses of a key in a day.
    pub(super) limit: Option<u64>,
    /// Names of groups, and their keys.
    pub(super) groups: Vec<(&'a str, Vec<Slot<'a>>)>,
}

/// A key that may be wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Slot<'a> {
    /// It may be used.
    Free(&'a str),
    /// It was tried already, but tells how long to wait.
    Tried(&'a str),
    /// It is retired.
    Out,
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
        /// How often the breaker opened in a row.
        times: u32,
    },
    /// All keys are used up or cool for so long, in milliseconds.
    Wait(i64),
    /// The breaker is open for so long, in milliseconds.
    Open(i64),
    /// There is no key that may be used.
    Nothing,
}

/// A key that can be had.
struct Candidate<'a> {
    id: &'a str,
    index: usize,
    used: u64,
    ends: i64,
}

impl Local {
    pub(super) fn pick(&mut self, now: i64, wanted: &Wanted<'_>) -> Place {
        if let Some(wait) = self.breakers.wait(now, wanted.model) {
            return Place::Open(wait);
        }
        // The clock that said when the day ends may be behind.
        let behind = if wanted.day_ends <= now { DAY } else { 0 };
        let day_ends = wanted.day_ends + behind;
        let mut soonest: Option<i64> = None;
        let mut groups: Vec<(&str, Vec<Candidate<'_>>)> = Vec::new();
        let mut place = 0;
        for (name, keys) in &wanted.groups {
            let mut free = Vec::new();
            for (index, slot) in keys.iter().enumerate() {
                let (id, is_tried) = match slot {
                    Slot::Free(id) => (*id, false),
                    Slot::Tried(id) => (*id, true),
                    Slot::Out => continue,
                };
                let known = self.days.get(id).filter(|(_, ends)| now < *ends);
                let (used, ends) = known.copied().unwrap_or((0, day_ends));
                let mut until = self.cool.get(*name).copied().unwrap_or(0);
                until = until.max(self.spent.get(id).copied().unwrap_or(0));
                if wanted.limit.is_some_and(|limit| used >= limit) {
                    until = until.max(ends);
                }
                if now < until {
                    soonest = Some(soonest.map_or(until, |known| known.min(until)));
                } else if !is_tried {
                    free.push(Candidate {
                        id,
                        index: place + index,
                        used,
                        ends,
                    });
                }
            }
            place += keys.len();
            if !free.is_empty() {
                groups.push((name, free));
            }
        }
        if groups.is_empty() {
            return soonest.map_or(Place::Nothing, |at| Place::Wait(at - now));
        }
        let (name, keys) = &groups[self.turn % groups.len()];
        self.turn = self.turn.wrapping_add(1);
        let turn = self.turns.entry((*name).to_owned()).or_default();
        let key = &keys[*turn % keys.len()];
        *turn = turn.wrapping_add(1);
        self.days
            .insert(key.id.to_owned(), (key.used + 1, key.ends));
        let lease = (now + wanted.probe_ms, wanted.mark);
        let times = self.breakers.begin_probe(wanted.model, lease);
        Place::Key {
            index: key.index,
            is_probe: times.is_some(),
            used: key.used + 1,
            times: times.unwrap_or_default(),
        }
    }

    /// What Redis counted.
    pub(super) fn count(&mut self, now: i64, key: &str, used: u64, day_ends: i64) {
        let known = self.days.get(key).filter(|(_, ends)| now < *ends);
        let ends = known.map_or(day_ends, |(_, ends)| *ends);
        self.days.insert(key.to_owned(), (used, ends));
    }

    /// For how long this process knows that a group is to be left alone.
    pub(super) fn cool_ms(&self, now: i64, group: &str) -> Option<i64> {
        let until = self.cool.get(group).filter(|until| now < **until)?;
        Some(until - now)
    }

    /// Leaves a group alone; never shorter than it was asked for before.
    pub(super) fn cool(&mut self, now: i64, group: &str, millis: i64) {
        let cool = self.cool.entry(group.to_owned()).or_default();
        *cool = (*cool).max(now + millis);
    }

    /// Nothing is left of the day of a key; never shorter than it was said before.
    pub(super) fn spend(&mut self, now: i64, key: &str, millis: i64) {
        let spent = self.spent.entry(key.to_owned()).or_default();
        *spent = (*spent).max(now + millis);
    }

    /// A key was not used after all.
    pub(super) fn give_back(&mut self, key: &str) {
        if let Some((used, _)) = self.days.get_mut(key) {
            *used = used.saturating_sub(1);
        }
    }

    /// Forgets all that keeps keys from being used, as Redis did at this time; tells whether that is news.
    pub(super) fn warm(&mut self, at: i64) -> bool {
        let is_news = at > self.warmed;
        if is_news {
            *self = Self {
                turn: self.turn,
                turns: std::mem::take(&mut self.turns),
                warmed: at,
                ..Self::default()
            };
        }
        is_news
    }

    /// The last time that Redis forgot, as far as it is known here.
    pub(super) fn warmed(&self) -> i64 {
        self.warmed
    }

    /// All of it, under the names that it has in Redis.
    pub(super) fn fields(&self) -> BTreeMap<String, i64> {
        let mut fields = BTreeMap::new();
        for (key, (used, ends)) in &self.days {
            fields.insert(format!("n:{key}"), i64::try_from(*used).unwrap_or(i64::MAX));
            fields.insert(format!("r:{key}"), *ends);
        }
        for (key, until) in &self.spent {
            fields.insert(format!("s:{key}"), *until);
        }
        for (group, until) in &self.cool {
            fields.insert(format!("c:{group}"), *until);
        }
        self.breakers.add_fields(&mut fields);
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
            mark: 1,
            day_ends: 1_000_000,
            limit,
            groups: groups
                .iter()
                .map(|(name, keys)| (*name, keys.iter().map(|key| Slot::Free(key)).collect()))
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
        // Both must be over.
        local.cool(10, "a", 5_000);
        assert_eq!(local.pick(10, &wanted), Place::Wait(999_990));
        assert!(matches!(
            local.pick(1_000_000, &wanted),
            Place::Key { used: 1, .. }
        ));
        local.spend(1_000_000, "1", 50);
        local.spend(1_000_000, "1", 5);
        local.spend(1_000_000, "2", 90);
        assert_eq!(local.pick(1_000_010, &wanted), Place::Wait(40));
        let place = local.pick(1_000_050, &wanted);
        assert!(matches!(place, Place::Key { index: 0, .. }), "{place:?}");
    }

    #[test]
    fn a_breaker_lets_one_through_at_a_time_and_waits_longer_each_time() {
        let mut local = Local::default();
        let wanted = wanted(&[("a", &["1"])], None);
        assert_eq!(local.breakers.open(0, "m", 20_000, 300_000, 0), 20_000);
        assert_eq!(local.pick(19_999, &wanted), Place::Open(1));
        let probe = local.pick(20_000, &wanted);
        assert!(matches!(probe, Place::Key { is_probe: true, .. }));
        // It may take a minute, but mostly does not.
        assert_eq!(local.pick(20_001, &wanted), Place::Open(2_000));
        assert_eq!(local.pick(79_999, &wanted), Place::Open(1));
        // Somebody else's end of a probe is not this one's.
        local.breakers.end_probe("m", 2);
        assert_eq!(local.pick(20_001, &wanted), Place::Open(2_000));
        local.breakers.end_probe("m", 1);
        assert!(matches!(
            local.pick(20_001, &wanted),
            Place::Key { times: 1, .. }
        ));
        // What was begun before it opened says nothing any more.
        assert_eq!(local.breakers.open(20_002, "m", 20_000, 300_000, 0), 0);
        assert_eq!(local.breakers.open(20_002, "m", 20_000, 300_000, 1), 40_000);
        for (times, expected) in [(2, 80_000), (3, 160_000), (4, 300_000), (5, 300_000)] {
            let now = i64::from(times) * 1_000_000;
            assert_eq!(
                local.breakers.open(now, "m", 20_000, 300_000, times),
                expected
            );
        }
        local.breakers.close("m");
        assert!(matches!(
            local.pick(0, &wanted),
            Place::Key {
                is_probe: false,
                ..
            }
        ));
    }

    #[test]
    fn what_redis_knows_of_a_breaker_is_known_here() {
        let mut local = Local::default();
        let wanted = wanted(&[("a", &["1"])], None);
        // Opened here, and closed elsewhere once it let somebody through.
        local.breakers.open(0, "m", 20_000, 300_000, 0);
        local.breakers.adopt(19_999, "m", 0, None);
        assert_eq!(local.breakers.open_ms(19_999, "m"), Some(1));
        local.breakers.adopt(20_000, "m", 0, None);
        assert!(matches!(
            local.pick(20_000, &wanted),
            Place::Key {
                is_probe: false,
                ..
            }
        ));
        // Opened twice elsewhere: a failure of the probe opens it for the third time.
        local.breakers.adopt(20_000, "m", 2, Some((95_000, 7)));
        assert_eq!(local.pick(94_000, &wanted), Place::Open(1_000));
        assert_eq!(local.breakers.open(94_000, "m", 20_000, 300_000, 2), 80_000);
    }

    #[test]
    fn what_keeps_keys_from_being_used_is_forgotten_once() {
        let mut local = Local::default();
        let wanted = wanted(&[("a", &["1"])], Some(1));
        let forbid = |local: &mut Local| {
            local.cool(0, "a", 1_000);
            local.spend(0, "1", 1_000);
            local.breakers.open(0, "m", 1_000, 1_000, 0);
        };
        forbid(&mut local);
        assert!(local.warm(500));
        assert_eq!(index(local.pick(10, &wanted)), 0);
        // What was noted later stays, however often it is heard.
        forbid(&mut local);
        assert!(!local.warm(500));
        assert_eq!(local.pick(10, &wanted), Place::Open(990));
        assert!(!local.warm(0), "a Redis that was emptied");
    }

    #[test]
    fn nothing_is_had_where_no_key_may_be_used() {
        let mut local = Local::default();
        let mut wanted = wanted(&[("a", &["1"])], None);
        wanted.groups[0].1[0] = Slot::Out;
        assert_eq!(local.pick(0, &wanted), Place::Nothing);
        local.cool(0, "a", 100);
        assert_eq!(local.pick(0, &wanted), Place::Nothing);
        wanted.groups[0].1[0] = Slot::Tried("1");
        assert_eq!(local.pick(0, &wanted), Place::Wait(100));
        assert_eq!(local.pick(100, &wanted), Place::Nothing);
        wanted.groups.clear();
        assert_eq!(local.pick(0, &wanted), Place::Nothing);
    }
}
