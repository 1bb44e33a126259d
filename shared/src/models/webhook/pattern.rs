//! Which events an endpoint wants: their names, all of a group (`attachment.*`), or all (`*`).

use std::collections::BTreeSet;

use crate::{catalogue, events};

/// All events.
pub const ALL: &str = "*";

/// Whether one of the patterns wants an event.
pub fn wants(patterns: &[String], name: &str) -> bool {
    patterns.iter().any(|pattern| {
        let group = group_of(pattern);
        pattern == ALL || pattern == name || group.is_some_and(|group| name.starts_with(group))
    })
}

/// What the names of a group begin with, its point included, where the pattern is one of a group.
pub fn group_of(pattern: &str) -> Option<&str> {
    pattern
        .strip_suffix('*')
        .filter(|group| group.ends_with('.'))
}

/// Every pattern that wants an event.
pub(super) fn wanting(name: &str) -> Vec<String> {
    let groups = name
        .match_indices('.')
        .map(|(end, _)| format!("{}.*", &name[..end]));
    [ALL.to_owned(), name.to_owned()]
        .into_iter()
        .chain(groups)
        .collect()
}

/// Every pattern that wants anything: all names, then all groups, then `*`.
pub fn known() -> Vec<String> {
    let names = events::NAMES.iter().map(|&name| name.to_owned());
    let groups: BTreeSet<String> = events::NAMES
        .iter()
        .filter_map(|name| name.rsplit_once('.'))
        .map(|(group, _)| format!("{group}.*"))
        .collect();
    names.chain(groups).chain([ALL.to_owned()]).collect()
}

/// Patterns that somebody may have meant by `text`, nearest first.
pub fn near(text: &str) -> Vec<String> {
    let known = known();
    let near = catalogue::near(text, known.iter().map(String::as_str));
    near.into_iter()
        .filter(|&pattern| pattern != ALL)
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn want(pattern: &str, name: &str) -> bool {
        wants(&[pattern.to_owned()], name)
    }

    #[test]
    fn a_pattern_is_a_name_a_group_or_all() {
        assert!(want("attachment.deleted", "attachment.deleted"));
        assert!(want("attachment.*", "attachment.deleted"));
        assert!(want("*", "attachment.deleted"));
        for pattern in [
            "attachment",
            "attachment.",
            "attachment*",
            "attach.*",
            "attachment.d*",
            ".*",
            "",
            "message.*",
        ] {
            assert!(!want(pattern, "attachment.deleted"), "{pattern}");
        }
        assert!(!wants(&[], "attachment.deleted"));
    }

    #[test]
    fn what_wants_an_event_is_what_is_looked_for() {
        let known = known();
        for name in events::NAMES {
            let wanting = wanting(name);
            for pattern in &known {
                assert_eq!(
                    wanting.contains(pattern),
                    want(pattern, name),
                    "{pattern}, {name}"
                );
            }
        }
    }

    #[test]
    fn a_slip_is_told_what_was_meant() {
        assert_eq!(near("attachment.delete")[0], "attachment.deleted");
        assert_eq!(near("Message.Created")[0], "message.created");
        assert_eq!(near("mesage.*")[0], "message.*");
        assert!(near("something.else.entirely").is_empty());
        assert!(near(&"x".repeat(10_000)).is_empty());
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text: String) {
            let _ = (want(&text, "message.created"), near(&text), wanting(&text));
        }
    }
}
