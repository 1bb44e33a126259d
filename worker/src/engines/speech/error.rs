//! Why a sound was not written down.

use std::{io, time::Duration};

use shared::{clients::transcriber::TranscribeError, database, language::Language};

use super::{super::process::ProcessError, Hints};

/// What is wrong with a sound. All but [`SoundError::Process`] and [`SoundError::Io`] are final, and their messages are
/// for its owner.
#[derive(Debug, thiserror::Error)]
pub enum SoundError {
    /// It is none of the containers that are taken, or broken beyond repair.
    #[error("the sound is damaged and cannot be decoded")]
    Damaged(#[source] ProcessError),
    /// There is no track to be heard in it.
    #[error("there is no sound in the file")]
    NoTrack,
    /// It ends before anything can be said.
    #[error("the sound is shorter than a tenth of a second")]
    TooShort,
    /// It takes hours.
    #[error("the sound is longer than {} minutes, which is the most that is transcribed", .0.as_secs() / 60)]
    TooLong(Duration),
    /// Nothing can be heard at all.
    #[error("the sound is silent")]
    Silent,
    /// Something can be heard, but no words.
    #[error("no speech was recognized in the sound")]
    NoSpeech,
    /// A program cannot be run, or took too long. It may heal.
    #[error(transparent)]
    Process(ProcessError),
    /// A file cannot be read or written. It may heal.
    #[error("the sound cannot be read or written")]
    Io(#[from] io::Error),
}

impl SoundError {
    /// Whether it will be the same the next time.
    pub fn is_final(&self) -> bool {
        !matches!(self, Self::Process(_) | Self::Io(_))
    }
}

/// Why one engine heard nothing; the next one may.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// A server.
    #[error(transparent)]
    Remote(#[from] TranscribeError),
    /// A program.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// A program that answers what it should not.
    #[error("{program} answers something that cannot be read")]
    Unreadable {
        /// Its name.
        program: &'static str,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
}

impl EngineError {
    fn again(&self) -> Again {
        match self {
            Self::Remote(TranscribeError::Unavailable { retry_after, .. }) => {
                Again::Later(*retry_after)
            }
            Self::Remote(TranscribeError::Io(_) | TranscribeError::Unnoted(_))
            | Self::Process(ProcessError::Timeout { .. } | ProcessError::Io { .. }) => {
                Again::Later(None)
            }
            Self::Process(error @ ProcessError::Failed { .. }) if error.is_of_machine() => {
                Again::Later(None)
            }
            Self::Remote(TranscribeError::Refused { .. } | TranscribeError::NotTaken { .. })
            | Self::Process(_)
            | Self::Unreadable { .. } => Again::Useless,
        }
    }
}

/// Whether trying again may help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Again {
    /// It will be the same.
    Useless,
    /// It may, after what was asked for.
    Later(Option<Duration>),
}

/// Why a sound was not written down.
#[derive(Debug, thiserror::Error)]
pub enum SpeechError {
    /// It is the sound's fault, or a program is missing that all of them need.
    #[error(transparent)]
    Sound(#[from] SoundError),
    /// No engine could. The message is for the sound's owner; what went wrong with each is in the log.
    #[error("transcription_unavailable: {reason}")]
    Unavailable {
        /// For people.
        reason: String,
        /// Whether trying again may help.
        again: Again,
    },
    /// A server was not asked, as nobody could account for it.
    #[error("a call of a server cannot be noted")]
    Unnoted(#[source] database::Error),
}

impl From<io::Error> for SpeechError {
    fn from(error: io::Error) -> Self {
        Self::Sound(error.into())
    }
}

impl SpeechError {
    /// When all engines that could be asked have failed.
    pub(super) fn unavailable(names: &[&str], errors: &[EngineError], hints: Hints) -> Self {
        let language = hints.asked.or(hints.likely).and_then(Language::code);
        let reason = match (names.is_empty(), language) {
            (true, Some(code)) => {
                format!("nothing that is set up here transcribes the language {code}")
            }
            (true, None) => "nothing that transcribes is set up here".to_owned(),
            (false, _) => format!("{} could not transcribe the sound", names.join(" and ")),
        };
        // They are waited for at the same time, so the first to come back decides.
        let again = errors
            .iter()
            .map(EngineError::again)
            .filter(|again| *again != Again::Useless)
            .min_by_key(|again| match again {
                Again::Later(wait) => wait.unwrap_or_default(),
                Again::Useless => Duration::MAX,
            });
        Self::Unavailable {
            reason,
            again: again.unwrap_or(Again::Useless),
        }
    }
}
