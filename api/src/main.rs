//! `baatcheet-api`.

use std::{io::Write as _, process::ExitCode, time::Duration};

use anyhow::Context as _;
use api::{
    Drained,
    config::{ApiConfig, Args, Command, UserCommand},
};
use clap::Parser as _;
use mimalloc::MiMalloc;
use shared::{clock::Clock, shutdown, telemetry};
use tokio::{net::TcpListener, runtime::Runtime};

/// What the C library's allocator is given back of large blocks, as hashed passwords and large questions need them, stays with
/// the thread that had them.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// Longest wait for work on threads that cannot be stopped, once everything else has ended.
const LAST_THREADS: Duration = Duration::from_millis(500);

fn main() -> anyhow::Result<ExitCode> {
    let mut args = Args::parse();
    args.common.providers.read_more(std::env::vars_os());
    if let Some(Command::Openapi) = args.command {
        writeln!(
            std::io::stdout(),
            "{}",
            serde_json::to_string_pretty(&api::document())?
        )?;
        return Ok(ExitCode::SUCCESS);
    }
    let config = match args.check() {
        Ok(config) => config,
        Err(problems) => {
            writeln!(std::io::stderr(), "baatcheet-api: {problems}")?;
            return Ok(ExitCode::from(2));
        }
    };
    if let Some(Command::User(command)) = args.command {
        return manage_users(&config, command);
    }
    // Dropped last: it sends the errors of the shutdown, too.
    let _telemetry = telemetry::init(&config.common.telemetry, "baatcheet-api")?;
    let runtime = Runtime::new()?;
    let ended = runtime.block_on(run(config));
    runtime.shutdown_timeout(LAST_THREADS);
    ended
}

fn manage_users(config: &ApiConfig, command: UserCommand) -> anyhow::Result<ExitCode> {
    match Runtime::new()?.block_on(api::manage_users(config, command)) {
        Ok(told) => {
            writeln!(std::io::stdout(), "{told}")?;
            Ok(ExitCode::SUCCESS)
        }
        Err(error) => {
            writeln!(std::io::stderr(), "baatcheet-api: {error:#}")?;
            Ok(ExitCode::FAILURE)
        }
    }
}

async fn run(config: ApiConfig) -> anyhow::Result<ExitCode> {
    let stop = shutdown::on_signal()?;
    let listener = TcpListener::bind(config.address)
        .await
        .with_context(|| format!("HOST and PORT: cannot listen on {}", config.address))?;
    match api::serve(config, Clock::System, listener, stop).await? {
        Drained::Whole => {
            tracing::info!("all requests were answered; bye");
            Ok(ExitCode::SUCCESS)
        }
        Drained::Forced => {
            tracing::warn!("some requests were cut; bye");
            Ok(ExitCode::FAILURE)
        }
    }
}
