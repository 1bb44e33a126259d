//! SIGTERM and SIGINT.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Gives a token that the first SIGTERM or SIGINT cancels. The second one ends the process at once, with exit code 1.
///
/// # Errors
/// When the handlers cannot be installed.
pub fn on_signal() -> std::io::Result<CancellationToken> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let token = CancellationToken::new();
    let cancel = token.clone();
    #[expect(
        clippy::disallowed_methods,
        reason = "it listens until the process ends"
    )]
    tokio::spawn(async move {
        for count in 1u8.. {
            let name = tokio::select! {
                _ = terminate.recv() => "SIGTERM",
                _ = interrupt.recv() => "SIGINT",
            };
            if count > 1 {
                tracing::warn!("{name} again: ending at once");
                #[expect(clippy::exit, reason = "the operator insists")]
                std::process::exit(1);
            }
            tracing::info!("{name}: shutting down; a second one ends at once");
            cancel.cancel();
        }
    });
    Ok(token)
}
