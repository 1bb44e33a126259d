//! One piece of work (a request, a run of a job) as Sentry sees it.

use std::{fmt::Display, sync::Arc};

use sentry_core::{
    Breadcrumb, Hub, Level, SentryFutureExt as _, Transaction, TransactionContext,
    protocol::{SpanStatus, User, Value},
};

use crate::ids::UserId;

/// A piece of work: errors within it carry its name, its tags and the steps that led to them, and some pieces are
/// traced. Without Sentry it does nothing.
pub struct Trace(Option<Open>);

struct Open {
    hub: Arc<Hub>,
    transaction: Option<Transaction>,
}

/// How a piece of work ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// Well.
    Ok,
    /// It was asked for in a wrong way.
    Refused,
    /// By our fault.
    Failed,
    /// Somebody stopped it.
    Cancelled,
}

impl Trace {
    /// Begins a piece of work. `operation` is a kind of work as Sentry names them, `name` has no ids in it.
    /// It is never traced unless `traceable`; of the others, the configured share is. Tags without a value are left out.
    ///
    /// A W3C `traceparent` joins it to the trace of who wanted it. Whether it is traced is ours to decide: a client could
    /// have us trace everything.
    pub fn begin(
        operation: &str,
        name: &str,
        traceable: bool,
        traceparent: Option<&str>,
        tags: &[(&str, &dyn Display)],
    ) -> Self {
        let main = Hub::main();
        if main.client().is_none() {
            return Self(None);
        }
        // A scope of its own: what other work has noted stays there.
        let hub = Arc::new(Hub::new_from_top(main));
        let transaction = traceable
            .then(|| hub.start_transaction(transaction_context(operation, name, traceparent)));
        hub.configure_scope(|scope| {
            scope.clear_breadcrumbs();
            scope.set_transaction(Some(name));
            scope.set_span(transaction.clone().map(Into::into));
            for (tag, value) in tags {
                let value = value.to_string();
                if !value.is_empty() {
                    scope.set_tag(tag, value);
                }
            }
        });
        hub.add_breadcrumb(|| beginning(operation, name, tags));
        Self(Some(Open { hub, transaction }))
    }

    /// Does the work within this piece.
    pub fn cover<F: Future>(&self, work: F) -> impl Future<Output = F::Output> + use<F> {
        let hub = match &self.0 {
            Some(open) => open.hub.clone(),
            None => Hub::current(),
        };
        work.bind_hub(hub)
    }

    /// Ends it. One that is dropped instead is not traced.
    pub fn end(self, ended: Ended, status: Option<u16>) {
        let Some(Open {
            hub,
            transaction: Some(transaction),
        }) = self.0
        else {
            return;
        };
        if transaction.get_status().is_none() {
            transaction.set_status(match ended {
                Ended::Ok => SpanStatus::Ok,
                Ended::Refused => SpanStatus::InvalidArgument,
                Ended::Failed => SpanStatus::InternalError,
                Ended::Cancelled => SpanStatus::Cancelled,
            });
        }
        if let Some(status) = status {
            transaction.set_data("http.response.status_code", status.into());
        }
        // Tags and user come from the scope of the hub in which it ends.
        Hub::run(hub, || transaction.finish());
    }
}

/// Notes a step of the present piece of work; the steps go with the errors that follow. Lines of `info` and `warn` are
/// steps by themselves: this is for what is not worth a line. Nothing that a user sent may be in it.
pub fn report_step(category: &str, is_trouble: bool, message: impl FnOnce() -> String) {
    sentry_core::add_breadcrumb(|| Breadcrumb {
        category: Some(category.to_owned()),
        level: if is_trouble {
            Level::Warning
        } else {
            Level::Info
        },
        message: Some(message()),
        ..Breadcrumb::default()
    });
}

/// Notes whose work the present piece is.
pub fn report_user(user: UserId) {
    report_step("auth", false, || "the user is known".to_owned());
    sentry_core::configure_scope(|scope| {
        scope.set_user(Some(User {
            id: Some(user.to_string()),
            ..User::default()
        }));
    });
}

/// Notes that the present piece has failed, for who ends it and does not know.
pub fn report_failed() {
    sentry_core::configure_scope(|scope| {
        if let Some(span) = scope.get_span() {
            span.set_status(SpanStatus::InternalError);
        }
    });
}

fn beginning(operation: &str, name: &str, tags: &[(&str, &dyn Display)]) -> Breadcrumb {
    let tags = tags.iter().map(|(tag, value)| (*tag, value.to_string()));
    Breadcrumb {
        category: Some(operation.to_owned()),
        message: Some(name.to_owned()),
        data: tags
            .filter(|(_, value)| !value.is_empty())
            .map(|(tag, value)| (tag.to_owned(), Value::from(value)))
            .collect(),
        ..Breadcrumb::default()
    }
}

fn transaction_context(
    operation: &str,
    name: &str,
    traceparent: Option<&str>,
) -> TransactionContext {
    let joined = traceparent.and_then(|traceparent| {
        let mut parts = traceparent.split('-').skip(1);
        let (trace, parent) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        Some(TransactionContext::new_with_details(
            name,
            operation,
            trace,
            None,
            Some(parent),
        ))
    });
    joined.unwrap_or_else(|| TransactionContext::new(name, operation))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_goes_on_but_its_sampling_is_ours() {
        let context = transaction_context(
            "http.server",
            "GET /",
            Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        );
        assert_eq!(
            context.trace_id().to_string(),
            "0af7651916cd43dd8448eb211c80319c"
        );
        assert_eq!(context.sampled(), None);
    }
}
