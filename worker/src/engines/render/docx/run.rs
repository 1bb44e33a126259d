//! Pieces of a line, as runs.

use std::fmt::Write as _;

use crate::engines::render::markup::is_rtl_letter;

/// How a run looks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a property of its own"
)]
pub(super) struct Look {
    pub(super) bold: bool,
    pub(super) italic: bool,
    pub(super) struck: bool,
    pub(super) code: bool,
    pub(super) link: bool,
}

/// Adds a text. Word wants to be told of each run whether it goes from right to left; all else it sees by itself.
pub(super) fn add(xml: &mut String, text: &str, look: Look) {
    for (rtl, part) in directions(text) {
        xml.push_str("<w:r>");
        add_properties(xml, look, rtl);
        for piece in part.split_inclusive(['\n', '\t']) {
            let (words, mark) = match piece.as_bytes().last() {
                Some(b'\n') => (&piece[..piece.len() - 1], "<w:br/>"),
                Some(b'\t') => (&piece[..piece.len() - 1], "<w:tab/>"),
                _ => (piece, ""),
            };
            if !words.is_empty() {
                let words = escaped(words);
                let _ = write!(xml, "<w:t xml:space=\"preserve\">{words}</w:t>");
            }
            xml.push_str(mark);
        }
        xml.push_str("</w:r>");
    }
}

/// In the order of the schema (ECMA-376 part 1, 17.3.2.28).
fn add_properties(xml: &mut String, look: Look, rtl: bool) {
    let properties = [
        (look.code, "<w:rStyle w:val=\"CodeCharacter\"/>"),
        (look.link && !look.code, "<w:rStyle w:val=\"Hyperlink\"/>"),
        (look.bold, "<w:b/><w:bCs/>"),
        (look.italic, "<w:i/><w:iCs/>"),
        (look.struck, "<w:strike/>"),
        (rtl, "<w:rtl/>"),
    ];
    if properties.iter().all(|(is_set, _)| !is_set) {
        return;
    }
    xml.push_str("<w:rPr>");
    for (_, property) in properties.iter().filter(|(is_set, _)| *is_set) {
        xml.push_str(property);
    }
    xml.push_str("</w:rPr>");
}

/// Cuts a text where its direction changes; what has none goes with what is before it.
fn directions(text: &str) -> Vec<(bool, &str)> {
    let mut parts = Vec::new();
    let (mut start, mut current) = (0, None);
    for (at, letter) in text
        .char_indices()
        .filter(|(_, letter)| letter.is_alphabetic())
    {
        let rtl = is_rtl_letter(letter);
        match current {
            Some(before) if before != rtl => {
                parts.push((before, &text[start..at]));
                (start, current) = (at, Some(rtl));
            }
            _ => current = Some(rtl),
        }
    }
    if start < text.len() {
        parts.push((current.unwrap_or(false), &text[start..]));
    }
    parts
}

/// A text in XML 1.0, without what may not stand there at all (2.2).
pub(super) fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\t' | '\n' | '\r' => escaped.push(letter),
            '\0'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => {}
            letter => escaped.push(letter),
        }
    }
    escaped
}
