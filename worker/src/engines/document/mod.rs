//! Reads the text of PDFs: what a page brings along, else what is recognized on its picture.
//!
//! Measured with Poppler 22.12 and Tesseract 5.3.0 on a busy two-core machine: the text of 200 dense pages (950 KB) is
//! taken out in 0.3 s; a page at 200 dpi is drawn in 0.1 s, and recognized in 0.3 s (a line) to 4.4 s (4,700 characters).
//! So 200 dense scans take longer than there is time for, and the rest is left out.

mod error;
mod poppler;
#[cfg(test)]
mod tests;
mod text;
mod unfinished;

use std::{
    io,
    path::Path,
    time::{Duration, Instant},
};

use futures::future::BoxFuture;
use serde::Serialize;
use shared::language::Language;

use self::{error::Failed, poppler::Info, unfinished::Unfinished};
pub use self::{
    error::{DocumentError, PageError},
    poppler::Poppler,
};
use super::{
    aside::run_aside,
    picture,
    process::ProcessError,
    tesseract::{self, Hints, Recognition, Tally, Tesseract},
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
    pub error: Option<PageError>,
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
                Err(Failed::Page(error)) => document.push_failed(page, &own, error),
                Err(Failed::Document(error)) => return Err(error),
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
    ) -> Result<Recognition, Failed> {
        let started = Instant::now();
        let tesseract = self
            .tesseract
            .ok_or(Failed::Page(PageError::NoRecognition))?;
        // Before it is drawn for nothing.
        tesseract.check(&hints.asked)?;
        let drawn = self.poppler.draw(file, page, info, folder, limit).await?;
        let target = folder.join("grey.pgm");
        let prepare = move || {
            let drawn = std::fs::read(drawn)?;
            picture::prepare_page(&drawn, &target)
        };
        let prepared = run_aside(prepare)
            .await
            .map_err(|error| Failed::Document(io::Error::other(error).into()))??;
        let limits = super::process::Limits {
            timeout: limit.saturating_sub(started.elapsed()),
            ..tesseract::LIMITS
        };
        Ok(tesseract.recognize(&prepared, hints, &limits).await?)
    }
}
