//! What was said of an answer, and those who hear it, each at a pace of their own.

use std::sync::Arc;

use shared::models::message;
use tokio::sync::watch;

use super::tools::dto::ToolNote;

/// What was said so far, and how it ended.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// All of it.
    pub(super) text: String,
    /// Where each piece ends.
    pub(super) ends: Vec<usize>,
    /// What tools did, each with the position at which it was.
    pub(super) notes: Vec<(usize, ToolNote)>,
    /// The message, once it is over.
    pub(super) end: Option<Arc<message::Model>>,
}

/// Hears an answer, from a position on.
pub(super) struct Listener {
    pub(super) told: watch::Receiver<Told>,
    pub(super) at: usize,
    /// Notes that were heard.
    noted: usize,
}

/// Something that was heard.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Heard {
    /// More words, each piece with the position after it.
    More(Vec<(String, usize)>),
    /// What a tool does.
    Tool(ToolNote),
    /// There are no more.
    End(Arc<message::Model>),
    /// Whoever said it is gone: what became of it is stored.
    Gone,
}

impl Listener {
    /// Hears an answer, from a position on.
    pub(super) fn new(told: watch::Receiver<Told>, at: usize) -> Self {
        Self { told, at, noted: 0 }
    }

    /// Hears an answer that has ended, from a position on.
    pub(super) fn of(row: message::Model, at: usize) -> Self {
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

    /// The position up to which it has heard.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// Waits for more, at most until the end.
    pub(super) async fn next(&mut self) -> Heard {
        loop {
            {
                let told = self.told.borrow_and_update();
                // What was before the position is not told again.
                let is_past = |(at, _): &(usize, ToolNote)| *at < self.at;
                while told.notes.get(self.noted).is_some_and(is_past) {
                    self.noted += 1;
                }
                let note = told.notes.get(self.noted);
                let more = told.between(self.at, note.map_or(usize::MAX, |(at, _)| *at));
                if let Some((_, at)) = more.last() {
                    self.at = *at;
                    return Heard::More(more);
                }
                if let Some((_, note)) = note {
                    self.noted += 1;
                    return Heard::Tool(note.clone());
                }
                if let Some(row) = &told.end {
                    return Heard::End(row.clone());
                }
            }
            if self.told.changed().await.is_err() {
                // The last words may have come with the end.
                let told = self.told.borrow();
                let is_all = told.between(self.at, usize::MAX).is_empty()
                    && told.notes.len() <= self.noted
                    && told.end.is_none();
                if is_all {
                    return Heard::Gone;
                }
            }
        }
    }
}

impl Told {
    /// The pieces after a position, of which the first may be cut, and up to another one, at which a piece ends.
    fn between(&self, at: usize, until: usize) -> Vec<(String, usize)> {
        let first = self.ends.partition_point(|end| *end <= at);
        let last = self.ends.partition_point(|end| *end <= until).max(first);
        let mut from = self.text.floor_char_boundary(at.min(self.text.len()));
        let mut pieces = Vec::with_capacity(last - first);
        for end in &self.ends[first..last] {
            pieces.push((self.text[from..*end].to_owned(), *end));
            from = *end;
        }
        pieces
    }
}
