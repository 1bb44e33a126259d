//! How much users may use of what costs, in a calendar month of UTC.

use serde::Serialize;

use super::{Problems, given};
use crate::models::user::Tier;

const TOKENS: &str = "USAGE_LIMIT_TOKENS_PER_MONTH";
const USD: &str = "USAGE_LIMIT_USD_PER_MONTH";
/// Largest limit, in tokens and in millionths of a US dollar.
const MOST: i64 = 1_000_000_000_000_000;
/// Digits behind the point of a sum in US dollars, and how many millionths one has.
const DECIMALS: usize = 6;
const MICROUSD: i64 = 1_000_000;

/// Variables of the limits.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct UsageLimitArgs {
    /// Tokens that a user may use in a calendar month of UTC, 0 to 1000000000000000: a number for everybody, or by tier (free,
    /// pro, enterprise) like free=100000,pro=5000000; sounds have none [default: no limit]
    #[arg(long, env = "USAGE_LIMIT_TOKENS_PER_MONTH")]
    pub usage_limit_tokens_per_month: Option<String>,
    /// US dollars that a user may cost in a calendar month of UTC, 0 to 1000000000: a number for everybody, or by tier like
    /// free=0.50,pro=20; calls without a known price cost nothing [default: no limit]
    #[arg(long, env = "USAGE_LIMIT_USD_PER_MONTH")]
    pub usage_limit_usd_per_month: Option<String>,
}

/// What users of a tier may use in a month; none where there is no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct TierLimits {
    /// Tokens of questions and answers.
    pub tokens: Option<i64>,
    /// Millionths of a US dollar.
    pub cost_microusd: Option<i64>,
}

/// What users may use in a month, by their tier.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct UsageLimits {
    free: TierLimits,
    pro: TierLimits,
    enterprise: TierLimits,
}

/// A limit of each tier that has one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct ByTier {
    free: Option<i64>,
    pro: Option<i64>,
    enterprise: Option<i64>,
}

/// Reads a limit.
type Read = fn(&str) -> Option<i64>;

impl UsageLimits {
    /// Whether nobody has a limit.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// What users of a tier may use.
    pub fn of(&self, tier: Tier) -> TierLimits {
        match tier {
            Tier::Free => self.free,
            Tier::Pro => self.pro,
            Tier::Enterprise => self.enterprise,
        }
    }
}

impl UsageLimitArgs {
    /// Checks the limits; what is wrong goes to `problems`.
    pub fn check(&self, problems: &mut Problems) -> UsageLimits {
        let mut limits = |name: &'static str, value: &Option<String>, read: Read| match given(value)
            .map(|text| by_tier(text, read))
        {
            None => ByTier::default(),
            Some(Ok(limits)) => limits,
            Some(Err(problem)) => {
                problems.add(name, problem);
                ByTier::default()
            }
        };
        let tokens = limits(TOKENS, &self.usage_limit_tokens_per_month, tokens);
        let cost = limits(USD, &self.usage_limit_usd_per_month, microusd);
        let tier = |tokens, cost_microusd| TierLimits {
            tokens,
            cost_microusd,
        };
        UsageLimits {
            free: tier(tokens.free, cost.free),
            pro: tier(tokens.pro, cost.pro),
            enterprise: tier(tokens.enterprise, cost.enterprise),
        }
    }
}

/// Reads one limit for everybody, or limits by tier.
fn by_tier(text: &str, read: Read) -> Result<ByTier, String> {
    let limit = |text: &str| {
        let limit = read(text).filter(|limit| *limit <= MOST);
        limit.ok_or_else(|| format!("{text:?} is not a number, or larger than it may be"))
    };
    if !text.contains('=') {
        let limit = Some(limit(text)?);
        return Ok(ByTier {
            free: limit,
            pro: limit,
            enterprise: limit,
        });
    }
    let mut limits = ByTier::default();
    for part in text
        .split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty())
    {
        let (name, value) = part
            .split_once('=')
            .ok_or_else(|| format!("{part:?} is not TIER=NUMBER"))?;
        let of = match name.trim() {
            "free" => &mut limits.free,
            "pro" => &mut limits.pro,
            "enterprise" => &mut limits.enterprise,
            other => return Err(format!("{other:?} is none of free, pro, enterprise")),
        };
        if of.replace(limit(value.trim())?).is_some() {
            return Err(format!("has {name:?} twice"));
        }
    }
    Ok(limits)
}

fn tokens(text: &str) -> Option<i64> {
    text.bytes()
        .all(|byte| byte.is_ascii_digit())
        .then_some(())?;
    text.parse().ok()
}

/// Reads a sum in US dollars, as millionths of one.
fn microusd(text: &str) -> Option<i64> {
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    if part.is_empty() || part.len() > DECIMALS {
        return None;
    }
    let part = tokens(&format!("{part:0<DECIMALS$}"))?;
    tokens(whole)?.checked_mul(MICROUSD)?.checked_add(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_for_everybody_or_by_tier() {
        let all = by_tier("1000", tokens).unwrap();
        assert_eq!((all.free, all.enterprise), (Some(1_000), Some(1_000)));
        let some = by_tier("free=0.5, pro=20,", microusd).unwrap();
        assert_eq!(
            (some.free, some.pro, some.enterprise),
            (Some(500_000), Some(20_000_000), None)
        );
        assert_eq!(microusd("0.000001"), Some(1));
        for bad in ["", "-1", "+1", "1.5", "many", "1e6", "9999999999999999"] {
            assert!(by_tier(bad, tokens).is_err(), "{bad:?}");
        }
        for bad in [
            "1.",
            ".5",
            "0.0000001",
            "$5",
            "1,5",
            "gold=1",
            "free=1,free=2",
            "free=1,2",
            "free=",
        ] {
            assert!(by_tier(bad, microusd).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn what_is_not_set_is_no_limit() {
        let mut problems = Problems::default();
        assert!(UsageLimitArgs::default().check(&mut problems).is_none());
        let args = UsageLimitArgs {
            usage_limit_tokens_per_month: Some("pro=7".to_owned()),
            ..UsageLimitArgs::default()
        };
        let limits = args.check(&mut problems);
        assert_eq!(limits.of(Tier::Pro).tokens, Some(7));
        assert_eq!(limits.of(Tier::Free), TierLimits::default());
        assert!(!limits.is_none() && problems.finish(Some(())).is_ok());
    }
}
