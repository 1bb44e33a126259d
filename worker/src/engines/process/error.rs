//! Why a program gave no result.

use std::{io, os::unix::process::ExitStatusExt as _, process::ExitStatus};

use rustix::process::Signal;

/// What an error message quotes of standard error.
pub(super) const MAX_REASON_BYTES: usize = 2 << 10;

/// The exit status by which `nice`, `setpriv` and `prlimit` say that there is no such program.
const NOT_FOUND: i32 = 127;

/// Why a program gave no result.
///
/// The messages are for the log: they may quote the program and its paths.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// It used up its time, on the clock or on the processor.
    #[error("{program} took too long")]
    Timeout {
        /// The program's name.
        program: String,
    },
    /// It printed more than 16 MiB.
    #[error("{program} printed too much")]
    TooMuchOutput {
        /// The program's name.
        program: String,
    },
    /// It ended with an error or by a signal; the kernel's answer to too much memory looks like this too.
    #[error("{program} failed ({status}): {stderr}")]
    Failed {
        /// The program's name.
        program: String,
        /// How it ended.
        status: ExitStatus,
        /// The end of what it printed on standard error.
        stderr: String,
    },
    /// It, or a tool that limits it, is not installed.
    #[error("{program} is not installed")]
    Missing {
        /// The name of what is missing.
        program: String,
    },
    /// The operating system would not start it or talk to it.
    #[error("{program} cannot be run")]
    Io {
        /// The program's name.
        program: String,
        /// What went wrong.
        source: io::Error,
    },
}

impl ProcessError {
    /// Whether the machine was at fault rather than what the program was given: it was killed from outside (by the kernel,
    /// for want of memory), the disk was full, or a tool that limits it failed.
    pub fn is_of_machine(&self) -> bool {
        match self {
            Self::Failed { status, stderr, .. } => {
                status.signal() == Some(Signal::KILL.as_raw())
                    || stderr.contains("No space left on device")
                    || ["unshare:", "setpriv:", "prlimit:", "nice:"]
                        .iter()
                        .any(|tool| stderr.starts_with(tool))
            }
            Self::Timeout { .. } | Self::TooMuchOutput { .. } => false,
            Self::Missing { .. } | Self::Io { .. } => true,
        }
    }
}

/// What the status and the standard error of a program say.
pub(super) fn diagnose(program: String, status: ExitStatus, stderr: &str) -> ProcessError {
    if status.signal() == Some(Signal::XCPU.as_raw()) {
        return ProcessError::Timeout { program };
    }
    if status.code() == Some(NOT_FOUND) {
        // `nice: 'tesseract': No such file or directory`; `prlimit: failed to execute setpriv: No such file or directory`.
        let missing = match stderr.split(':').next() {
            Some("nice") => Some(program.clone()),
            Some("setpriv" | "unshare" | "prlimit") => stderr
                .split_once("failed to execute ")
                .and_then(|(_, rest)| Some(rest.split_once(':')?.0.to_owned())),
            _ => None,
        };
        if let Some(program) = missing {
            return ProcessError::Missing { program };
        }
    }
    let stderr = stderr.trim();
    let mut start = stderr.len().saturating_sub(MAX_REASON_BYTES);
    while !stderr.is_char_boundary(start) {
        start += 1;
    }
    ProcessError::Failed {
        program,
        status,
        stderr: stderr[start..].to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_machine_lacks_is_no_fault_of_the_file() {
        let failed = |status: i32, stderr: &str| {
            diagnose("ffmpeg".to_owned(), ExitStatus::from_raw(status), stderr)
        };
        for (status, stderr, is_of_machine) in [
            (9, "", true),
            (1 << 8, "out.raw: No space left on device", true),
            (
                1 << 8,
                "unshare: unshare failed: Operation not permitted",
                true,
            ),
            (127 << 8, "nice: 'ffmpeg': No such file or directory", true),
            (1 << 8, "Invalid data found when processing input", false),
            (6, "memory allocation failed", false),
            (101 << 8, "panicked", false),
            (24, "", false),
        ] {
            let error = failed(status, stderr);
            assert_eq!(error.is_of_machine(), is_of_machine, "{error}");
        }
    }
}
