//! Reads the text of pictures with Tesseract, run as a program of its own.

mod choice;
mod language;
mod tsv;

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use tracing::warn;

use choice::Installed;
pub use language::{Language, NotALanguage};
use tsv::Page;
pub use tsv::Word;

use super::{
    picture::Prepared,
    process::{self, Limits, ProcessError},
};

/// What one recognition may use: several times what the worst pictures needed (40 million pixels of noise: 21 s on a
/// busy machine, 560 MB).
pub const LIMITS: Limits = Limits {
    address_space_bytes: 1 << 30,
    cpu: Duration::from_mins(2),
    file_bytes: 64 << 20,
    timeout: Duration::from_mins(1),
};

/// What listing the languages may use.
const LIST_LIMITS: Limits = Limits {
    timeout: Duration::from_secs(10),
    cpu: Duration::from_secs(10),
    ..LIMITS
};

/// Below this mean confidence, or above this share of doubtful words, a result is not to be relied upon. Measured:
/// clean English 96, Hindi 95, Urdu 92; Urdu in Nastaliq 63; a mixed page with the wrong language 67.
const LOW_CONFIDENCE: (f64, f64) = (75.0, 0.25);

/// Threads make one picture slower and use six times the processor (measured); jobs run beside each other instead.
const ENVIRONMENT: [(&str, &str); 1] = [("OMP_THREAD_LIMIT", "1")];

/// Tesseract as installed on this machine.
#[derive(Debug, Clone)]
pub struct Tesseract {
    program: PathBuf,
    installed: Installed,
}

/// What was read. A picture without text is a success with an empty text.
#[derive(Debug, Clone, PartialEq)]
pub struct Recognition {
    /// Lines end in line breaks, paragraphs in blank lines. At most 1,000,000 characters, without control characters
    /// but `\n`, and without marks of direction.
    pub text: String,
    /// The words of the text, in its order.
    pub words: Vec<Word>,
    /// Mean over the words, 0 to 100, with one decimal; none without words.
    pub confidence: Option<f64>,
    /// Whether the text is not to be relied upon. It says nothing about text that was not seen at all.
    pub low_confidence: bool,
    /// The language of most of the text; none without letters.
    pub language: Option<Language>,
    /// The languages that were asked for in the reading that was kept.
    pub asked: Vec<Language>,
    /// Whether the text was longer than is kept.
    pub truncated: bool,
}

/// Why a picture was not read.
#[derive(Debug, thiserror::Error)]
pub enum RecognizeError {
    /// The program failed.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// There is no language data at all.
    #[error("tesseract has no language data")]
    NoLanguage,
}

impl Tesseract {
    /// Asks the program which languages are installed; once, at start.
    ///
    /// # Errors
    ///
    /// Fails when the program is missing or does not work, or has no language data.
    pub async fn discover(program: &Path) -> Result<Self, RecognizeError> {
        let output = process::run(program, ["--list-langs"], &[], &LIST_LIMITS).await?;
        let installed = Installed::parse(&String::from_utf8_lossy(&output.stdout));
        if installed.0.is_empty() {
            return Err(RecognizeError::NoLanguage);
        }
        Ok(Self {
            program: program.to_owned(),
            installed,
        })
    }

    /// The installed languages.
    pub fn languages(&self) -> &[Language] {
        &self.installed.0
    }

    /// Reads a picture. `hints` are the languages it may be in; those that are not installed are passed over.
    ///
    /// When much of the first reading is doubtful there is a second one with other languages, within the same
    /// `limits.timeout`, and the better of the two is kept. Dropping the future kills the program.
    ///
    /// # Errors
    ///
    /// Fails when the first reading does; a failure of the second is logged.
    pub async fn recognize(
        &self,
        picture: &Prepared,
        hints: &[Language],
        limits: &Limits,
    ) -> Result<Recognition, RecognizeError> {
        let started = Instant::now();
        let first = self.installed.first_choice(hints);
        let page = self.read(picture, &first, limits).await?;
        let Some(second) = self.installed.second_choice(&first, &page) else {
            return Ok(Recognition::new(page, first));
        };
        let limits = Limits {
            timeout: limits.timeout.saturating_sub(started.elapsed()),
            ..*limits
        };
        match self.read(picture, &second, &limits).await {
            Ok(other) if other.certainty() > page.certainty() => {
                Ok(Recognition::new(other, second))
            }
            Ok(_) => Ok(Recognition::new(page, first)),
            Err(error) => {
                let error: &dyn std::error::Error = &error;
                warn!(
                    error,
                    "the second reading of a picture failed, the first is kept"
                );
                Ok(Recognition::new(page, first))
            }
        }
    }

    async fn read(
        &self,
        picture: &Prepared,
        languages: &[Language],
        limits: &Limits,
    ) -> Result<Page, ProcessError> {
        let languages = languages
            .iter()
            .map(Language::as_str)
            .collect::<Vec<_>>()
            .join("+");
        let args = [
            picture.path.as_os_str(),
            OsStr::new("stdout"),
            OsStr::new("-l"),
            OsStr::new(&languages),
            OsStr::new("--oem"),
            OsStr::new("1"),
            OsStr::new("--psm"),
            OsStr::new("3"),
            OsStr::new("-c"),
            // Sauvola: the default loses two thirds of a badly lit photo.
            OsStr::new("thresholding_method=2"),
            OsStr::new("-c"),
            OsStr::new("tessedit_create_tsv=1"),
        ];
        let environment = ENVIRONMENT.map(|(name, value)| (name, OsStr::new(value)));
        let output = process::run(&self.program, args, &environment, limits).await?;
        Ok(Page::parse(
            &String::from_utf8_lossy(&output.stdout),
            |area| picture.upright(area),
        ))
    }
}

impl Recognition {
    fn new(page: Page, asked: Vec<Language>) -> Self {
        let doubtful = page.doubtful_share();
        let confidence = page.confidence();
        let language = Language::of_text(&page.text, &asked);
        Self {
            low_confidence: confidence
                .is_some_and(|mean| mean < LOW_CONFIDENCE.0 || doubtful > LOW_CONFIDENCE.1),
            confidence: confidence.map(|mean| (mean * 10.0).round() / 10.0),
            language,
            asked,
            text: page.text,
            words: page.words,
            truncated: page.truncated,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubtful_results_are_marked() {
        let low = |doubtful| {
            Recognition::new(Page::of_ten(doubtful), vec!["eng".parse().unwrap()]).low_confidence
        };
        assert_eq!([0, 2, 3, 10].map(low), [false, false, true, true]);
        let empty = Recognition::new(Page::default(), vec!["eng".parse().unwrap()]);
        assert_eq!(
            (empty.confidence, empty.low_confidence, empty.language),
            (None, false, None)
        );
    }

    #[tokio::test]
    async fn a_missing_program_is_an_error() {
        let error = Tesseract::discover(Path::new("/nowhere/tesseract"))
            .await
            .unwrap_err();
        assert!(
            matches!(error, RecognizeError::Process(ProcessError::Missing { .. })),
            "{error}"
        );
    }
}
