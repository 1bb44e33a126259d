//! `baatcheet-worker`.

use std::{process::ExitCode, time::Duration};

use clap::Parser as _;
use shared::{shutdown, telemetry};
use tokio::runtime::Runtime;
use worker::{
    bench,
    config::{Args, Command, WorkerConfig},
    engines::{render, variants},
    registry::Registry,
    runner::Drained,
    secrets, storage,
};

/// Longest wait for work on threads that cannot be stopped, once everything else has ended.
const LAST_THREADS: Duration = Duration::from_millis(500);

fn main() -> anyhow::Result<ExitCode> {
    let mut args = Args::parse();
    args.common.providers.read_more(std::env::vars_os());
    // A helper of the worker knows nothing of a configuration.
    match &args.command {
        Some(Command::Render(args)) => return Ok(render::main(args)),
        Some(Command::MakeVariants { order }) => {
            variants::work(order)?;
            return Ok(ExitCode::SUCCESS);
        }
        Some(Command::BenchImages(args)) => {
            variants::bench(args)?;
            return Ok(ExitCode::SUCCESS);
        }
        _ => {}
    }
    let config = match args.check() {
        Ok(config) => config,
        Err(problems) => {
            #[expect(
                clippy::print_stderr,
                reason = "there is no logger without a configuration"
            )]
            {
                eprintln!("baatcheet-worker: {problems}");
            }
            return Ok(ExitCode::from(2));
        }
    };
    // Dropped last: it sends the errors of the shutdown, too.
    let _telemetry = telemetry::init(&config.common.telemetry, "baatcheet-worker")?;
    let runtime = Runtime::new()?;
    let ended = runtime.block_on(run(config, args.command));
    runtime.shutdown_timeout(LAST_THREADS);
    ended
}

async fn run(config: WorkerConfig, command: Option<Command>) -> anyhow::Result<ExitCode> {
    let stop = shutdown::on_signal()?;
    match command {
        Some(Command::Bench(args)) => {
            bench::run(config, args, stop).await?;
            return Ok(ExitCode::SUCCESS);
        }
        Some(Command::Storage(command)) => return Ok(storage::run(&config, command, stop).await),
        Some(Command::Secrets(command)) => return Ok(secrets::run(&config, command, stop).await),
        // The others have run before, without all this.
        Some(
            Command::Run
            | Command::Render(_)
            | Command::MakeVariants { .. }
            | Command::BenchImages(_),
        )
        | None => {}
    }
    match worker::run(config, Registry::all(), stop).await? {
        Drained::Whole => {
            tracing::info!("all jobs have ended; bye");
            Ok(ExitCode::SUCCESS)
        }
        Drained::Released(jobs) => {
            tracing::warn!(jobs, "some jobs went back to their queue; bye");
            Ok(ExitCode::FAILURE)
        }
    }
}
