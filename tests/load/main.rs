//! Puts load on a running API, and tells how long its answers took.
//!
//! `path` asks for one path again and again; `mix` lets users do what users do, all at once; `deliveries` has a worker tell
//! endpoints of events.
#![expect(clippy::print_stdout, reason = "a command line tells its result")]

mod deliveries;
mod mix;
mod path;
mod times;

use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(
    name = "baatcheet-load",
    about = "Measures answers of a running API under load"
)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Asks for one path again and again
    Path(path::Args),
    /// Lets users chat, list, search, upload and tidy up, all at once
    Mix(mix::Args),
    /// Has a worker deliver webhooks
    Deliveries(deliveries::Args),
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    match Args::parse().command {
        Command::Path(args) => path::run(args).await,
        Command::Mix(args) => mix::run(args).await,
        Command::Deliveries(args) => Box::pin(deliveries::run(args)).await,
    }
}
