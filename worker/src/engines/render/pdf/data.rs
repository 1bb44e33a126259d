//! What the template is given, as JSON.

use chrono::{DateTime, Datelike as _, Timelike as _, Utc};
use serde::Serialize;
use unicode_segmentation::UnicodeSegmentation as _;

use crate::engines::render::{
    markup::{Block, Inline, is_rtl},
    pictures::Picture,
    source::{Head, Shown, shown_time},
};

/// Longest picture on a page, in points: the width between the margins of A4, and most of its height.
const MAX_WIDTH: f64 = 480.0;
const MAX_HEIGHT: f64 = 600.0;
/// Pixels of a picture on an inch of paper, unless it is too large; and points of an inch.
const RESOLUTION: f64 = 144.0;
const POINTS: f64 = 72.0;

/// Most letters of a title in the head of each page.
const HEADER_LETTERS: usize = 80;

/// A run without a place to break is given some after so many characters: a line of code holds 94.
const MAX_RUN: usize = 88;
/// Most code points of one character on the page: twice of what Unicode holds to be more than any language needs (Annex
/// 15, Stream-Safe Text Format).
const MAX_CLUSTER: usize = 64;

/// Longest block of code whose parts are coloured, and longest line of it, in bytes.
const MAX_COLOURED_BYTES: usize = 64 << 10;
const MAX_COLOURED_LINE: usize = 4 << 10;

/// One part of the document.
#[derive(Debug, Serialize)]
pub(super) struct Data<'a> {
    /// `whole` has everything, `first` has the title, `more` goes on, and `numbers` has nothing but numbers of pages.
    kind: &'static str,
    title: &'a str,
    header: String,
    rtl: bool,
    date: Date,
    /// What is known of the conversation, line by line.
    lines: Vec<String>,
    /// What the model is told first.
    pub(super) prompt: Vec<Block>,
    pub(super) numbers: Option<Numbers>,
    pub(super) messages: Vec<Said>,
}

/// Pages with nothing but their numbers.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Numbers {
    pub(super) first: usize,
    pub(super) last: usize,
    pub(super) total: usize,
}

#[derive(Debug, Clone, Copy, Serialize)]
struct Date {
    year: i32,
    month: u32,
    day: u32,
    hour: u32,
    minute: u32,
    second: u32,
}

/// A message, or what goes on of one.
#[derive(Debug, Serialize)]
pub(super) struct Said {
    /// The first one of a day says so.
    pub(super) day: Option<String>,
    /// Who speaks; none where it goes on.
    pub(super) name: Option<String>,
    pub(super) role: String,
    pub(super) time: String,
    pub(super) blocks: Vec<Part>,
}

/// A piece of a message.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum Part {
    Block(Block),
    File(File),
}

/// What was shown.
#[derive(Debug, Serialize)]
pub(super) struct File {
    t: &'static str,
    line: String,
    rtl: bool,
    picture: Option<Placed>,
}

/// A picture on the page.
#[derive(Debug, Serialize)]
struct Placed {
    path: String,
    width: f64,
}

impl<'a> Data<'a> {
    pub(super) fn new(head: &'a Head, kind: &'static str) -> Self {
        let at = head.exported_at;
        let title = head.title();
        let mut header: String = title.chars().take(HEADER_LETTERS).collect();
        if header.len() < title.len() {
            header.push('…');
        }
        Self {
            kind,
            title,
            header,
            rtl: is_rtl(title),
            date: Date::from(at),
            lines: lines(head),
            prompt: Vec::new(),
            numbers: None,
            messages: Vec::new(),
        }
    }
}

impl From<DateTime<Utc>> for Date {
    fn from(at: DateTime<Utc>) -> Self {
        Self {
            year: at.year(),
            month: at.month(),
            day: at.day(),
            hour: at.hour(),
            minute: at.minute(),
            second: at.second(),
        }
    }
}

fn lines(head: &Head) -> Vec<String> {
    let conversation = &head.conversation;
    let mut lines = vec![format!(
        "Begun {} · Exported {}",
        shown_time(conversation.created_at),
        shown_time(head.exported_at)
    )];
    if let Some(model) = &conversation.model {
        lines.push(format!("Model: {model}"));
    }
    if !conversation.tags.is_empty() {
        lines.push(format!("Tags: {}", conversation.tags.join(", ")));
    }
    lines
}

impl File {
    /// `picture` is the one to be shown, and its path for the template.
    pub(super) fn new(shown: &Shown, picture: Option<(&Picture, String)>) -> Self {
        let line = shown.line();
        Self {
            t: "file",
            rtl: is_rtl(&line),
            line: breakable(&line),
            picture: picture.map(|(picture, path)| Placed {
                path,
                width: width(picture),
            }),
        }
    }
}

/// On the page, in points.
fn width(picture: &Picture) -> f64 {
    let (width, height) = (f64::from(picture.width), f64::from(picture.height));
    let natural = width * POINTS / RESOLUTION;
    natural.min(MAX_WIDTH).min(MAX_HEIGHT * width / height)
}

/// Makes a block fit for the page: long runs get places to break, and code that would take too long to colour is not.
/// `coloured` is what may still be coloured, in bytes.
pub(super) fn fit(block: &mut Block, coloured: &mut usize) {
    match block {
        Block::Par { c, .. } | Block::Heading { c, .. } => fit_all(c),
        Block::Code { lang, s } => {
            let is_small = s.len() <= MAX_COLOURED_BYTES.min(*coloured)
                && s.lines().all(|line| line.len() <= MAX_COLOURED_LINE);
            if is_small {
                *coloured -= s.len();
            } else {
                *lang = None;
            }
            *s = breakable(s.trim_end_matches('\n'));
        }
        Block::List { items, .. } => {
            for block in items.iter_mut().flatten() {
                fit(block, coloured);
            }
        }
        Block::Quote { b } => {
            for block in b {
                fit(block, coloured);
            }
        }
        Block::Table { rows, .. } => {
            for cell in rows.iter_mut().flatten() {
                fit_all(cell);
            }
        }
        Block::Rule => {}
    }
}

fn fit_all(inlines: &mut [Inline]) {
    for inline in inlines {
        match inline {
            Inline::Text { s } | Inline::Code { s } => *s = breakable(s),
            Inline::Strong { c }
            | Inline::Emph { c }
            | Inline::Strike { c }
            | Inline::Link { c, .. } => fit_all(c),
            Inline::Break => {}
        }
    }
}

/// With places to break (U+200B) in runs of ASCII that have none; other scripts are broken by Typst, as their rules say.
/// Of a character of hundreds of marks, the first ones are shown: each looks for what it stands on, past all others, and no
/// line would ever be full of them.
fn breakable(text: &str) -> String {
    let mut broken = String::with_capacity(text.len());
    let mut run = 0;
    for cluster in text.graphemes(true) {
        if cluster.is_ascii() && !cluster.trim().is_empty() {
            if run == MAX_RUN {
                broken.push('\u{200b}');
                run = 0;
            }
            run += 1;
            broken.push_str(cluster);
            continue;
        }
        run = 0;
        match cluster.char_indices().nth(MAX_CLUSTER) {
            Some((end, _)) => {
                broken.push_str(&cluster[..end]);
                broken.push('…');
            }
            None => broken.push_str(cluster),
        }
    }
    broken
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_runs_can_be_broken_and_words_are_left_alone() {
        for text in ["", "some words", "नमस्ते दुनिया", &"a".repeat(MAX_RUN)]
        {
            assert_eq!(breakable(text), *text);
        }
        let long = "a".repeat(3 * MAX_RUN);
        let broken = breakable(&long);
        assert_eq!(broken.matches('\u{200b}').count(), 2);
        assert_eq!(broken.replace('\u{200b}', ""), long);
    }

    #[test]
    fn of_a_thousand_marks_on_a_character_some_are_shown() {
        let family = "👨\u{200d}👩\u{200d}👧\u{200d}👦";
        assert_eq!(breakable(family), family);
        for (base, marks) in [
            ("a", "\u{301}"),
            ("क", "\u{94d}\u{915}"),
            ("👦", "\u{200d}👦"),
        ] {
            let long = format!("{base}{} after", marks.repeat(1_000));
            let shown = breakable(&long);
            assert!(shown.ends_with("… after"), "{shown}");
            assert_eq!(
                shown.chars().count(),
                MAX_CLUSTER + "… after".chars().count()
            );
        }
    }

    #[test]
    fn pictures_fit_on_the_page() {
        for (width, height, shown) in [
            (200, 100, 100.0),
            (1_600, 1_200, MAX_WIDTH),
            (800, 1_600, 300.0),
            (1, 1_600, 0.0),
        ] {
            let path = "0.jpg".into();
            let picture = Picture {
                path,
                width,
                height,
            };
            let width = self::width(&picture);
            assert!((width - shown).abs() < 1.0, "{width}");
        }
    }

    #[test]
    fn code_that_takes_long_is_not_coloured() {
        let code = |s: String| Block::Code {
            lang: Some("rust".to_owned()),
            s,
        };
        let lang = |s: String, coloured: &mut usize| {
            let mut block = code(s);
            fit(&mut block, coloured);
            let Block::Code { lang, .. } = block else {
                panic!("it is code")
            };
            lang.is_some()
        };
        let mut coloured = 100 << 10;
        assert!(lang("fn main() {}\n".repeat(4_000), &mut coloured));
        assert!(!lang("fn main() {}\n".repeat(4_000), &mut coloured));
        assert!(lang("fn main() {}\n".to_owned(), &mut coloured));
        assert!(!lang("x".repeat(MAX_COLOURED_LINE + 1), &mut (1 << 20)));
        assert!(!lang("x\n".repeat(MAX_COLOURED_BYTES), &mut (1 << 20)));
    }
}
