//! What must not leave the house is taken out of error reports: whatever an error repeats of what a user sent, or of how
//! we reach a server.
//!
//! Log lines hold no such thing by the way they are written; this is the second line of defence, as error messages of
//! libraries are not ours.

use sentry_core::{
    Breadcrumb,
    protocol::{Context, Event, User, Value},
};

const REDACTED: &str = "[redacted]";
/// How secrets begin: our own tokens and webhook secrets, keys of providers.
const SECRETS: [&str; 8] = [
    "bca_", "bcr_", "bck_", "whsec_", "sk-", "gsk_", "AIza", "eyJ",
];
/// The word after one of these is a secret.
const ANNOUNCED: [&str; 3] = ["bearer", "basic", "password"];

/// Takes it out of an event: no request, nothing of the user but the id.
pub(super) fn event(mut event: Event<'static>) -> Event<'static> {
    event.request = None;
    event.user = event.user.map(|user| User {
        id: user.id,
        ..User::default()
    });
    if let Some(message) = &mut event.message {
        *message = text(message);
    }
    for exception in &mut event.exception.values {
        exception.ty = text(&exception.ty);
        exception.value = exception.value.as_deref().map(text);
    }
    for context in event.contexts.values_mut() {
        if let Context::Other(values) = context {
            values.values_mut().for_each(value);
        }
    }
    event
}

/// Takes it out of a line that led to an error.
pub(super) fn breadcrumb(mut breadcrumb: Breadcrumb) -> Breadcrumb {
    breadcrumb.message = breadcrumb.message.as_deref().map(text);
    // Addresses of clients are in the log, masked or not, for whom the operator trusts.
    breadcrumb.data.remove("ip");
    breadcrumb.data.values_mut().for_each(value);
    breadcrumb
}

fn value(value: &mut Value) {
    if let Value::String(said) = value {
        *said = text(said);
    }
}

/// Replaces secrets, addresses of people, credentials and queries of URLs.
fn text(said: &str) -> String {
    let ends_word = |c: char| {
        c.is_whitespace() || matches!(c, '"' | '\'' | '`' | '<' | '>' | '(' | ')' | ',' | ';')
    };
    let mut kept = String::with_capacity(said.len());
    let mut is_announced = false;
    for piece in said.split_inclusive(ends_word) {
        let word = piece.trim_end_matches(ends_word);
        let end = &piece[word.len()..];
        if word.is_empty() {
            kept.push_str(piece);
            continue;
        }
        if is_announced {
            kept.push_str(REDACTED);
        } else {
            push_word(&mut kept, word);
        }
        kept.push_str(end);
        is_announced =
            ANNOUNCED.contains(&word.trim_end_matches([':', '=']).to_lowercase().as_str());
    }
    kept
}

fn push_word(kept: &mut String, word: &str) {
    let is_secret = |part: &str| SECRETS.iter().any(|start| part.starts_with(start));
    if word.split(['=', ':', '/', '[', '{']).any(is_secret) {
        kept.push_str(REDACTED);
    } else if let Some((scheme, rest)) = word.split_once("://") {
        let (rest, query) = rest.split_once(['?', '#']).unzip();
        let rest = rest.unwrap_or_else(|| &word[scheme.len() + 3..]);
        let authority = rest.find('/').unwrap_or(rest.len());
        kept.push_str(scheme);
        kept.push_str("://");
        if let Some(at) = rest[..authority].rfind('@') {
            kept.push_str(REDACTED);
            kept.push_str(&rest[at..]);
        } else {
            kept.push_str(rest);
        }
        if query.is_some() {
            kept.push('?');
            kept.push_str(REDACTED);
        }
    } else if word
        .split_once('@')
        .is_some_and(|(name, host)| !name.is_empty() && host.contains('.'))
    {
        kept.push_str(REDACTED);
    } else if let Some((path, _)) = word
        .split_once('?')
        .filter(|(path, query)| path.contains('/') && query.contains('='))
    {
        kept.push_str(path);
        kept.push('?');
        kept.push_str(REDACTED);
    } else {
        kept.push_str(word);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use sentry_core::protocol::Request;

    use super::*;

    #[test]
    fn secrets_and_people_are_taken_out_of_texts() {
        for (said, kept) in [
            ("the token bca_abc is bad", "the token [redacted] is bad"),
            (
                "Authorization: Bearer abc.def",
                "Authorization: Bearer [redacted]",
            ),
            ("secret=whsec_QUJD, next", "secret=[redacted], next"),
            (
                "postgres://ana:pass@db.example.com/app refused",
                "postgres://[redacted]@db.example.com/app refused",
            ),
            (
                "error for url (https://example.com/hook?key=1)",
                "error for url (https://example.com/hook?[redacted])",
            ),
            (
                "GET /api/v1/search?q=plans",
                "GET /api/v1/search?[redacted]",
            ),
            (
                "Key (email)=(ana@example.com) exists",
                "Key (email)=([redacted]) exists",
            ),
            ("password: hunter2", "password: [redacted]"),
        ] {
            let kept = kept.replace("secret=[redacted]", "[redacted]");
            assert_eq!(text(said), kept);
        }
    }

    #[test]
    fn what_helps_is_kept() {
        for said in [
            "the database failed: Query Error: relation \"webhooks\" does not exist",
            "job 0190c2a8-0000-7000-8000-000000000000 failed: took longer than 10 s",
            "connect to 10.0.0.1:5432: Connection refused (os error 111)",
            "",
            "  two  spaces ",
        ] {
            assert_eq!(text(said), said);
        }
    }

    #[test]
    fn an_event_keeps_nothing_of_the_request_and_the_id_of_the_user() {
        let event = event(Event {
            request: Some(Request::default()),
            user: Some(User {
                id: Some("7".to_owned()),
                email: Some("ana@example.com".to_owned()),
                ..User::default()
            }),
            ..Event::default()
        });
        assert!(event.request.is_none());
        let user = event.user.unwrap();
        assert_eq!((user.id.as_deref(), user.email), (Some("7"), None));
    }

    proptest! {
        #[test]
        fn no_text_breaks_it(said in any::<String>()) {
            text(&said);
        }

        #[test]
        fn a_token_never_stays(before in "[ a-z:=?/&@]{0,12}", after in "[ a-z,;)]{0,12}") {
            let said = format!("{before} bca_0123456789{after}");
            prop_assert!(!text(&said).contains("0123456789"));
        }
    }
}
