//! What a file is called, as its part of the form says.

use axum::http::{HeaderMap, header};

use crate::error::{Error, Result};

/// Longest file name kept, in characters.
const FILE_NAME_MAX: usize = 255;
/// What a file is called without a name.
const NAMELESS: &str = "file";

/// The name without any folders, as browsers send it or worse: of `filename*` where it can be read, else `plain`, which
/// is that of `filename`.
///
/// # Errors
/// When it has U+0000 in it.
pub(super) fn file_name(part: &HeaderMap, plain: Option<&str>) -> Result<String> {
    let disposition = part.get(header::CONTENT_DISPOSITION);
    let extended = disposition.and_then(|value| extended(value.as_bytes()));
    clean(extended.as_deref().or(plain).unwrap_or(NAMELESS))
}

fn clean(text: &str) -> Result<String> {
    if text.contains('\0') {
        return Err(Error::field("/file", "must not have U+0000 in its name"));
    }
    let name = text.rsplit(['/', '\\']).next().unwrap_or_default();
    let name: String = name
        .chars()
        .filter(|c| !c.is_control())
        .take(FILE_NAME_MAX)
        .collect();
    Ok(if name.trim().is_empty() {
        NAMELESS.to_owned()
    } else {
        name
    })
}

/// The value of `filename*=UTF-8'…'…` (RFC 8187). RFC 7578 (§4.2) wants none in forms, and many clients send one.
fn extended(disposition: &[u8]) -> Option<String> {
    let value = parameters(disposition).find_map(|parameter| {
        let (name, value) = parameter.split_at(parameter.iter().position(|&byte| byte == b'=')?);
        name.trim_ascii()
            .eq_ignore_ascii_case(b"filename*")
            .then(|| value[1..].trim_ascii())
    })?;
    let mut parts = value.splitn(3, |&byte| byte == b'\'');
    let (charset, _language, text) = (parts.next()?, parts.next()?, parts.next()?);
    charset
        .eq_ignore_ascii_case(b"utf-8")
        .then(|| percent_decoded(text))?
}

/// The parts between semicolons that are in no quotes.
fn parameters(disposition: &[u8]) -> impl Iterator<Item = &[u8]> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    disposition.split(move |&byte| {
        let ends = byte == b';' && !is_quoted;
        is_quoted ^= byte == b'"' && !is_escaped;
        is_escaped = byte == b'\\' && is_quoted && !is_escaped;
        ends
    })
}

fn percent_decoded(mut text: &[u8]) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    while let Some((&first, rest)) = text.split_first() {
        if first == b'%' {
            let (digits, rest) = rest.split_at_checked(2)?;
            bytes.push(hex::decode(digits).ok()?[0]);
            text = rest;
        } else {
            bytes.push(first);
            text = rest;
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_lose_their_folders_and_controls() {
        assert_eq!(clean("../../etc/passwd").unwrap(), "passwd");
        assert_eq!(clean("C:\\photos\\a\nb.png").unwrap(), "ab.png");
        assert_eq!(clean("  ").unwrap(), "file");
        assert_eq!(clean("चित्र.png").unwrap(), "चित्र.png");
        assert!(clean("a\0b").is_err());
    }

    fn named(disposition: &str) -> Result<String> {
        let value = HeaderValue::from_bytes(disposition.as_bytes()).unwrap();
        let headers = HeaderMap::from_iter([(header::CONTENT_DISPOSITION, value)]);
        file_name(&headers, Some("plain.png"))
    }

    #[test]
    fn the_extended_name_goes_first() {
        for (disposition, name) in [
            (
                "form-data; name=\"file\"; filename=\"x\"; filename*=UTF-8''%E0%A4%9C%20a.png",
                "ज a.png",
            ),
            ("form-data; FileName* = utf-8'hi'a.png ; name=file", "a.png"),
            ("form-data; filename*=UTF-8''..%2F..%2Fb.png", "b.png"),
            // None that can be read.
            ("form-data; filename*=ISO-8859-1''%E4.png", "plain.png"),
            ("form-data; filename*=UTF-8''%E4.png", "plain.png"),
            ("form-data; filename*=UTF-8''%4", "plain.png"),
            ("form-data; filename*=a.png", "plain.png"),
            // Part of another value.
            (
                "form-data; filename=\"a; \\\"filename*=UTF-8''b.png\"",
                "plain.png",
            ),
        ] {
            assert_eq!(named(disposition).unwrap(), name, "{disposition}");
        }
        assert!(named("form-data; filename*=UTF-8''a%00b").is_err());
        assert_eq!(file_name(&HeaderMap::new(), None).unwrap(), "file");
    }

    proptest! {
        #[test]
        fn any_name_comes_through(name in "[^\\x00-\\x1f\\x7f-\\x9f/\\\\]{1,80}") {
            prop_assume!(!name.trim().is_empty());
            let encoded: Vec<String> = name.bytes().map(|byte| format!("%{byte:02x}")).collect();
            let encoded = encoded.concat();
            let disposition = format!("form-data; filename*=UTF-8''{encoded}");
            prop_assert_eq!(named(&disposition).unwrap(), name);
        }
    }
}
