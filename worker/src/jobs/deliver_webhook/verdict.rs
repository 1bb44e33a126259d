//! What a failed try means: why it failed, when the next one is, how long the endpoint is left alone, and when it is given up.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use reqwest::StatusCode;
use shared::{
    clients::outbound::{Answer, SendError},
    models::webhook::{Schedule, state},
};

/// Why an endpoint is off that wants nothing any more (Standard Webhooks 1.0.0, "Deliverability").
pub(super) const GONE: &str = "the endpoint answered 410 Gone";
/// Shortest and longest time for which an endpoint is left alone that asks for it without saying for how long.
const SLOWED: Duration = Duration::from_secs(5);
const SLOWED_MOST: Duration = Duration::from_hours(1);
/// Shortest time for which one is left alone that says for how long.
const SLOWED_LEAST: Duration = Duration::from_secs(1);
/// Longest time for which one is left alone where nobody answers: no longer than a delivery waits for its third try.
const SILENT_MOST: Duration = Duration::from_mins(4);
/// After so many failures in a row an endpoint where nobody answers is left alone.
pub(super) const SILENT_FAILURES: i32 = 4;
/// After so long with nothing but failures an endpoint is switched off.
const FAILING_MOST: TimeDelta = TimeDelta::days(5);
/// So are so many failures in a row over this time.
const FAILURES_MOST: i32 = 100;
const FAILURES_WITHIN: TimeDelta = TimeDelta::hours(24);

/// Why a try did not succeed, in words for its user and for programs; nothing where it did.
pub(super) fn reason(result: &Result<Answer, SendError>) -> Option<(String, &'static str)> {
    match result {
        Ok(answer) if answer.status.is_success() => None,
        Ok(answer) => Some((
            format!("the endpoint answered {}", answer.status.as_u16()),
            "http_status",
        )),
        Err(error @ SendError::Blocked(refused)) => {
            Some((format!("blocked: {refused}"), error.code()))
        }
        Err(error) => Some((error.to_string(), error.code())),
    }
}

/// Whether the endpoint asks to be left alone, not only for this message (Standard Webhooks 1.0.0, "Deliverability"). It need not
/// have told the rest of its answer.
pub(super) fn is_throttled(answer: Option<&Answer>) -> bool {
    answer.is_some_and(|answer| {
        matches!(
            answer.status,
            StatusCode::TOO_MANY_REQUESTS | StatusCode::BAD_GATEWAY | StatusCode::GATEWAY_TIMEOUT
        )
    })
}

/// Whether nobody answers there, or not completely: such tries take long, and take the places of others.
pub(super) fn is_silent(result: &Result<Answer, SendError>) -> bool {
    matches!(result, Err(error) if !matches!(error, SendError::Blocked(_)))
}

/// How long it is left alone when it is slowed down the `throttles`-th time in a row (1, 2, …): as it asks, or longer each time.
pub(super) fn hold(throttles: i32, is_silent: bool, asked: Option<Duration>) -> Duration {
    let doublings = u32::try_from(throttles.saturating_sub(1))
        .unwrap_or(0)
        .min(20);
    let most = if is_silent { SILENT_MOST } else { SLOWED_MOST };
    let ours = SLOWED.saturating_mul(1 << doublings).min(most);
    asked.map_or(ours, |asked| asked.max(SLOWED_LEAST))
}

/// How long after the `attempt`-th try (1, 2, …) the next one is; nothing after the last. `random` is in 0..1.
pub(super) fn wait(
    schedule: Schedule,
    attempt: i32,
    random: f64,
    asked: Option<Duration>,
) -> Option<Duration> {
    let nth = usize::try_from(attempt.saturating_sub(1)).ok()?;
    let wait = *schedule.waits().get(nth)?;
    let wait = match schedule {
        Schedule::Standard => wait.mul_f64(0.8 + 0.4 * random.clamp(0.0, 1.0)),
        Schedule::Short => wait,
    };
    Some(wait.max(asked.unwrap_or_default()))
}

/// Why an endpoint is switched off after what was learned of it; nothing while it is not.
pub(super) fn is_hopeless(state: &state::Model, now: DateTime<Utc>) -> Option<&'static str> {
    let failing = now - state.failing_since?;
    if failing >= FAILING_MOST {
        Some("the endpoint took nothing for 5 days")
    } else if state.failures >= FAILURES_MOST && failing >= FAILURES_WITHIN {
        Some("the endpoint failed 100 times in a row within more than a day")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use shared::ids::WebhookId;

    use super::*;

    fn seconds(schedule: Schedule, random: f64) -> Vec<u64> {
        (1..20)
            .map_while(|attempt| wait(schedule, attempt, random, None))
            .map(|wait| wait.as_secs())
            .collect()
    }

    #[test]
    fn the_standard_schedule_is_the_specifications() {
        let waits = seconds(Schedule::Standard, 0.5);
        // 5 s, 5 min, 30 min, 2 h, 5 h, 10 h, 14 h, 20 h, 24 h: 75 h 35 m 5 s in all.
        assert_eq!(
            waits,
            [5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400]
        );
        assert_eq!(waits.iter().sum::<u64>(), 75 * 3600 + 35 * 60 + 5);
        assert_eq!(seconds(Schedule::Standard, 0.0)[1], 240);
        assert_eq!(seconds(Schedule::Standard, 1.0)[1], 360);
        assert_eq!(seconds(Schedule::Short, 0.0), [5, 10]);
        assert_eq!(seconds(Schedule::Short, 1.0), [5, 10]);
    }

    #[test]
    fn the_endpoint_may_ask_for_more_but_not_for_less() {
        let hour = Duration::from_hours(1);
        assert_eq!(wait(Schedule::Standard, 1, 0.5, Some(hour)), Some(hour));
        assert_eq!(
            wait(Schedule::Short, 2, 0.5, Some(Duration::ZERO)),
            Some(Duration::from_secs(10))
        );
        assert_eq!(wait(Schedule::Short, 3, 0.5, Some(hour)), None);
    }

    #[test]
    fn an_endpoint_is_left_alone_for_longer_each_time() {
        let holds: Vec<u64> = (1..=12).map(|n| hold(n, false, None).as_secs()).collect();
        assert_eq!(
            holds,
            [5, 10, 20, 40, 80, 160, 320, 640, 1280, 2560, 3600, 3600]
        );
        let day = Duration::from_hours(24);
        assert_eq!(hold(1, false, Some(day)), day);
        assert_eq!(hold(9, false, Some(Duration::from_secs(2))).as_secs(), 2);
        assert_eq!(hold(9, false, Some(Duration::ZERO)), SLOWED_LEAST);
        assert_eq!(hold(i32::MAX, false, None), SLOWED_MOST);
        assert_eq!(hold(i32::MAX, true, None), SILENT_MOST);
    }

    #[test]
    fn an_endpoint_is_hopeless_after_five_days_or_a_hundred_failures_in_one() {
        let now = DateTime::UNIX_EPOCH;
        let after = |failures: i32, failing: TimeDelta| {
            let state = state::Model {
                webhook_id: WebhookId::new(),
                failing_since: Some(now - failing),
                failures,
                throttles: 0,
                slowed_until: None,
                last_success_at: None,
                last_failure_at: None,
            };
            is_hopeless(&state, now).is_some()
        };
        let second = TimeDelta::seconds(1);
        assert!(after(2, TimeDelta::days(5)));
        assert!(!after(99, TimeDelta::days(5) - second));
        assert!(after(100, TimeDelta::hours(24)));
        assert!(!after(1000, TimeDelta::hours(24) - second));
    }
}
