//! A filter for one layer that loses no line.
//!
//! A program may ask whether a line would be logged without logging it, as sqlx does at each statement through the `log`
//! crate. With several filtered layers (tracing-subscriber 0.3), a "no" sticks, and the next line that is always wanted is
//! swallowed. So nothing is always wanted: the filter is asked anew at each line, which clears the old answer.

use tracing::{
    Id, Metadata, Subscriber,
    level_filters::LevelFilter,
    span::{Attributes, Record},
    subscriber::Interest,
};
use tracing_subscriber::layer::{Context, Filter};

/// The filter within, asked at each line.
pub(super) struct EachLine<F>(pub(super) F);

impl<S: Subscriber, F: Filter<S>> Filter<S> for EachLine<F> {
    fn enabled(&self, metadata: &Metadata<'_>, context: &Context<'_, S>) -> bool {
        self.0.enabled(metadata, context)
    }

    fn callsite_enabled(&self, metadata: &'static Metadata<'static>) -> Interest {
        let interest = self.0.callsite_enabled(metadata);
        if interest.is_always() {
            Interest::sometimes()
        } else {
            interest
        }
    }

    fn event_enabled(&self, event: &tracing::Event<'_>, context: &Context<'_, S>) -> bool {
        self.0.event_enabled(event, context)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        self.0.max_level_hint()
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        self.0.on_new_span(attributes, id, context);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        self.0.on_record(id, values, context);
    }

    fn on_enter(&self, id: &Id, context: Context<'_, S>) {
        self.0.on_enter(id, context);
    }

    fn on_exit(&self, id: &Id, context: Context<'_, S>) {
        self.0.on_exit(id, context);
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        self.0.on_close(id, context);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    };

    use tracing_subscriber::{EnvFilter, Layer, layer::SubscriberExt as _};

    use super::*;

    /// Counts lines, and keeps what is known of the last one.
    #[derive(Clone, Default)]
    struct Count {
        lines: Arc<AtomicUsize>,
        last: Arc<Mutex<Option<&'static Metadata<'static>>>>,
    }

    impl<S: Subscriber> Layer<S> for Count {
        fn on_event(&self, line: &tracing::Event<'_>, _: Context<'_, S>) {
            self.lines.fetch_add(1, Ordering::SeqCst);
            *self.last.lock().unwrap() = Some(line.metadata());
        }
    }

    fn log_statement() {
        tracing::debug!(target: "sqlx::query", "SELECT 1");
    }

    #[test]
    fn a_question_swallows_no_line() {
        let seen = Count::default();
        let all = tracing_subscriber::registry().with(seen.clone());
        tracing::subscriber::with_default(all, log_statement);
        let of_statement = seen.last.lock().unwrap().unwrap();

        let (logged, reported) = (Count::default(), Count::default());
        let filter = EnvFilter::builder().parse_lossy("info,shared=debug");
        let subscriber = tracing_subscriber::registry()
            .with(logged.clone().with_filter(EachLine(filter)))
            .with(reported.clone().with_filter(EachLine(LevelFilter::INFO)));
        tracing::subscriber::with_default(subscriber, || {
            for _ in 0..3 {
                // As `log::log_enabled!` does.
                tracing::dispatcher::get_default(|dispatch| dispatch.enabled(of_statement));
                tracing::info!("a line");
            }
            tracing::debug!("another line");
            log_statement();
        });
        assert_eq!(logged.lines.load(Ordering::SeqCst), 4);
        assert_eq!(reported.lines.load(Ordering::SeqCst), 3);
    }
}
