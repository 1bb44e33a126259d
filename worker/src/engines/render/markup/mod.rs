//! Markdown as messages are written in it, read into blocks that are shallow, and small enough to be laid out.
//!
//! Nothing of a message is refused: what is nested too deeply is laid flat, HTML is shown as it is written, and pictures
//! from elsewhere become links, as nothing is fetched.

mod build;
mod cut;
#[cfg(test)]
mod tests;

use pulldown_cmark::Options;
use serde::Serialize;

pub(super) use self::{build::parse, cut::pieces};

/// What of Markdown is understood: what chat apps show.
pub(super) const OPTIONS: Options = Options::ENABLE_TABLES
    .union(Options::ENABLE_STRIKETHROUGH)
    .union(Options::ENABLE_TASKLISTS);

/// How deeply blocks and their texts are nested. Typst reads JSON of 128 levels, of which each of ours takes two or three.
pub(super) const MAX_DEPTH: usize = 20;

/// Longest address of a link, in bytes; Typst takes 8,000. A longer one is shown as text.
const MAX_URL_BYTES: usize = 2_000;

/// A piece of a text that stands by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "t", rename_all = "lowercase")]
pub(super) enum Block {
    /// A paragraph.
    Par {
        /// It runs from right to left.
        rtl: bool,
        /// What it says.
        c: Vec<Inline>,
    },
    /// A heading, 1 to 6.
    Heading {
        level: u8,
        rtl: bool,
        c: Vec<Inline>,
    },
    /// Lines of code.
    Code { lang: Option<String>, s: String },
    /// A list, numbered from `start` where it is.
    List {
        start: Option<u64>,
        rtl: bool,
        items: Vec<Vec<Block>>,
    },
    /// Somebody else's words.
    Quote { b: Vec<Block> },
    /// A table; its first row is its head.
    Table {
        align: Vec<Align>,
        rtl: bool,
        rows: Vec<Vec<Vec<Inline>>>,
    },
    /// A line across.
    Rule,
}

/// Where the text of a column stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Align {
    Start,
    Left,
    Center,
    Right,
}

/// A piece of a line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "t", rename_all = "lowercase")]
pub(super) enum Inline {
    Text { s: String },
    Strong { c: Vec<Inline> },
    Emph { c: Vec<Inline> },
    Strike { c: Vec<Inline> },
    Code { s: String },
    Link { url: String, c: Vec<Inline> },
    Break,
}

/// The address of a link, if it is one that does nothing but lead somewhere.
pub(super) fn safe_url(url: &str) -> Option<&str> {
    let scheme = url.split_once(':')?.0;
    let is_known = ["http", "https", "mailto"]
        .iter()
        .any(|known| scheme.eq_ignore_ascii_case(known));
    let is_plain = !url
        .chars()
        .any(|letter| letter.is_control() || letter == ' ');
    (is_known && is_plain && url.len() <= MAX_URL_BYTES).then_some(url)
}

/// Whether a text runs from right to left: its first letter that has a direction says so (Unicode Annex 9, rule P2).
pub(super) fn is_rtl(text: &str) -> bool {
    text.chars()
        .find(|letter| letter.is_alphabetic())
        .is_some_and(is_rtl_letter)
}

/// Whether a letter is written from right to left: Hebrew, Arabic, Syriac, Thaana, N'Ko and their kin; presentation forms;
/// Adlam and others.
pub(super) fn is_rtl_letter(letter: char) -> bool {
    matches!(letter,
        '\u{590}'..='\u{8ff}' | '\u{fb1d}'..='\u{fdff}' | '\u{fe70}'..='\u{feff}'
            | '\u{10800}'..='\u{10fff}' | '\u{1e800}'..='\u{1efff}')
}

/// The text of a piece of a line, without its form.
pub(super) fn plain(inlines: &[Inline]) -> String {
    let mut text = String::new();
    add_plain(inlines, &mut text);
    text
}

fn add_plain(inlines: &[Inline], text: &mut String) {
    for inline in inlines {
        match inline {
            Inline::Text { s } | Inline::Code { s } => text.push_str(s),
            Inline::Strong { c }
            | Inline::Emph { c }
            | Inline::Strike { c }
            | Inline::Link { c, .. } => add_plain(c, text),
            Inline::Break => text.push('\n'),
        }
    }
}
