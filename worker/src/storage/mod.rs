//! `baatcheet-worker storage`: looking after the store of uploads.

mod bench;
mod verify;

use std::process::ExitCode;

use anyhow::anyhow;
use clap::Subcommand;
use shared::{clients::storage::Storage, clock::Clock, database};
use tokio_util::sync::CancellationToken;

use self::{bench::BenchArgs, verify::VerifyArgs};
use crate::{DEFAULT_POOL_MAX, config::WorkerConfig};

/// Exit code of a command that could not do its work; 1 says that something was found.
const BROKEN: u8 = 2;

/// What can be done with the store.
#[derive(Debug, Clone, Subcommand)]
pub enum StorageCommand {
    /// Compares objects and rows, and lists what has no counterpart. Exit code 0: nothing was found; 1: something was;
    /// 2: it could not be compared
    Verify(VerifyArgs),
    /// Writes an object, reads it and deletes it again, and prints figures, the memory it took among them
    Bench(BenchArgs),
}

/// Runs it.
pub async fn run(
    config: &WorkerConfig,
    command: StorageCommand,
    stop: CancellationToken,
) -> ExitCode {
    let work = async {
        let storage = Storage::open(&config.common.storage)?;
        match command {
            StorageCommand::Verify(args) => {
                let database = &config.common.database;
                let db = database::connect(database, config.pool_max, DEFAULT_POOL_MAX);
                let found = verify::run(&db, &storage, &Clock::System, &args);
                let found = tokio::select! {
                    found = found => found?,
                    () = stop.cancelled() => return Err(anyhow!("interrupted")),
                };
                Ok(ExitCode::from(u8::from(found)))
            }
            StorageCommand::Bench(args) => {
                bench::run(&storage, &args, stop).await?;
                Ok(ExitCode::SUCCESS)
            }
        }
    };
    work.await.unwrap_or_else(|error: anyhow::Error| {
        tracing::error!(error = %format!("{error:#}"), "the storage command failed");
        ExitCode::from(BROKEN)
    })
}
