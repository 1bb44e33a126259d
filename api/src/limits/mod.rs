//! Limits on how often something may be done, the same for all instances through Redis.
//!
//! A budget allows so many within any window of its length: what was taken is remembered one by one (a sliding log),
//! which is exact, lets a success be given back, and is small where quotas are small. The budgets of a request are
//! checked together and taken together, in one script and by the clock of Redis, as instances' clocks differ; under the
//! frozen clock of a test, by that one.
//!
//! Each process also counts what it lets through itself. What that count refuses never reaches Redis; and while Redis
//! is away, or after it forgot everything, that count alone decides: then the limit is one per instance.

mod local;
mod rate;

use std::sync::{Arc, Mutex};

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use shared::{
    clock::Clock,
    keyring::random,
    redis::{Redis, Script},
};

use self::local::Local;
pub(crate) use self::rate::{MaybeRate, Rate};

/// `RateLimit` header fields for HTTP, draft-ietf-httpapi-ratelimit-headers (read in November 2026).
const RATELIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATELIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// How often one may do one thing.
#[derive(Debug, Clone)]
pub(crate) struct Budget {
    /// Its name for clients.
    policy: &'static str,
    /// Its key in Redis.
    key: String,
    rate: Rate,
}

impl Budget {
    fn window_ms(&self) -> i64 {
        i64::try_from(self.rate.window.as_millis()).unwrap_or(i64::MAX)
    }
}

/// What was taken from some budgets.
#[derive(Debug)]
#[must_use = "a success may be given back"]
pub(crate) struct Taken {
    budgets: Vec<Budget>,
    id: u64,
}

/// A budget is used up.
#[derive(Debug, Clone, thiserror::Error)]
#[error("this was tried too often; try again in {retry_after} s")]
pub(crate) struct Exhausted {
    /// Seconds until it may be tried again.
    pub retry_after: u64,
    /// The policy that says no.
    pub policy: &'static str,
    /// All policies that were asked, with what they allow.
    pub policies: Vec<(&'static str, Rate)>,
}

impl Exhausted {
    /// `RateLimit-Policy` of all budgets, `RateLimit` of the one that is used up.
    pub(crate) fn headers(&self) -> HeaderMap {
        let policies: Vec<String> = self
            .policies
            .iter()
            .map(|(name, rate)| format!("\"{name}\";q={};w={}", rate.quota, rate.window.as_secs()))
            .collect();
        let limit = format!("\"{}\";r=0;t={}", self.policy, self.retry_after);
        [(RATELIMIT_POLICY, policies.join(", ")), (RATELIMIT, limit)]
            .into_iter()
            .filter_map(|(name, value)| Some((name, HeaderValue::try_from(value).ok()?)))
            .collect()
    }
}

/// Milliseconds until one is free, for each budget; 0: one is.
#[derive(Debug)]
struct Waits(Vec<i64>);

impl Waits {
    /// Nothing where all budgets had one.
    fn exhausted(&self, budgets: &[Budget]) -> Option<Exhausted> {
        let (budget, &wait) = budgets
            .iter()
            .zip(&self.0)
            .filter(|&(_, &wait)| wait > 0)
            .max_by_key(|&(_, &wait)| wait)?;
        Some(Exhausted {
            retry_after: u64::try_from(wait).unwrap_or(1).div_ceil(1000),
            policy: budget.policy,
            policies: budgets
                .iter()
                .map(|budget| (budget.policy, budget.rate))
                .collect(),
        })
    }
}

/// The limits of this deployment; cheap to clone.
#[derive(Clone)]
pub(crate) struct Limits {
    redis: Redis,
    clock: Clock,
    local: Arc<Mutex<Local>>,
    take: Script,
    give_back: Script,
}

impl Limits {
    /// Makes them; nothing is used up yet in this process.
    pub(crate) fn new(redis: Redis, clock: Clock) -> Self {
        Self {
            redis,
            clock,
            local: Arc::default(),
            take: Script::new(include_str!("take.lua")),
            give_back: Script::new(include_str!("give_back.lua")),
        }
    }

    /// Names a budget: `policy` for clients, `subject` is who or what it belongs to.
    pub(crate) fn budget(&self, policy: &'static str, subject: &str, rate: Rate) -> Budget {
        Budget {
            policy,
            key: self.redis.keys().limit(policy, subject),
            rate,
        }
    }

    /// Takes one from each budget, or from none of them.
    ///
    /// # Errors
    /// [`Exhausted`] when one is used up.
    pub(crate) async fn take(&self, budgets: Vec<Budget>) -> Result<Taken, Exhausted> {
        let taken = Taken {
            budgets,
            id: u64::from_le_bytes(random()),
        };
        let now = self.clock.now().timestamp_millis();
        let waits = self.local().take(&taken.budgets, taken.id, now);
        if let Some(exhausted) = waits.exhausted(&taken.budgets) {
            return Err(exhausted);
        }
        if !self.redis.is_up() {
            return Ok(taken);
        }
        let frozen = self.clock.frozen_now().map(|now| now.timestamp_millis());
        let mut arguments = vec![
            frozen.map(|now| now.to_string()).unwrap_or_default(),
            taken.id.to_string(),
        ];
        for budget in &taken.budgets {
            arguments.extend([
                budget.rate.quota.to_string(),
                budget.window_ms().to_string(),
            ]);
        }
        match self.redis.run(&self.take, keys(&taken), arguments).await {
            Ok(waits) => match Waits(waits).exhausted(&taken.budgets) {
                Some(exhausted) => {
                    self.local().give_back(&taken.budgets, taken.id);
                    Err(exhausted)
                }
                None => Ok(taken),
            },
            Err(error) => {
                tracing::debug!(error = %error, "a limit is kept in memory");
                Ok(taken)
            }
        }
    }

    /// Puts back what was taken: it did not count after all.
    pub(crate) async fn give_back(&self, taken: Taken) {
        self.local().give_back(&taken.budgets, taken.id);
        if !self.redis.is_up() {
            return;
        }
        let arguments = vec![taken.id.to_string()];
        let given = self
            .redis
            .run(&self.give_back, keys(&taken), arguments)
            .await;
        if let Err(error) = given {
            tracing::debug!(error = %error, "could not put back what was taken of a limit");
        }
    }

    fn local(&self) -> std::sync::MutexGuard<'_, Local> {
        self.local
            .lock()
            .expect("nothing panics while it holds this lock")
    }
}

fn keys(taken: &Taken) -> Vec<String> {
    taken
        .budgets
        .iter()
        .map(|budget| budget.key.clone())
        .collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_headers_name_all_policies_and_the_one_that_says_no() {
        let rate = Rate {
            quota: 5,
            window: Duration::from_mins(15),
        };
        let budget = |policy| Budget {
            policy,
            key: policy.to_owned(),
            rate,
        };
        let budgets = [budget("login-address"), budget("login-account")];
        assert!(Waits(vec![0, 0]).exhausted(&budgets).is_none());
        let exhausted = Waits(vec![100, 61_001]).exhausted(&budgets).unwrap();
        let headers = exhausted.headers();
        assert_eq!(
            headers["ratelimit-policy"],
            "\"login-address\";q=5;w=900, \"login-account\";q=5;w=900"
        );
        assert_eq!(headers["ratelimit"], "\"login-account\";r=0;t=62");
    }
}
