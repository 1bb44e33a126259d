//! What was said of an answer, and those who hear it, each at a pace of their own.

use std::{fmt, num::ParseIntError, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};
use shared::models::message;
use tokio::sync::watch;

use super::tools::dto::ToolNote;

/// A place in an answer, which is also the id of the event that leads there: places grow with what is told.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub(super) struct At {
    /// Bytes of the answer before it.
    pub(super) bytes: usize,
    /// What tools did after these bytes and before it.
    pub(super) notes: u32,
}

/// Something that a tool did, with the place after it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Noted {
    pub(super) at: At,
    pub(super) note: ToolNote,
}

/// What was said so far, and how it ended.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// All of it.
    pub(super) text: String,
    /// Where each piece ends.
    pub(super) ends: Vec<usize>,
    /// What tools did, in the order of their places.
    pub(super) notes: Vec<Noted>,
    /// The message, once it is over.
    pub(super) end: Option<Arc<message::Model>>,
}

/// Hears an answer, from a place on.
pub(super) struct Listener {
    told: watch::Receiver<Told>,
    at: At,
}

/// Something that was heard.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Heard {
    /// More words, each piece with the bytes of the answer up to its end.
    More(Vec<(String, usize)>),
    /// What a tool does.
    Tool(Noted),
    /// There are no more.
    End(Arc<message::Model>),
    /// Whoever said it is gone: what became of it is stored.
    Gone,
}

impl From<usize> for At {
    /// After so many bytes.
    fn from(bytes: usize) -> Self {
        Self { bytes, notes: 0 }
    }
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.bytes.fmt(f)?;
        if self.notes > 0 {
            write!(f, ".{}", self.notes)?;
        }
        Ok(())
    }
}

impl FromStr for At {
    type Err = ParseIntError;

    fn from_str(text: &str) -> Result<Self, ParseIntError> {
        let (bytes, notes) = text.split_once('.').unwrap_or((text, "0"));
        Ok(Self {
            bytes: bytes.parse()?,
            notes: notes.parse()?,
        })
    }
}

impl Listener {
    /// Hears an answer, from a place on.
    pub(super) fn new(told: watch::Receiver<Told>, at: At) -> Self {
        Self { told, at }
    }

    /// Hears an answer that has ended, from a place on.
    pub(super) fn of(row: message::Model, at: At) -> Self {
        let text = row.content.text();
        let (_, told) = watch::channel(Told {
            ends: (!text.is_empty())
                .then_some(text.len())
                .into_iter()
                .collect(),
            text,
            notes: Vec::new(),
            end: Some(Arc::new(row)),
        });
        Self::new(told, at)
    }

    /// The place up to which it has heard.
    pub(super) fn at(&self) -> At {
        self.at
    }

    /// Waits for more, at most until the end.
    pub(super) async fn next(&mut self) -> Heard {
        loop {
            {
                let told = self.told.borrow_and_update();
                let note = told.note_after(self.at);
                let until = note.map_or(usize::MAX, |noted| noted.at.bytes);
                let more = told.between(self.at.bytes, until);
                if let Some((_, bytes)) = more.last() {
                    self.at = At::from(*bytes);
                    return Heard::More(more);
                }
                if let Some(noted) = note {
                    self.at = noted.at;
                    return Heard::Tool(noted.clone());
                }
                if let Some(row) = &told.end {
                    return Heard::End(row.clone());
                }
            }
            if self.told.changed().await.is_err() {
                // The last words may have come with the end.
                let told = self.told.borrow();
                let is_all = told.between(self.at.bytes, usize::MAX).is_empty()
                    && told.note_after(self.at).is_none()
                    && told.end.is_none();
                if is_all {
                    return Heard::Gone;
                }
            }
        }
    }
}

impl Told {
    /// The place up to which it is told.
    pub(super) fn at(&self) -> At {
        let bytes = self.text.len();
        let last = self.notes.last().filter(|last| last.at.bytes == bytes);
        At {
            bytes,
            notes: last.map_or(0, |last| last.at.notes),
        }
    }

    /// Tells what a tool does now.
    pub(super) fn note(&mut self, note: ToolNote) {
        let mut at = self.at();
        at.notes += 1;
        self.notes.push(Noted { at, note });
    }

    /// Tells what a tool did, as it was told elsewhere; whether that is news. What is said before it must be known: else it
    /// would come out of its place.
    pub(super) fn repeat(&mut self, noted: Noted) -> bool {
        let is_known = self.notes.last().is_some_and(|last| noted.at <= last.at);
        let is_news = !is_known && noted.at.bytes <= self.text.len();
        if is_news {
            self.notes.push(noted);
        }
        is_news
    }

    /// The first thing that a tool did after a place.
    fn note_after(&self, at: At) -> Option<&Noted> {
        let first = self.notes.partition_point(|noted| noted.at <= at);
        self.notes.get(first)
    }

    /// The pieces after some bytes and up to others, of which the first and the last may be cut.
    fn between(&self, after: usize, until: usize) -> Vec<(String, usize)> {
        let first = self.ends.partition_point(|end| *end <= after);
        let until = self.text.floor_char_boundary(until.min(self.text.len()));
        let mut from = self.text.floor_char_boundary(after.min(self.text.len()));
        let mut pieces = Vec::new();
        for end in &self.ends[first..] {
            let end = until.min(*end);
            if end <= from.max(after) {
                break;
            }
            pieces.push((self.text[from..end].to_owned(), end));
            from = end;
        }
        pieces
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(id: &str) -> ToolNote {
        ToolNote::Started {
            call_id: id.to_owned(),
            name: "weather".to_owned(),
            arguments: "{}".to_owned(),
        }
    }

    #[test]
    fn places_grow_and_are_read_as_they_are_written() {
        let places = ["0", "0.1", "0.2", "5", "5.1", "5.10", "6"];
        let read: Vec<At> = places.iter().map(|text| text.parse().unwrap()).collect();
        assert!(read.is_sorted_by(|one, other| one < other));
        let written: Vec<String> = read.iter().map(At::to_string).collect();
        assert_eq!(written, places);
        for bad in ["", ".", "x", "1.", ".1", "1.x", "-1", "1.2.3", "1,2"] {
            assert!(bad.parse::<At>().is_err(), "{bad}");
        }
    }

    #[tokio::test]
    async fn what_tools_do_is_heard_in_its_place_and_once() {
        let (sender, _) = watch::channel(Told::default());
        let say = |text: &str| {
            sender.send_modify(|told| {
                told.text.push_str(text);
                told.ends.push(told.text.len());
            });
        };
        sender.send_modify(|told| told.note(note("a")));
        say("one");
        sender.send_modify(|told| told.note(note("b")));
        sender.send_modify(|told| told.note(note("c")));
        say(" two");
        let places = ["0.1", "3", "3.1", "3.2", "7"];
        for begun in 0..places.len() {
            let at = begun.checked_sub(1).map_or("0", |last| places[last]);
            let mut listener = Listener::new(sender.subscribe(), at.parse().unwrap());
            for place in &places[begun..] {
                let heard = listener.next().await;
                let is_tool = matches!(heard, Heard::Tool(_));
                assert_eq!(is_tool, place.contains('.'), "{at}: {heard:?}");
                assert_eq!(listener.at().to_string(), *place);
            }
        }
    }

    #[tokio::test]
    async fn what_is_repeated_late_parts_what_comes_in_one_piece() {
        let (sender, receiver) = watch::channel(Told::default());
        sender.send_modify(|told| {
            told.text.push_str("one two");
            told.ends.push(7);
        });
        let noted = |bytes, notes| Noted {
            at: At { bytes, notes },
            note: note("a"),
        };
        let repeat = |noted: Noted| {
            let mut is_news = false;
            sender.send_modify(|told| is_news = told.repeat(noted));
            is_news
        };
        assert!(repeat(noted(3, 1)));
        assert!(!repeat(noted(3, 1)), "it is known");
        assert!(!repeat(noted(9, 1)), "what comes before it is not");
        let mut listener = Listener::new(receiver, At::default());
        assert_eq!(listener.next().await, Heard::More(vec![("one".into(), 3)]));
        assert_eq!(listener.next().await, Heard::Tool(noted(3, 1)));
        assert_eq!(listener.next().await, Heard::More(vec![(" two".into(), 7)]));
        // Who has heard more by then does not go back.
        let mut late = Listener::new(sender.subscribe(), At::from(4));
        assert_eq!(late.next().await, Heard::More(vec![("two".into(), 7)]));
    }
}
