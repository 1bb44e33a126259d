//! What the programs tell of what they do: logs for everybody, error reports and traces for Sentry.

mod filter;
mod reports;
mod scrub;
mod trace;

use std::{panic::PanicHookInfo, sync::Arc, time::Duration};

use sentry_core::Client;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::{
    EnvFilter, Layer, filter::Targets, layer::SubscriberExt, util::SubscriberInitExt,
};

use self::filter::EachLine;
pub use self::trace::{Ended, Trace, report_failed, report_step, report_user};
use crate::config::TelemetryConfig;

/// Whose lines are not wanted, unless `RUST_LOG` names it: what the library says of each try to reach a server of tools, whoever
/// asks that server says once.
const QUIET: &str = "rmcp";
/// Longest wait for error reports that are still on their way when the program ends.
const LAST_REPORTS: Duration = Duration::from_secs(1);

/// Sends what is left when it is dropped, within a second.
#[must_use = "error reports end when it is dropped"]
pub struct Telemetry(Option<Arc<Client>>);

impl Drop for Telemetry {
    fn drop(&mut self) {
        if let Some(client) = &self.0 {
            client.close(Some(LAST_REPORTS));
        }
    }
}

/// Starts logging to standard output, and reporting errors where that is configured. To be called in `main`, before
/// other threads are started; a second call in one process changes nothing.
///
/// In JSON the fields of the event and of its spans (`requestId`, `userId`, `jobId`) stand at the top level, so
/// that a log search needs no paths.
///
/// # Errors
/// When error reports are configured and cannot be started.
pub fn init(config: &TelemetryConfig, program: &'static str) -> anyhow::Result<Telemetry> {
    let layer = if config.json {
        json_subscriber::fmt::layer()
            .flatten_event(true)
            .flatten_span_list_on_top_level(true)
            .with_current_span(false)
            .with_span_list(false)
            .boxed()
    } else {
        tracing_subscriber::fmt::layer().boxed()
    };
    // Without a DSN there is no layer, so it costs nothing.
    let reports = config
        .sentry
        .is_some()
        .then(|| reports::Reports.with_filter(EachLine(reported())));
    if tracing_subscriber::registry()
        .with(layer.with_filter(EachLine(logged(&config.filter))))
        .with(reports)
        .try_init()
        .is_err()
    {
        return Ok(Telemetry(None));
    }
    std::panic::set_hook(Box::new(log_panic));
    let client = config
        .sentry
        .as_ref()
        .map(|sentry| reports::start(sentry, program))
        .transpose()?;
    Ok(Telemetry(client))
}

/// Which lines are logged.
fn logged(filter: &str) -> EnvFilter {
    // Of two words on the same target the later counts.
    EnvFilter::builder().parse_lossy(format!("{QUIET}=off,{filter}"))
}

/// Which lines are reported, or go with a report.
fn reported() -> Targets {
    Targets::new()
        .with_default(LevelFilter::INFO)
        .with_target(QUIET, LevelFilter::OFF)
}

/// A panic is a log line like any other, with its place.
fn log_panic(info: &PanicHookInfo<'_>) {
    let place = info.location().map(ToString::to_string).unwrap_or_default();
    let message = info.payload_as_str().unwrap_or("(no message)");
    tracing::error!(place, "panic: {message}");
}

/// Logs one line for an optional feature: on or off, and the variable that decides, or what else does.
pub fn log_feature(feature: &str, on: bool, variable: &str) {
    let state = if on { "on" } else { "off" };
    tracing::info!(feature, variable, "{feature} is {state} ({variable})");
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tracing::{Event, Subscriber};
    use tracing_subscriber::layer::Context;

    use super::*;

    /// Counts lines.
    #[derive(Clone, Default)]
    struct Count(Arc<AtomicUsize>);

    impl<S: Subscriber> Layer<S> for Count {
        fn on_event(&self, _: &Event<'_>, _: Context<'_, S>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn what_a_library_says_of_servers_is_neither_logged_nor_reported() {
        let lines = |filter: &str| {
            let (logs, reports) = (Count::default(), Count::default());
            let subscriber = tracing_subscriber::registry()
                .with(logs.clone().with_filter(EachLine(logged(filter))))
                .with(reports.clone().with_filter(EachLine(reported())));
            tracing::subscriber::with_default(subscriber, || {
                tracing::error!(target: "rmcp::transport::worker", "worker quit with fatal");
                tracing::warn!(target: "shared::tools", "a server of tools does not answer");
            });
            [logs, reports].map(|count| count.0.load(Ordering::SeqCst))
        };
        assert_eq!(lines("info"), [1, 1]);
        assert_eq!(lines("info,rmcp=error"), [2, 1]);
    }
}
