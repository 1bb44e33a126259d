//! How many in how long.

use std::{str::FromStr, time::Duration};

/// Most that one budget may hold: each is remembered one by one.
const QUOTA_MAX: u32 = 10_000;
/// Longest window.
const WINDOW_MAX: Duration = Duration::from_hours(24 * 7);

/// So many within any window of this length; written as `5/15m`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// How many.
    pub quota: u32,
    /// In how long.
    pub window: Duration,
}

/// A rate, or none; written as `off`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MaybeRate(pub Option<Rate>);

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parsed = text.split_once('/').and_then(|(quota, window)| {
            let at = window.len().checked_sub(1)?;
            let (number, unit) = (window.get(..at)?, window.get(at..)?);
            let seconds = match unit {
                "s" => 1,
                "m" => 60,
                "h" => 3600,
                _ => return None,
            };
            let quota = quota.parse().ok()?;
            let window = number.parse::<u32>().ok()?;
            Some((quota, Duration::from_secs(u64::from(window) * seconds)))
        });
        match parsed {
            Some((quota @ 1..=QUOTA_MAX, window))
                if (Duration::from_secs(1)..=WINDOW_MAX).contains(&window) =>
            {
                Ok(Self { quota, window })
            }
            Some(_) => Err(format!(
                "must allow 1 to {QUOTA_MAX} in one second to seven days"
            )),
            None => Err("is not like 5/15m (a number, then s, m or h)".to_owned()),
        }
    }
}

impl FromStr for MaybeRate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "off" => Ok(Self(None)),
            _ => text
                .parse()
                .map(|rate| Self(Some(rate)))
                .map_err(|problem: String| format!("{problem}, or off")),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn rates_are_read_with_their_units() {
        for (text, quota, seconds) in [("5/15m", 5, 900), ("1/1s", 1, 1), ("100/2h", 100, 7200)] {
            let window = Duration::from_secs(seconds);
            assert_eq!(text.parse(), Ok(Rate { quota, window }), "{text}");
        }
        assert_eq!("off".parse(), Ok(MaybeRate(None)));
        for bad in [
            "", "5", "5/", "5/m", "5/15", "0/1m", "5/0s", "5/15d", "-1/1m", "5/9999h", "x/1m",
            "5/é",
        ] {
            assert!(bad.parse::<MaybeRate>().is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text: String) {
            let _ = text.parse::<MaybeRate>();
        }
    }
}
