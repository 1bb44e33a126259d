//! What the API adds to a provider: a provider of this program's own, asked directly and through the API in turn.
//!
//! `upstream` is the provider: its model `delay-60-bytes-200` answers after 60 ms with 200 bytes, and `paced` says 64 words,
//! one each 20 ms. `measure` asks both, and tells the difference.
#![expect(clippy::print_stdout, reason = "a command line tells its result")]

mod client;
mod measure;
mod upstream;

use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(
    name = "baatcheet-gateway",
    about = "Measures what the API adds to a provider"
)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serves as a provider on 127.0.0.1 until it is ended
    Upstream {
        /// Where it listens
        #[arg(long)]
        port: u16,
    },
    /// Tells the models of the provider, as the file that `MODELS_FILE` names
    Models,
    /// Measures
    Measure(measure::Args),
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    match Args::parse().command {
        Command::Upstream { port } => upstream::serve(port).await,
        Command::Models => {
            println!("{}", upstream::models());
            Ok(())
        }
        Command::Measure(args) => measure::run(args).await,
    }
}
