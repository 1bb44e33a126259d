//! Our own program as a helper: work on what users upload or write that could run out of memory, loop, or crash by a
//! fault in a library, is done by a hidden subcommand of `baatcheet-worker`, which is run like any other helper program.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
};

use super::process::{self, Isolation, Limits, Output, ProcessError};

/// The worker's program, to be run with a subcommand.
#[derive(Debug, Clone)]
pub struct Helper {
    program: PathBuf,
    isolation: Isolation,
}

impl Helper {
    /// `program` is `baatcheet-worker`.
    pub fn new(program: PathBuf, isolation: Isolation) -> Self {
        Self { program, isolation }
    }

    /// Runs a subcommand to its end in an empty folder of its own inside `within`, without a network where the machine
    /// lets us. Nothing of the worker's configuration reaches it: what it needs is in `args` and in files, by absolute
    /// paths. Dropping the future kills it.
    ///
    /// # Errors
    /// See [`ProcessError`].
    pub async fn run<A: AsRef<OsStr>>(
        &self,
        subcommand: &str,
        args: impl IntoIterator<Item = A>,
        within: &Path,
        limits: &Limits,
    ) -> Result<Output, ProcessError> {
        let args: Vec<A> = args.into_iter().collect();
        let args = std::iter::once(OsStr::new(subcommand)).chain(args.iter().map(AsRef::as_ref));
        let limits = Limits {
            isolation: self.isolation,
            ..*limits
        };
        process::run(&self.program, args, &[], within, &limits).await
    }
}
