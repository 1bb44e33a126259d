//! Reads the text of PDFs: what a page brings along, else what is recognized on its picture.
//!
//! Measured with Poppler 22.12 and Tesseract 5.3.0 on a busy two-core machine: the text of 200 dense pages (950 KB) is
//! taken out in 0.3 s; a page at 200 dpi is drawn in 0.1 s, and recognized in 0.3 s (a line) to 4.4 s (4,700 characters).
//! So 200 dense scans take longer than there is time for, and the rest is left out.

mod poppler;
#[cfg(test)]
mod tests;
mod text;

use std::{
    io,
    path::Path,
    time::{Duration, Instant},
};

use futures::future::BoxFuture;
use serde::Serialize;
use shared::language::Language;

pub use self::poppler::Poppler;
use self::poppler::{Info, OpenError};
use super::{
    picture::{self, PictureError},
    process::ProcessError,
    tesseract::{self, Hints, Recognition, RecognizeError, Tally, Tesseract, language_of_text},
};

/// What one document may take.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Pages that are read; further ones are left out.
    pub pages: u32,
    /// Longest time for a page.
    pub page: Duration,
    /// Longest time for all of it; what was not read by then is left out.
    pub whole: Duration,
    /// Longest text; the rest is cut off.
    pub text_bytes: usize,
}

/// What every document may take.
pub const LIMITS: Limits = Limits {
    pages: 200,
    page: Duration::from_secs(30),
    whole: Duration::from_mins(10),
    text_bytes: 16 << 20,
};

/// Languages that the text of a PDF is taken to be in, as far as its letters tell.
const USUAL: [&str; 4] = ["eng", "hin", "urd", "ben"];

/// How much of a text tells its language, in bytes.
const SAMPLE_BYTES: usize = 200_000;

/// A page's text ends in a form feed, as `pdftotext` prints it.
const PAGE_END: &str = "\n\u{c}";

/// Where a page's text comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// From the PDF itself.
    Text,
    /// Recognized on the page's picture.
    Ocr,
}

/// How a page was read.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Page {
    /// From 1.
    pub page: u32,
    /// Where its text comes from.
    pub method: Method,
    /// Mean over the recognized words, 0 to 100.
    pub confidence: Option<f64>,
    /// Why it could not be read, for its owner.
    pub error: Option<&'static str>,
}

/// What was read.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    /// Pages end in a line break and a form feed, but for the last.
    pub text: String,
    /// Those that were read.
    pub pages: Vec<Page>,
    /// All that the document has.
    pub page_count: u32,
    /// How certain the recognized words are.
    pub tally: Tally,
    /// The language of most of the text; none without letters.
    pub language: Option<Language>,
    /// Whether pages were left out, or the text was cut.
    pub truncated: bool,
}

/// Why a document was not read. The messages are for its owner, but for those of [`DocumentError::Process`] and
/// [`DocumentError::Io`].
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// It needs a password.
    #[error("the PDF is locked with a password")]
    Encrypted,
    /// It is no PDF, or not a whole one.
    #[error("the PDF is damaged and cannot be opened")]
    Damaged(#[source] ProcessError),
    /// There is nothing to read.
    #[error("the PDF has no pages")]
    Empty,
    /// Not one of its pages could be read.
    #[error("no page of the PDF could be read: the first one {0}")]
    Unreadable(&'static str),
    /// A page needs to be recognized, and this machine cannot. It may heal.
    #[error("text recognition is not installed on this worker")]
    NoRecognition,
    /// A page needs to be recognized, in a language that is not installed.
    #[error(transparent)]
    NotInstalled(RecognizeError),
    /// A program cannot be run. It may heal.
    #[error(transparent)]
    Process(ProcessError),
    /// A file cannot be read or written. It may heal.
    #[error("a page cannot be read or written")]
    Io(#[from] io::Error),
}

/// Hears which page of how many is about to be read.
pub type Progress<'a> = dyn Fn(u32, u32) -> BoxFuture<'a, ()> + Send + Sync + 'a;

/// What documents are read with.
#[derive(Debug, Clone, Copy)]
pub struct Reader<'a> {
    /// Opens and draws them.
    pub poppler: &'a Poppler,
    /// Recognizes their pages; only scans need it.
    pub tesseract: Option<&'a Tesseract>,
    /// What they may take.
    pub limits: Limits,
}

/// Why one page was not read.
enum PageError {
    /// The others may be.
    Page(&'static str),
    /// The others will not be either.
    Fatal(DocumentError),
}

impl From<ProcessError> for PageError {
    fn from(error: ProcessError) -> Self {
        match error {
            ProcessError::Timeout { .. } => Self::Page("took too long"),
            ProcessError::Failed { .. } | ProcessError::TooMuchOutput { .. } => {
                Self::Page("cannot be drawn or recognized")
            }
            error => Self::Fatal(DocumentError::Process(error)),
        }
    }
}

impl From<PictureError> for PageError {
    fn from(error: PictureError) -> Self {
        match error {
            PictureError::Io(error) => Self::Fatal(error.into()),
            _ => Self::Page("cannot be drawn"),
        }
    }
}

impl From<RecognizeError> for PageError {
    fn from(error: RecognizeError) -> Self {
        match error {
            RecognizeError::Process(error) => error.into(),
            RecognizeError::NoLanguage => Self::Fatal(DocumentError::NoRecognition),
            RecognizeError::NotInstalled { .. } => Self::Fatal(DocumentError::NotInstalled(error)),
        }
    }
}

impl Reader<'_> {
    /// Reads a PDF; `folder` is for what is made on the way. Dropping the future kills the programs.
    ///
    /// # Errors
    ///
    /// See [`DocumentError`]. A page that cannot be read is no error, as long as another one can.
    pub async fn read(
        &self,
        file: &Path,
        folder: &Path,
        mut hints: Hints,
        progress: &Progress<'_>,
    ) -> Result<Document, DocumentError> {
        let started = Instant::now();
        let left = || self.limits.whole.saturating_sub(started.elapsed());
        let info = self.poppler.open(file, self.limits.pages).await?;
        let last = info.pages.min(self.limits.pages);
        if last == 0 {
            return Err(DocumentError::Empty);
        }
        let (own, own_is_cut) = self.own_text(file, last, left()).await?;
        let mut own = own.split('\u{c}');

        let mut document = Unfinished::new(&hints, self.limits.text_bytes);
        for page in 1..=last {
            progress(page, last).await;
            let own = own.next().map(text::cleaned);
            if left().is_zero() || (own.is_none() && own_is_cut) || document.is_full {
                break;
            }
            let own = own.unwrap_or_default();
            if text::is_enough(&own) {
                document.push(page, Method::Text, &own);
                continue;
            }
            let limit = self.limits.page.min(left());
            match self
                .recognize(file, page, &info, folder, &hints, limit)
                .await
            {
                Ok(read) => {
                    // What one page is written in, the next one will be too; several beside each other read worse.
                    if !read.low_confidence && !read.words.is_empty() && read.asked.len() <= 2 {
                        hints.likely.clone_from(&read.asked);
                    }
                    document.push_recognized(page, &own, &read);
                }
                Err(PageError::Page(reason)) => document.push_failed(page, &own, reason),
                Err(PageError::Fatal(error)) => return Err(error),
            }
        }
        document.finish(info.pages)
    }

    /// The text that the PDF brings along, and whether there is more of it; none where it cannot be taken out.
    async fn own_text(
        &self,
        file: &Path,
        pages: u32,
        limit: Duration,
    ) -> Result<(String, bool), DocumentError> {
        match self.poppler.text(file, pages, limit).await {
            Ok(output) => Ok((
                String::from_utf8_lossy(&output.stdout).into_owned(),
                output.cut,
            )),
            Err(error @ (ProcessError::Missing { .. } | ProcessError::Io { .. })) => {
                Err(DocumentError::Process(error))
            }
            Err(error) => {
                tracing::warn!(error = %error, "the text of a PDF cannot be taken out; its pages are recognized");
                Ok((String::new(), false))
            }
        }
    }

    async fn recognize(
        &self,
        file: &Path,
        page: u32,
        info: &Info,
        folder: &Path,
        hints: &Hints,
        limit: Duration,
    ) -> Result<Recognition, PageError> {
        let started = Instant::now();
        let tesseract = self
            .tesseract
            .ok_or(PageError::Fatal(DocumentError::NoRecognition))?;
        let drawn = self.poppler.draw(file, page, info, folder, limit).await?;
        let target = folder.join("grey.pgm");
        let prepare = move || {
            let drawn = std::fs::read(drawn)?;
            picture::prepare_page(&drawn, &target)
        };
        let prepared = tokio::task::spawn_blocking(prepare)
            .await
            .map_err(|error| PageError::Fatal(io::Error::other(error).into()))??;
        let limits = super::process::Limits {
            timeout: limit.saturating_sub(started.elapsed()),
            ..tesseract::LIMITS
        };
        Ok(tesseract.recognize(&prepared, hints, &limits).await?)
    }
}

impl From<OpenError> for DocumentError {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Encrypted => Self::Encrypted,
            OpenError::Damaged(error) => Self::Damaged(error),
            OpenError::Process(error) => Self::Process(error),
        }
    }
}

/// A document whose pages are being read.
struct Unfinished {
    text: String,
    text_bytes: usize,
    pages: Vec<Page>,
    tally: Tally,
    languages: Vec<Language>,
    is_full: bool,
    truncated: bool,
}

impl Unfinished {
    fn new(hints: &Hints, text_bytes: usize) -> Self {
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

    fn push(&mut self, page: u32, method: Method, text: &str) -> &mut Page {
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
    fn push_recognized(&mut self, page: u32, own: &str, read: &Recognition) {
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

    fn push_failed(&mut self, page: u32, own: &str, reason: &'static str) {
        let own = if text::is_rubbish(own) { "" } else { own };
        self.push(page, Method::Ocr, own).error = Some(reason);
    }

    fn finish(mut self, page_count: u32) -> Result<Document, DocumentError> {
        let failed = self.pages.iter().map(|page| page.error);
        if let Some(reasons) = failed.collect::<Option<Vec<_>>>()
            && let Some(first) = reasons.first()
        {
            return Err(DocumentError::Unreadable(first));
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
