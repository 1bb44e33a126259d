//! Answers as server-sent events (HTML Living Standard §9.2), or whole.
//!
//! The `id` of an event is the number of bytes of the answer up to it: 0 for `message.started`, and one more than the
//! whole answer for the last event. So a stream can be read on from any event, at any instance, also when the answer has
//! ended long ago.

use std::{convert::Infallible, fmt::Write as _, sync::Arc, time::Duration};

use axum::{
    body::Body,
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use bytes::Bytes;
use serde::Serialize;
use shared::{
    database,
    ids::{MessageId, UserId},
    models::message::{self, Status},
};
use tokio::time::Instant;

use super::{
    dto::{ChatCompletion, Delta, Last, Started, failure},
    live::{Heard, Listener},
};
use crate::{
    app::App,
    error::{AnswerFailed, Error, Result},
    extract::Json,
};

/// A byte at least this often keeps routers from closing a silent stream.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// How long it takes at most until an answer whose instance has died is ended by another one, and how often it is looked.
const UNTIL_ENDED: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(200);

const PROVIDER: HeaderName = HeaderName::from_static("x-baatcheet-provider");
const ATTEMPTS: HeaderName = HeaderName::from_static("x-baatcheet-attempts");
const OVERHEAD: HeaderName = HeaderName::from_static("x-baatcheet-overhead-ms");
const COST: HeaderName = HeaderName::from_static("x-baatcheet-cost-microusd");
/// Keeps nginx from collecting a stream.
const BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// Somebody who reads an answer.
pub(super) struct Reader {
    pub(super) app: App,
    pub(super) user: UserId,
    pub(super) id: MessageId,
    pub(super) listener: Listener,
}

/// Streams an answer; `started` is told first, with the position at which the stream begins.
pub(super) fn stream(reader: Reader, started: Option<Started>) -> Response {
    let mut first = String::new();
    if let Some(started) = started {
        write(
            &mut first,
            "message.started",
            reader.listener.at(),
            &started,
        );
    }
    let begin = Some((reader, first));
    let events = futures::stream::unfold(begin, async |state| {
        let (mut reader, first) = state?;
        if !first.is_empty() {
            return Some((
                Ok::<_, Infallible>(Bytes::from(first)),
                Some((reader, String::new())),
            ));
        }
        let (events, is_over) = reader.next().await;
        let rest = (!is_over).then_some((reader, String::new()));
        Some((Ok(Bytes::from(events)), rest))
    });
    let mut response = Body::from_stream(events).into_response();
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/event-stream"),
    );
    headers.insert(BUFFERING, HeaderValue::from_static("no"));
    response
}

/// Waits for an answer, and answers with it.
///
/// # Errors
/// [`Error::AnswerFailed`] where it was not made to its end.
pub(super) async fn whole(mut reader: Reader) -> Result<Response> {
    let row = loop {
        match reader.listener.next().await {
            Heard::More(_) => {}
            Heard::End(row) => break row,
            Heard::Gone => break reader.ended().await?,
        }
    };
    if matches!(row.status, Status::Failed | Status::Interrupted) {
        let failure = failure(&row);
        let (status, code) = match failure.code.as_str() {
            "interrupted" => (StatusCode::SERVICE_UNAVAILABLE, "interrupted"),
            "provider_rate_limited" => (StatusCode::SERVICE_UNAVAILABLE, "provider_rate_limited"),
            "provider_refused" => (StatusCode::BAD_GATEWAY, "provider_refused"),
            "timeout" => (StatusCode::GATEWAY_TIMEOUT, "provider_timeout"),
            _ => (StatusCode::BAD_GATEWAY, "provider_failed"),
        };
        return Err(Error::AnswerFailed(Box::new(AnswerFailed {
            status,
            code,
            failure,
            message: row.id,
            conversation: row.conversation_id,
        })));
    }
    let row = message::Model::clone(&row);
    let mut response = Json(ChatCompletion::from(row.clone())).into_response();
    let headers = response.headers_mut();
    let text = |text: &str| HeaderValue::from_str(text).ok();
    let usage = row.figures.map(|figures| figures.usage);
    let told = [
        (PROVIDER, row.provider.as_deref().and_then(text)),
        (ATTEMPTS, usage.as_ref().map(|usage| usage.attempts.into())),
        (
            OVERHEAD,
            usage
                .as_ref()
                .and_then(|usage| text(&usage.overhead_ms.to_string())),
        ),
        (
            COST,
            usage
                .and_then(|usage| usage.cost_microusd)
                .map(HeaderValue::from),
        ),
    ];
    for (name, value) in told {
        if let Some(value) = value {
            headers.insert(name, value);
        }
    }
    Ok(response)
}

impl Reader {
    /// The next events, and whether they are the last.
    async fn next(&mut self) -> (String, bool) {
        let mut events = String::new();
        match tokio::time::timeout(KEEP_ALIVE, self.listener.next()).await {
            Err(_) => events.push_str(": keep-alive\n\n"),
            Ok(Heard::More(pieces)) => {
                for (text, at) in &pieces {
                    write(&mut events, "message.delta", *at, &Delta { delta: text });
                }
            }
            Ok(Heard::End(row)) => {
                write_last(&mut events, self.listener.at(), &row);
                return (events, true);
            }
            Ok(Heard::Gone) => {
                match self.ended().await {
                    Ok(row) => {
                        let mut rest =
                            Listener::of(message::Model::clone(&row), self.listener.at());
                        if let Heard::More(pieces) = rest.next().await {
                            for (text, at) in &pieces {
                                write(&mut events, "message.delta", *at, &Delta { delta: text });
                            }
                        }
                        write_last(&mut events, rest.at(), &row);
                    }
                    // Its conversation was deleted, or nobody can say: the client asks again.
                    Err(error) => {
                        tracing::debug!(error = %error, "an answer cannot be read to its end");
                    }
                }
                return (events, true);
            }
        }
        (events, false)
    }

    /// What became of an answer that is not made here any more.
    async fn ended(&self) -> Result<Arc<message::Model>> {
        let until = Instant::now() + UNTIL_ENDED;
        loop {
            match message::get(&self.app.db, self.user, self.id).await {
                Ok(row) if row.status != Status::Streaming => return Ok(Arc::new(row)),
                Ok(_) | Err(database::Error::Unavailable(_)) if Instant::now() < until => {
                    tokio::time::sleep(LOOK).await;
                }
                Ok(_) => return Err(Error::Timeout),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

fn write_last(events: &mut String, length: usize, row: &Arc<message::Model>) {
    let last = Last::of(row);
    write(events, last.name(), length + 1, &last);
}

fn write(events: &mut String, name: &str, id: usize, data: &impl Serialize) {
    // JSON has no line breaks of its own.
    let data = serde_json::to_string(data).expect("events are plain data");
    write!(events, "id: {id}\nevent: {name}\ndata: {data}\n\n").expect("a text can be written");
}
