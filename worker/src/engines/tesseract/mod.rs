//! Reads the text of pictures with Tesseract, run as a program of its own.

mod choice;
mod script;
mod tsv;

use std::{
    env::temp_dir,
    ffi::OsStr,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use shared::language::Language;
use tracing::warn;

pub use choice::Hints;
use choice::Installed;
pub(crate) use script::language_of_text;
use tsv::Page;
pub use tsv::{Tally, Word};

use super::{
    picture::Prepared,
    process::{self, Isolation, Limits, ProcessError},
};

/// What one recognition may use: several times what the worst pictures needed (40 million pixels of noise: 21 s on a
/// busy machine, 560 MB).
pub const LIMITS: Limits = Limits {
    address_space_bytes: 1 << 30,
    cpu: Duration::from_mins(2),
    file_bytes: 64 << 20,
    timeout: Duration::from_mins(1),
    isolation: Isolation::None,
};

/// What listing the languages may use.
const LIST_LIMITS: Limits = Limits {
    timeout: Duration::from_secs(10),
    cpu: Duration::from_secs(10),
    ..LIMITS
};

/// Longest time for the detection of a script, which is worth less than the reading it precedes.
const DETECTION_TIMEOUT: Duration = Duration::from_secs(10);

/// Name of the data that detects scripts.
const DETECTION: &str = "osd";

/// Threads make one picture slower and use six times the processor (measured); jobs run beside each other instead.
const ENVIRONMENT: [(&str, &str); 1] = [("OMP_THREAD_LIMIT", "1")];

/// Tesseract as installed on this machine.
#[derive(Debug, Clone)]
pub struct Tesseract {
    program: PathBuf,
    installed: Installed,
    detects_scripts: bool,
    isolation: Isolation,
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
    /// Text read in another language than its own is worth nothing. The message is for the picture's owner.
    #[error("the language {language} is not installed; there are {installed}")]
    NotInstalled {
        /// The code of the one that is missing.
        language: &'static str,
        /// The codes of all that are there.
        installed: String,
    },
}

impl Tesseract {
    /// Asks the program which languages are installed; once, at start.
    ///
    /// # Errors
    ///
    /// Fails when the program is missing or does not work, or has no language data.
    pub async fn discover(program: &Path, isolation: Isolation) -> Result<Self, RecognizeError> {
        let output =
            process::run(program, ["--list-langs"], &[], &temp_dir(), &LIST_LIMITS).await?;
        let list = String::from_utf8_lossy(&output.stdout);
        let installed = Installed::parse(&list);
        if installed.0.is_empty() {
            return Err(RecognizeError::NoLanguage);
        }
        Ok(Self {
            program: program.to_owned(),
            installed,
            detects_scripts: list.lines().any(|name| name.trim() == DETECTION),
            isolation,
        })
    }

    /// The installed languages.
    pub fn languages(&self) -> &[Language] {
        &self.installed.0
    }

    /// Checks that languages are installed.
    ///
    /// # Errors
    ///
    /// [`RecognizeError::NotInstalled`] for the first that is not.
    pub fn check(&self, languages: &[Language]) -> Result<(), RecognizeError> {
        let shown = |language: &Language| language.code().unwrap_or(language.as_str());
        let missing = languages
            .iter()
            .find(|language| !self.languages().contains(language));
        missing.map_or(Ok(()), |missing| {
            let installed: Vec<&str> = self.languages().iter().map(shown).collect();
            Err(RecognizeError::NotInstalled {
                language: shown(missing),
                installed: installed.join(", "),
            })
        })
    }

    /// Reads a picture.
    ///
    /// When much of the first reading is doubtful there is a second one with other languages, for which the script is
    /// detected, within the same `limits.timeout`; the better of the two is kept. Dropping the future kills the program.
    ///
    /// # Errors
    ///
    /// Fails when a language that was asked for is not installed, and when the first reading does; a failure of the second
    /// is logged.
    pub async fn recognize(
        &self,
        picture: &Prepared,
        hints: &Hints,
        limits: &Limits,
    ) -> Result<Recognition, RecognizeError> {
        self.check(&hints.asked)?;
        let started = Instant::now();
        let left = || Limits {
            timeout: limits.timeout.saturating_sub(started.elapsed()),
            isolation: self.isolation,
            ..*limits
        };
        let first = self.installed.first_choice(hints);
        let page = self.read(picture, &first, &left()).await?;
        if !Installed::doubts(&page) {
            return Ok(Recognition::new(page, first));
        }
        let script = self.detect(picture, left()).await;
        let second = self
            .installed
            .second_choice(&first, &page, script.as_deref());
        let Some(second) = second else {
            return Ok(Recognition::new(page, first));
        };
        match self.read(picture, &second, &left()).await {
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

    /// The script of a picture; none where it cannot be told.
    async fn detect(&self, picture: &Prepared, limits: Limits) -> Option<String> {
        if !self.detects_scripts {
            return None;
        }
        let args = [
            picture.path.as_os_str(),
            OsStr::new("stdout"),
            OsStr::new("--psm"),
            OsStr::new("0"),
            OsStr::new("-c"),
            OsStr::new("thresholding_method=2"),
            OsStr::new("-c"),
            OsStr::new("min_characters_to_try=10"),
        ];
        let limits = Limits {
            timeout: limits.timeout.min(DETECTION_TIMEOUT),
            ..limits
        };
        let environment = ENVIRONMENT.map(|(name, value)| (name, OsStr::new(value)));
        let output = process::run(
            &self.program,
            args,
            &environment,
            folder_of(picture),
            &limits,
        )
        .await
        .ok()?;
        script::detected(&String::from_utf8_lossy(&output.stdout)).map(str::to_owned)
    }

    async fn read(
        &self,
        picture: &Prepared,
        languages: &[Language],
        limits: &Limits,
    ) -> Result<Page, ProcessError> {
        let languages = Language::join(languages);
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
        let output = process::run(
            &self.program,
            args,
            &environment,
            folder_of(picture),
            limits,
        )
        .await?;
        Ok(Page::parse(
            &String::from_utf8_lossy(&output.stdout),
            |area| picture.upright(area),
        ))
    }
}

/// Where a picture is; the program runs in a folder beside it.
fn folder_of(picture: &Prepared) -> &Path {
    picture.path.parent().unwrap_or(Path::new("/"))
}

impl Recognition {
    fn new(page: Page, asked: Vec<Language>) -> Self {
        let tally = page.tally();
        Self {
            low_confidence: tally.is_low(),
            confidence: tally.confidence(),
            language: language_of_text(&page.text, &asked),
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
        let error = Tesseract::discover(Path::new("/nowhere/tesseract"), Isolation::None)
            .await
            .unwrap_err();
        assert!(
            matches!(error, RecognizeError::Process(ProcessError::Missing { .. })),
            "{error}"
        );
    }
}
