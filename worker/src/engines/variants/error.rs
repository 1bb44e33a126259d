//! Why nothing is made of a picture.

use std::{io, os::unix::process::ExitStatusExt as _};

use image::ImageError;
use rustix::process::Signal;
use serde::{Deserialize, Serialize};
use shared::picture::Misfit;

use crate::engines::process::ProcessError;

/// The exit status of our own program after a panic.
const PANICKED: i32 = 101;

/// Why nothing is made of a picture, and never will be. The messages are for its owner.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum Refused {
    /// The content is none of the formats that are read, whatever its name says.
    #[error("the file is not a PNG, JPEG, WebP or GIF picture")]
    NotAPicture,
    /// More pixels, or a longer side, than are decoded.
    #[error(
        "the picture is too large: at most 40 million pixels and 32,000 on a side are processed"
    )]
    TooLarge,
    /// It is small enough, but is stored in a way that takes too much memory or time.
    #[error("the picture takes too much memory to decode")]
    TooHeavy,
    /// An animation with too many frames for its size.
    #[error(
        "the animation is too long: its frames may have a thousand million pixels, all together"
    )]
    TooLong,
    /// The format is known, but not this kind of it.
    #[error("the picture uses a feature that is not supported: {0}")]
    Unsupported(String),
    /// The content breaks the rules of its format or ends too early.
    #[error("the file is damaged: {0}")]
    Damaged(String),
    /// The recipe is not for this picture.
    #[error("the {what} {0}", what = .0.field())]
    Misfit(#[from] Misfit),
    /// No font has some letters of the watermark.
    #[error("no font of this server has the letters {0:?}")]
    NoFont(String),
    /// A library gave up, or crashed.
    #[error("the picture cannot be processed")]
    Crashed,
}

/// Why a picture was not made.
#[derive(Debug, thiserror::Error)]
pub enum VariantError {
    /// It never will be.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// It took too long.
    #[error("processing the picture took too long")]
    TooSlow(#[source] ProcessError),
    /// The program did not run as it should. This may heal.
    #[error("the helper failed")]
    Process(#[source] ProcessError),
    /// A file cannot be read or written. This may heal.
    #[error("a file cannot be read or written")]
    Io(#[from] io::Error),
}

impl From<ProcessError> for VariantError {
    /// A crash is the picture's fault, and another try would crash too. What was killed from outside (by the kernel, for
    /// want of memory) may succeed when there is more room.
    fn from(error: ProcessError) -> Self {
        match &error {
            ProcessError::Timeout { .. } => Self::TooSlow(error),
            ProcessError::Failed { status, .. } => {
                let signal = status.signal();
                let is_crash = status.code() == Some(PANICKED)
                    || signal.is_some_and(|signal| signal != Signal::KILL.as_raw());
                if is_crash {
                    tracing::warn!(error = %error, "a picture crashed the program that processes it");
                    Self::Refused(Refused::Crashed)
                } else {
                    Self::Process(error)
                }
            }
            _ => Self::Process(error),
        }
    }
}

/// Sorts what the decoders say; nothing is read from or written to a disk there.
pub(super) fn from_image(error: &ImageError) -> Refused {
    match error {
        ImageError::Limits(_) => Refused::TooHeavy,
        ImageError::Unsupported(error) => Refused::Unsupported(error.to_string()),
        error => Refused::Damaged(error.to_string()),
    }
}
