//! Logs: one line per thing that happened, for people or as JSON.

use std::panic::PanicHookInfo;

use tracing_subscriber::{EnvFilter, Layer, layer::SubscriberExt, util::SubscriberInitExt};

use crate::config::TelemetryConfig;

/// Starts logging to standard output. A second call in one process changes nothing.
///
/// In JSON the fields of the event and of its spans (`requestId`, `userId`, `jobId`) stand at the top level, so
/// that a log search needs no paths.
pub fn init(config: &TelemetryConfig) {
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
    let filter = EnvFilter::builder().parse_lossy(&config.filter);
    if tracing_subscriber::registry()
        .with(layer.with_filter(filter))
        .try_init()
        .is_ok()
    {
        std::panic::set_hook(Box::new(log_panic));
    }
}

/// A panic is a log line like any other, with its place.
fn log_panic(info: &PanicHookInfo<'_>) {
    let place = info.location().map(ToString::to_string).unwrap_or_default();
    let message = info.payload_as_str().unwrap_or("(no message)");
    tracing::error!(place, "panic: {message}");
}

/// Logs one line for an optional feature: on or off, and the variable that decides.
pub fn log_feature(feature: &str, on: bool, variable: &str) {
    let state = if on { "on" } else { "off" };
    tracing::info!(feature, variable, "{feature} is {state} ({variable})");
}
