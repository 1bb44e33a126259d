//! A time in a body or a query.

use chrono::{DateTime, Datelike as _, Utc};
use deserr::Deserr;

use crate::extract::{Fields, Rule};

/// A moment, as RFC 3339 writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserr)]
#[deserr(error = Fields, try_from(&String) = Moment::parse -> Rule)]
pub(crate) struct Moment(pub DateTime<Utc>);

impl Moment {
    pub(crate) fn parse(text: &str) -> Result<Self, Rule> {
        // A plus of the offset that was not escaped in a query arrives as a space.
        DateTime::parse_from_rfc3339(text)
            .or_else(|_| DateTime::parse_from_rfc3339(&text.replace(' ', "+")))
            .ok()
            .map(|time| time.to_utc())
            .filter(|time| (1970..10_000).contains(&time.year()))
            .map(Self)
            .ok_or_else(|| Rule::new("must be a time like 2026-01-31T12:00:00Z"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_has_a_date_a_time_and_an_offset() {
        let noon = DateTime::parse_from_rfc3339("2026-01-31T12:00:00Z").unwrap();
        for text in [
            "2026-01-31T12:00:00Z",
            "2026-01-31T17:30:00+05:30",
            "2026-01-31T17:30:00 05:30",
        ] {
            assert_eq!(Moment::parse(text).unwrap().0, noon, "{text}");
        }
        for text in [
            "",
            "2026-01-31",
            "2026-01-31T12:00:00",
            "1769860800",
            "1969-12-31T23:59:59Z",
            "yesterday",
        ] {
            assert!(Moment::parse(text).is_err(), "{text}");
        }
    }
}
