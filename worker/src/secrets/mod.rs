//! `baatcheet-worker secrets`: looking after what is kept encrypted.

mod report;
mod rotate;

use std::process::ExitCode;

use anyhow::anyhow;
use clap::Subcommand;
use shared::database;
use tokio_util::sync::CancellationToken;

use self::report::Report;
pub use self::rotate::{Counts, News, rotate};
use crate::{DEFAULT_POOL_MAX, config::WorkerConfig};

/// Exit code of a command that could not do its work; 1 says that something was found.
const BROKEN: u8 = 2;

/// What can be done with what is kept encrypted.
#[derive(Debug, Clone, Subcommand)]
pub enum SecretsCommand {
    /// Encrypts anew, under `SECRET_KEY`, all that is encrypted under keys of `SECRET_KEY_PREVIOUS`. The programs may run
    /// meanwhile, with both variables. It can be interrupted and started again, and run twice at once. Exit code 0: all
    /// is done; 1: something cannot be opened, or was encrypted under an older key meanwhile; 2: it could not be done
    ///
    /// What is signed is left as it is, and runs out: URLs of contents are good for an hour, and repeated requests
    /// (`Idempotency-Key`) are recognized for a day. Both need the key under which they were made, so let
    /// `SECRET_KEY_PREVIOUS` stand for a day after the last program got the new `SECRET_KEY`. Networks from which somebody
    /// is logged in are known again once they were logged in or refreshed under the new key. Tokens, API keys and passwords
    /// are hashed without a key, and go on.
    Rotate(RotateArgs),
}

/// What is done, and how it is told.
#[derive(Debug, Clone, clap::Args)]
pub struct RotateArgs {
    /// Changes nothing: opens everything, and counts what would be encrypted anew
    #[arg(long)]
    pub dry_run: bool,
    /// Prints each row that cannot be opened as a line of JSON, and the counts as the last one
    #[arg(long)]
    pub json: bool,
}

/// Runs it.
pub async fn run(
    config: &WorkerConfig,
    command: SecretsCommand,
    stop: CancellationToken,
) -> ExitCode {
    let work = async {
        match command {
            SecretsCommand::Rotate(args) => {
                let database = &config.common.database;
                let db = database::connect(database, config.pool_max, DEFAULT_POOL_MAX);
                let keyring = config.common.secret.keyring();
                let mut report = Report::new(&args);
                let mut hear = |news: News| report.hear(&news);
                let counts = tokio::select! {
                    counts = rotate(&db, &keyring, args.dry_run, &mut hear) => counts,
                    () = stop.cancelled() => Err(anyhow!("interrupted; what is done stays done")),
                };
                let is_good = report.finish(counts)?;
                Ok(ExitCode::from(u8::from(!is_good)))
            }
        }
    };
    work.await.unwrap_or_else(|error: anyhow::Error| {
        tracing::error!(error = %format!("{error:#}"), "the secrets command failed");
        ExitCode::from(BROKEN)
    })
}
