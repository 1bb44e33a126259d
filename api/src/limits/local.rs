//! Budgets in memory: what this process has let through.

use std::collections::HashMap;

use super::{Budget, Waits};

/// Most budgets that are remembered: some megabytes.
const BUDGETS_MAX: usize = 20_000;

/// One thing that was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entry {
    /// Milliseconds since 1970.
    at: i64,
    id: u64,
}

/// What was taken from a budget within its window, oldest first.
#[derive(Debug, Default)]
struct Taken {
    entries: Vec<Entry>,
    /// Nothing of it counts any more from then on.
    ends_at: i64,
}

/// The budgets of this process.
#[derive(Debug, Default)]
pub(super) struct Local(HashMap<String, Taken>);

impl Local {
    /// Takes one from each budget, or from none of them if one is used up.
    pub(super) fn take(&mut self, budgets: &[Budget], id: u64, now: i64) -> Waits {
        let waits: Vec<i64> = budgets
            .iter()
            .map(|budget| self.wait(budget, now))
            .collect();
        if waits.iter().all(|&wait| wait == 0) {
            for budget in budgets {
                self.add(budget, Entry { at: now, id });
            }
        }
        Waits(waits)
    }

    /// Puts back what was taken.
    pub(super) fn give_back(&mut self, budgets: &[Budget], id: u64) {
        for budget in budgets {
            if let Some(taken) = self.0.get_mut(&budget.key) {
                taken.entries.retain(|entry| entry.id != id);
                if taken.entries.is_empty() {
                    self.0.remove(&budget.key);
                }
            }
        }
    }

    fn wait(&mut self, budget: &Budget, now: i64) -> i64 {
        let Some(taken) = self.0.get_mut(&budget.key) else {
            return 0;
        };
        let window = budget.window_ms();
        taken.entries.retain(|entry| entry.at > now - window);
        let quota = usize::try_from(budget.rate.quota).unwrap_or(usize::MAX);
        let over = taken.entries.len().checked_sub(quota);
        over.map_or(0, |first| (taken.entries[first].at + window - now).max(1))
    }

    fn add(&mut self, budget: &Budget, entry: Entry) {
        if self.0.len() >= BUDGETS_MAX && !self.0.contains_key(&budget.key) {
            self.make_room(entry.at);
        }
        let taken = self.0.entry(budget.key.clone()).or_default();
        taken.entries.push(entry);
        taken.ends_at = entry.at + budget.window_ms();
    }

    /// Forgets what does not count any more, else what will soonest.
    fn make_room(&mut self, now: i64) {
        self.0.retain(|_, taken| taken.ends_at > now);
        if self.0.len() >= BUDGETS_MAX {
            let soonest = self.0.iter().min_by_key(|(_, taken)| taken.ends_at);
            if let Some(key) = soonest.map(|(key, _)| key.clone()) {
                self.0.remove(&key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::limits::Rate;

    fn budget(key: &str, quota: u32) -> Budget {
        Budget {
            policy: "test",
            key: key.to_owned(),
            rate: Rate {
                quota,
                window: Duration::from_secs(10),
            },
        }
    }

    #[test]
    fn a_window_slides() {
        let mut local = Local::default();
        let budgets = [budget("a", 2)];
        assert_eq!(local.take(&budgets, 1, 1_000).0, [0]);
        assert_eq!(local.take(&budgets, 2, 4_000).0, [0]);
        assert_eq!(local.take(&budgets, 3, 5_000).0, [6_000]);
        assert_eq!(local.take(&budgets, 4, 10_999).0, [1]);
        assert_eq!(local.take(&budgets, 5, 11_000).0, [0], "the first is over");
        assert_eq!(local.take(&budgets, 6, 11_000).0, [3_000]);
    }

    #[test]
    fn nothing_is_taken_where_one_budget_is_used_up() {
        let mut local = Local::default();
        let both = [budget("a", 1), budget("b", 2)];
        assert_eq!(local.take(&both, 1, 0).0, [0, 0]);
        assert_eq!(local.take(&both, 2, 0).0, [10_000, 0]);
        assert_eq!(local.take(&both[1..], 3, 0).0, [0], "b has one left");
        assert_eq!(local.take(&both[1..], 4, 0).0, [10_000]);
    }

    #[test]
    fn what_is_given_back_can_be_taken_again() {
        let mut local = Local::default();
        let budgets = [budget("a", 1)];
        local.take(&budgets, 1, 0);
        local.give_back(&budgets, 2);
        assert_eq!(
            local.take(&budgets, 3, 0).0,
            [10_000],
            "it was not that one"
        );
        local.give_back(&budgets, 1);
        assert!(local.0.is_empty());
        assert_eq!(local.take(&budgets, 4, 0).0, [0]);
    }

    #[test]
    fn memory_is_bounded() {
        let mut local = Local::default();
        for number in 0..BUDGETS_MAX + 10 {
            let at = i64::try_from(number / 4).unwrap();
            local.take(&[budget(&number.to_string(), 1)], 1, at);
        }
        assert_eq!(local.0.len(), BUDGETS_MAX);
        assert!(!local.0.contains_key("0"), "the oldest went first");
        let later = [budget("later", 1)];
        local.take(&later, 1, 1_000_000);
        assert_eq!(local.0.len(), 1);
    }
}
