//! When another server wants to be asked again.

use std::time::Duration;

use chrono::{DateTime, Utc};
use http::{HeaderMap, header::RETRY_AFTER};

/// Nobody is waited for longer than this, whatever it says.
const LONGEST: Duration = Duration::from_hours(24);

/// `Retry-After`, in seconds or as a date (RFC 9110 §10.2.3), within a day.
pub fn retry_after(headers: &HeaderMap, now: DateTime<Utc>) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = match text.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => (DateTime::parse_from_rfc2822(text).ok()?.to_utc() - now)
            .to_std()
            .ok()?,
    };
    Some(wait.min(LONGEST))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(value: &str) -> Option<Duration> {
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, value.parse().unwrap());
        retry_after(&headers, DateTime::from_timestamp(784_111_777, 0).unwrap())
    }

    #[test]
    fn retry_after_is_read_in_both_forms_and_bounded() {
        assert_eq!(asked("120"), Some(Duration::from_mins(2)));
        // RFC 9110 §5.6.7 writes 784111777 as Sun, 06 Nov 1994 08:49:37 GMT.
        assert_eq!(
            asked("Sun, 06 Nov 1994 08:50:37 GMT"),
            Some(Duration::from_mins(1))
        );
        assert_eq!(asked("99999999999"), Some(LONGEST));
        assert_eq!(asked("Sun, 06 Nov 1994 08:40:37 GMT"), None);
        assert_eq!(asked("soon"), None);
    }
}
