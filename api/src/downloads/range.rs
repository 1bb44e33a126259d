//! Which bytes of a file a request wants (RFC 9110 §13 and §14).

use std::ops::Range;

use axum::http::{HeaderMap, HeaderValue, header};

/// What is to be answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wanted {
    /// 304: the client has it already.
    Nothing,
    /// 200.
    Whole,
    /// 206.
    Part(Range<u64>),
    /// 416: no byte of the file is asked for.
    Unsatisfiable,
}

/// Reads the conditions and the range of a GET. Both must be about the file as `etag` names it.
///
/// Whatever cannot be understood asks for the whole file, and so do several ranges at once: a server may ignore them
/// (§14.2), and no client of ours sends any.
pub(super) fn wanted(headers: &HeaderMap, etag: &str, length: u64) -> Wanted {
    if has_already(headers, etag) {
        return Wanted::Nothing;
    }
    let mut ranges = headers.get_all(header::RANGE).iter();
    let (Some(range), None) = (ranges.next(), ranges.next()) else {
        return Wanted::Whole;
    };
    // A client that has a part of another file must get the whole. It may name the file by a date, of which we have none.
    let is_same = headers
        .get(header::IF_RANGE)
        .is_none_or(|of| of.as_bytes().trim_ascii() == etag.as_bytes());
    if !is_same {
        return Wanted::Whole;
    }
    part(range, length).unwrap_or(Wanted::Whole)
}

/// `If-None-Match`: any of the tags, compared weakly (§13.1.2).
fn has_already(headers: &HeaderMap, etag: &str) -> bool {
    headers
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag)
}

/// The one range of a header (§14.1.2); none where there are several, or what is no range of bytes.
fn part(range: &HeaderValue, length: u64) -> Option<Wanted> {
    let (unit, range) = range.to_str().ok()?.split_once('=')?;
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return None;
    }
    let (first, last) = range.trim().split_once('-')?;
    let (first, last) = match (number(first), number(last)) {
        // The last so many bytes.
        (None, Some(suffix)) if first.is_empty() => {
            if length == 0 {
                return None;
            }
            (length.saturating_sub(suffix), u64::MAX)
        }
        (Some(first), Some(last)) if first <= last => (first, last),
        (Some(first), None) if last.is_empty() => (first, u64::MAX),
        _ => return None,
    };
    if first >= length {
        return Some(Wanted::Unsatisfiable);
    }
    Some(Wanted::Part(first..last.saturating_add(1).min(length)))
}

/// Digits; a number too large for us is larger than any file.
fn number(text: &str) -> Option<u64> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ETAG: &str = "\"abc\"";

    fn ask(headers: &[(header::HeaderName, &str)], length: u64) -> Wanted {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(name, value.parse().unwrap());
        }
        wanted(&map, ETAG, length)
    }

    fn range(text: &str, length: u64) -> Wanted {
        ask(&[(header::RANGE, text)], length)
    }

    #[test]
    fn a_range_is_a_part() {
        for (text, part) in [
            ("bytes=0-0", 0..1),
            ("bytes=0-9", 0..10),
            ("bytes=3-5", 3..6),
            ("bytes=3-", 3..10),
            ("bytes=0-", 0..10),
            ("bytes=9-", 9..10),
            ("bytes=-1", 9..10),
            ("bytes=-10", 0..10),
            ("bytes=-11", 0..10),
            ("bytes=5-100", 5..10),
            ("bytes=5-99999999999999999999999999", 5..10),
            ("bytes=-99999999999999999999999999", 0..10),
            ("Bytes = 1-2", 1..3),
        ] {
            assert_eq!(range(text, 10), Wanted::Part(part), "{text}");
        }
    }

    #[test]
    fn a_range_behind_the_end_is_unsatisfiable() {
        for text in [
            "bytes=10-",
            "bytes=10-11",
            "bytes=99999999999999999999999-",
            "bytes=-0",
        ] {
            assert_eq!(range(text, 10), Wanted::Unsatisfiable, "{text}");
        }
        assert_eq!(range("bytes=0-", 0), Wanted::Unsatisfiable);
    }

    #[test]
    fn what_is_no_single_range_of_bytes_asks_for_the_whole() {
        for text in [
            "bytes=5-3",
            "bytes=",
            "bytes=-",
            "bytes=--1",
            "bytes=1",
            "bytes",
            "bytes=a-b",
            "bytes=+1-2",
            "bytes=1-2-3",
            "bytes=0x1-2",
            "lines=1-2",
            "=1-2",
            "bytes=0-1,3-4",
            "bytes=0-1, 20-",
            "bytes=-5,-3",
        ] {
            assert_eq!(range(text, 10), Wanted::Whole, "{text}");
        }
        assert_eq!(range("bytes=-5", 0), Wanted::Whole);
        assert_eq!(ask(&[], 10), Wanted::Whole);
        let twice = [(header::RANGE, "bytes=0-1"), (header::RANGE, "bytes=3-4")];
        assert_eq!(ask(&twice, 10), Wanted::Whole);
    }

    #[test]
    fn if_range_gives_a_part_of_the_same_file_only() {
        for (of, is_part) in [
            (ETAG, true),
            ("\"abd\"", false),
            ("W/\"abc\"", false),
            ("abc", false),
            ("Fri, 20 Nov 2026 10:00:00 GMT", false),
        ] {
            let asked = [(header::RANGE, "bytes=1-2"), (header::IF_RANGE, of)];
            let wanted = if is_part {
                Wanted::Part(1..3)
            } else {
                Wanted::Whole
            };
            assert_eq!(ask(&asked, 10), wanted, "{of}");
        }
    }

    #[test]
    fn what_a_client_has_it_does_not_get_again() {
        for (tags, has_it) in [
            (ETAG, true),
            ("W/\"abc\"", true),
            ("*", true),
            ("\"x\", \"abc\"", true),
            ("\"x\"", false),
            ("abc", false),
            ("", false),
        ] {
            let asked = [(header::IF_NONE_MATCH, tags), (header::RANGE, "bytes=1-2")];
            let wanted = if has_it {
                Wanted::Nothing
            } else {
                Wanted::Part(1..3)
            };
            assert_eq!(ask(&asked, 10), wanted, "{tags}");
        }
    }

    proptest! {
        #[test]
        fn a_part_is_within_the_file(text in "bytes=[0-9]{0,22}-[0-9]{0,22}", length: u64) {
            if let Wanted::Part(part) = range(&text, length) {
                prop_assert!(part.start < part.end && part.end <= length, "{text}: {part:?}");
            }
        }

        #[test]
        fn no_text_makes_it_panic(text in "[ -~]{0,40}", length: u64) {
            let _ = range(&text, length);
        }
    }
}
