//! When another server wants to be asked again.

use std::time::Duration;

use chrono::{DateTime, NaiveDateTime, Utc};
use http::{HeaderMap, header::RETRY_AFTER};

/// Nobody is waited for longer than this, whatever it says.
const LONGEST: Duration = Duration::from_hours(24);

/// Dates as they were written once and still must be read (RFC 9110 §5.6.7): as in RFC 850, and by `asctime` of C.
const OLD_DATES: [&str; 2] = ["%A, %d-%b-%y %H:%M:%S GMT", "%a %b %e %H:%M:%S %Y"];

/// `Retry-After`, in seconds or as a date (RFC 9110 §10.2.3), within a day.
pub fn retry_after(headers: &HeaderMap, now: DateTime<Utc>) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let wait = if is_number {
        // However many digits there are.
        text.parse::<u64>().map_or(LONGEST, Duration::from_secs)
    } else {
        (date(text)? - now).to_std().ok()?
    };
    Some(wait.min(LONGEST))
}

fn date(text: &str) -> Option<DateTime<Utc>> {
    if let Ok(date) = DateTime::parse_from_rfc2822(text) {
        return Some(date.to_utc());
    }
    let old = |format: &&str| NaiveDateTime::parse_from_str(text, format).ok();
    OLD_DATES.iter().find_map(old).map(|date| date.and_utc())
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
    fn retry_after_is_read_in_all_forms_and_bounded() {
        assert_eq!(asked("120"), Some(Duration::from_mins(2)));
        // RFC 9110 §5.6.7 writes 784111777 as Sun, 06 Nov 1994 08:49:37 GMT.
        for date in [
            "Sun, 06 Nov 1994 08:50:37 GMT",
            "Sunday, 06-Nov-94 08:50:37 GMT",
            "Sun Nov  6 08:50:37 1994",
        ] {
            assert_eq!(asked(date), Some(Duration::from_mins(1)), "{date}");
        }
        for long in ["99999999999", "99999999999999999999999"] {
            assert_eq!(asked(long), Some(LONGEST), "{long}");
        }
        for nothing in [
            "Sun, 06 Nov 1994 08:40:37 GMT",
            "Sun Nov  6 08:40:37 1994",
            "soon",
            "-1",
            "",
        ] {
            assert_eq!(asked(nothing), None, "{nothing:?}");
        }
    }
}
