//! Error reports: what is logged at `error` goes to Sentry, with the lines of `info` and `warn` that led to it.
//!
//! A layer of our own instead of those of `sentry-tracing`: its layer of spans takes a fresh scope at each poll of a
//! future, so that what a request noted before an await (its user, its breadcrumbs) is lost after it.

use std::{collections::BTreeMap, fmt, sync::Arc};

use sentry_core::{
    Breadcrumb, Client, ClientOptions, Hub, Level,
    protocol::{Context, Event, Exception, Value},
};
use tracing::{
    Metadata, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::layer;

use super::scrub;
use crate::{clients::sentry::Ingest, config::SentryConfig};

/// Lines that go with an error.
const BREADCRUMBS: usize = 50;
/// Fields by which reports are searched.
const TAGS: [&str; 5] = ["requestId", "jobId", "kind", "queue", "role"];

/// Connects this process to Sentry.
///
/// # Errors
/// When the sending side cannot be started.
pub(super) fn start(config: &SentryConfig, program: &'static str) -> anyhow::Result<Arc<Client>> {
    // First of all: the thread that asks first owns the process' hub.
    let hub = Hub::main();
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let mut options = ClientOptions::new()
        .release(concat!("baatcheet@", env!("CARGO_PKG_VERSION")))
        .environment(config.environment.clone())
        .server_name(host.trim().to_owned())
        .traces_sample_rate(config.traces_sample_rate)
        .send_default_pii(false)
        .max_breadcrumbs(BREADCRUMBS)
        .before_send(|event| Some(scrub::event(event)))
        .before_breadcrumb(|breadcrumb| Some(scrub::breadcrumb(breadcrumb)))
        .transport(Arc::new(Ingest::start(config)?));
    options.dsn = Some(config.dsn.clone());
    let client = Arc::new(Client::from(options));
    hub.bind_client(Some(client.clone()));
    hub.configure_scope(|scope| scope.set_tag("program", program));
    Ok(client)
}

/// Reads log lines. To be filtered: it takes every line of `info` and above.
pub(super) struct Reports;

impl<S: Subscriber> layer::Layer<S> for Reports {
    fn on_event(&self, line: &tracing::Event<'_>, _: layer::Context<'_, S>) {
        let metadata = line.metadata();
        // Nothing is read of a line unless there is somebody to send it.
        Hub::with_active(|hub| {
            let mut fields = Fields::default();
            line.record(&mut fields);
            match *metadata.level() {
                tracing::Level::ERROR => _ = hub.capture_event(fields.into_event(metadata)),
                level => hub.add_breadcrumb(fields.into_breadcrumb(metadata, level)),
            }
        });
    }
}

/// The fields of a log line.
#[derive(Default)]
struct Fields {
    message: String,
    values: BTreeMap<String, Value>,
}

impl Fields {
    fn into_event(mut self, metadata: &Metadata<'_>) -> Event<'static> {
        let mut event = Event {
            level: Level::Error,
            logger: Some(metadata.target().to_owned()),
            ..Event::default()
        };
        for name in TAGS {
            if let Some(Value::String(value)) = self.values.remove(name) {
                event.tags.insert(name.to_owned(), value);
            }
        }
        // Reports are grouped by what failed; the message alone would put all internal errors together.
        match self.values.remove("error") {
            Some(Value::String(error)) => {
                event.exception = vec![Exception {
                    ty: self.message,
                    value: Some(error),
                    module: Some(metadata.target().to_owned()),
                    ..Exception::default()
                }]
                .into();
            }
            _ => event.message = Some(self.message),
        }
        if !self.values.is_empty() {
            let fields = Context::Other(self.values.into_iter().collect());
            event.contexts.insert("fields".to_owned(), fields);
        }
        event
    }

    fn into_breadcrumb(self, metadata: &Metadata<'_>, level: tracing::Level) -> Breadcrumb {
        Breadcrumb {
            ty: "log".to_owned(),
            level: if level == tracing::Level::WARN {
                Level::Warning
            } else {
                Level::Info
            },
            category: Some(metadata.target().to_owned()),
            message: Some(self.message),
            data: self.values.into_iter().collect(),
            ..Breadcrumb::default()
        }
    }

    fn note(&mut self, field: &Field, value: impl Into<Value>) {
        self.values.insert(field.name().to_owned(), value.into());
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.message = format!("{value:?}");
        } else {
            self.note(field, format!("{value:?}"));
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            value.clone_into(&mut self.message);
        } else {
            self.note(field, value);
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.note(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.note(field, value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.note(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.note(field, value);
    }
}
