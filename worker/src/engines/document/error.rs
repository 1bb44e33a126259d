//! Why documents and their pages are not read.

use std::io;

use serde::{Serialize, Serializer};

use super::{
    super::{picture::PictureError, process::ProcessError, tesseract::RecognizeError},
    poppler::OpenError,
};

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
    Unreadable(PageError),
    /// Every page took too long. It may heal.
    #[error("no page of the PDF could be read in time")]
    TooSlow,
    /// Every page that could not be read needs to be recognized, and this machine cannot. It may heal.
    #[error("text recognition is not installed on this worker")]
    NoRecognition,
    /// The pages need to be recognized, in a language that is not installed. The message names it.
    #[error("{0}")]
    NotInstalled(String),
    /// A program cannot be run. It may heal.
    #[error(transparent)]
    Process(ProcessError),
    /// A file cannot be read or written. It may heal.
    #[error("a page cannot be read or written")]
    Io(#[from] io::Error),
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

impl DocumentError {
    /// Why nothing of a document was read, by what was wrong with its pages.
    pub(super) fn of_pages(errors: &[PageError]) -> Self {
        if errors.iter().all(|error| *error == PageError::TooSlow) {
            return Self::TooSlow;
        }
        for error in errors {
            match error {
                PageError::NoRecognition => return Self::NoRecognition,
                PageError::NotInstalled(message) => return Self::NotInstalled(message.clone()),
                PageError::TooSlow | PageError::NotDrawn | PageError::NotRead => {}
            }
        }
        Self::Unreadable(errors[0].clone())
    }
}

/// Why one page was not read; others may be. The messages are for the document's owner, and go on from "the page".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PageError {
    /// It may heal.
    #[error("took too long")]
    TooSlow,
    /// There is no picture of it.
    #[error("cannot be drawn")]
    NotDrawn,
    /// A program failed.
    #[error("cannot be drawn or recognized")]
    NotRead,
    /// This machine recognizes nothing. It may heal.
    #[error("needs text recognition, which is not installed on this worker")]
    NoRecognition,
    /// A language is not installed; the message names it.
    #[error("cannot be recognized: {0}")]
    NotInstalled(String),
}

impl Serialize for PageError {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// What an error ends.
pub(super) enum Failed {
    /// This page only.
    Page(PageError),
    /// The others cannot be read either.
    Document(DocumentError),
}

impl From<ProcessError> for Failed {
    fn from(error: ProcessError) -> Self {
        match error {
            ProcessError::Timeout { .. } => Self::Page(PageError::TooSlow),
            ProcessError::Failed { .. } | ProcessError::TooMuchOutput { .. } => {
                Self::Page(PageError::NotRead)
            }
            error => Self::Document(DocumentError::Process(error)),
        }
    }
}

impl From<PictureError> for Failed {
    fn from(error: PictureError) -> Self {
        match error {
            PictureError::Io(error) => Self::Document(error.into()),
            _ => Self::Page(PageError::NotDrawn),
        }
    }
}

impl From<RecognizeError> for Failed {
    fn from(error: RecognizeError) -> Self {
        match error {
            RecognizeError::Process(error) => error.into(),
            RecognizeError::NoLanguage => Self::Page(PageError::NoRecognition),
            RecognizeError::NotInstalled { .. } => {
                Self::Page(PageError::NotInstalled(error.to_string()))
            }
        }
    }
}
