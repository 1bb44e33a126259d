//! A document is put together page by page.

use shared::language::Language;

use super::{
    super::tesseract::{Hints, Recognition, Tally, language_of_text},
    Document, DocumentError, Method, Page, PageError, text,
};

/// Languages that the text of a PDF is taken to be in, as far as its letters tell.
const USUAL: [&str; 4] = ["eng", "hin", "urd", "ben"];

/// How much of a text tells its language, in bytes.
const SAMPLE_BYTES: usize = 200_000;

/// A page's text ends in a form feed, as `pdftotext` prints it.
const PAGE_END: &str = "\n\u{c}";

/// A document whose pages are being read.
pub(super) struct Unfinished {
    text: String,
    text_bytes: usize,
    pages: Vec<Page>,
    tally: Tally,
    languages: Vec<Language>,
    /// There is no room for more text.
    pub(super) is_full: bool,
    truncated: bool,
}

impl Unfinished {
    /// Begins; `text_bytes` is the longest text that is kept.
    pub(super) fn new(hints: &Hints, text_bytes: usize) -> Self {
        Self {
            text: String::new(),
            text_bytes,
            pages: Vec::new(),
            tally: Tally::default(),
            languages: hints.asked.clone(),
            is_full: false,
            truncated: false,
        }
    }

    /// Takes a page's own text.
    pub(super) fn push(&mut self, page: u32, method: Method, text: &str) -> &mut Page {
        if !self.pages.is_empty() {
            self.push_text(PAGE_END);
        }
        self.push_text(text);
        self.pages.push(Page {
            page,
            method,
            confidence: None,
            error: None,
        });
        self.pages.last_mut().expect("it was pushed just now")
    }

    fn push_text(&mut self, text: &str) {
        let kept = text::beginning(text, self.text_bytes - self.text.len());
        self.text += kept;
        self.is_full |= kept.len() < text.len();
    }

    /// Takes what was recognized, unless the page's own text says about as much: that one has no errors.
    pub(super) fn push_recognized(&mut self, page: u32, own: &str, read: &Recognition) {
        let own_letters = if text::is_rubbish(own) {
            0
        } else {
            text::letters(own)
        };
        if own_letters > 0 && own_letters * 2 > text::letters(&read.text) {
            self.push(page, Method::Text, own);
            return;
        }
        self.tally.add(&read.words);
        for language in &read.asked {
            if !self.languages.contains(language) {
                self.languages.push(*language);
            }
        }
        self.push(page, Method::Ocr, &read.text).confidence = read.confidence;
        self.truncated |= read.truncated;
    }

    /// Takes a page that could not be read; what it brings along by itself stays.
    pub(super) fn push_failed(&mut self, page: u32, own: &str, error: PageError) {
        let own = if text::is_rubbish(own) { "" } else { own };
        self.push(page, Method::Ocr, own).error = Some(error);
    }

    /// Puts the document together.
    ///
    /// # Errors
    /// When not one page could be read.
    pub(super) fn finish(mut self, page_count: u32) -> Result<Document, DocumentError> {
        let errors = self.pages.iter().map(|page| page.error.clone());
        if let Some(errors) = errors.collect::<Option<Vec<_>>>() {
            return Err(DocumentError::of_pages(&errors));
        }
        if self.pages.iter().any(|page| page.method == Method::Text) {
            self.languages.extend(
                USUAL
                    .iter()
                    .filter_map(|name| name.parse::<Language>().ok()),
            );
        }
        let sample = text::beginning(&self.text, SAMPLE_BYTES);
        Ok(Document {
            language: language_of_text(sample, &self.languages),
            truncated: self.truncated || self.is_full || self.pages.len() < page_count as usize,
            text: self.text,
            pages: self.pages,
            page_count,
            tally: self.tally,
        })
    }
}
