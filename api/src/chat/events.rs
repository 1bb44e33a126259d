//! Answers as server-sent events (HTML Living Standard §9.2), or whole.
//!
//! The `id` of an event is the number of bytes of the answer up to it: 0 for `message.started`, and one more than the
//! whole answer for the last event. What tools do comes between words: the first such event after 12 bytes is `12.1`, the
//! next one `12.2`. So a stream can be read on from any event, at any instance, also when the answer has ended long ago.

use std::{convert::Infallible, fmt::Write as _, sync::Arc};

use axum::{
    body::Body,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use bytes::Bytes;
use serde::Serialize;
use shared::{
    database,
    ids::{MessageId, UserId},
    models::message::{self, AnswerUsage, Status},
};
use tokio::time::Instant;

use super::{
    LOOK, UNTIL_BACK,
    dto::{ChatCompletion, Delta, Last, Started, failure},
    relay,
    told::{At, Heard, Listener},
};
use crate::{
    app::App,
    error::{AnswerFailed, Error, Result},
    extract::Json,
};

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

/// Streams an answer; `started` is told first, with the place at which the stream begins.
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
    as_stream(Body::from_stream(events))
}

/// Waits for an answer, and answers with it.
///
/// # Errors
/// [`Error::AnswerFailed`] where it was not made to its end.
pub(super) async fn whole(mut reader: Reader) -> Result<Response> {
    let row = loop {
        if let Heard::End(row) = reader.follow().await? {
            break row;
        }
    };
    if matches!(row.status, Status::Failed | Status::Interrupted) {
        let failure = failure(&row);
        let (status, code) = match failure.code.as_str() {
            "interrupted" => (StatusCode::SERVICE_UNAVAILABLE, "interrupted"),
            "unavailable" => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
            "internal" => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
            "provider_rate_limited" => (StatusCode::TOO_MANY_REQUESTS, "provider_rate_limited"),
            "provider_unavailable" => (StatusCode::SERVICE_UNAVAILABLE, "provider_unavailable"),
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
    let usage = row.figures.map(|figures| figures.usage);
    tell_usage(
        response.headers_mut(),
        row.provider.as_deref(),
        usage.as_ref(),
    );
    Ok(response)
}

/// Tells in headers who answered, and what it took.
pub(crate) fn tell_usage(
    headers: &mut HeaderMap,
    provider: Option<&str>,
    usage: Option<&AnswerUsage>,
) {
    let text = |text: &str| HeaderValue::from_str(text).ok();
    let told = [
        (PROVIDER, provider.and_then(text)),
        (ATTEMPTS, usage.map(|usage| usage.attempts.into())),
        (
            OVERHEAD,
            usage.and_then(|usage| text(&usage.overhead_ms.to_string())),
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
}

/// The head of a stream of events.
pub(crate) fn as_stream(body: Body) -> Response {
    let mut response = body.into_response();
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/event-stream"),
    );
    headers.insert(BUFFERING, HeaderValue::from_static("no"));
    response
}

impl Reader {
    /// Waits for more. What is made elsewhere is not waited for once this program is about to end: a client finds it at
    /// another instance.
    pub(super) async fn hear(&mut self) -> Heard {
        if self.app.chat.live().is_own(self.id) {
            return self.listener.next().await;
        }
        tokio::select! {
            biased;
            heard = self.listener.next() => heard,
            () = self.app.closing.cancelled() => Heard::Gone,
        }
    }

    /// Waits for more of it, wherever it is said next.
    async fn follow(&mut self) -> Result<Heard> {
        loop {
            match self.hear().await {
                Heard::Gone => self.find_again().await?,
                heard => return Ok(heard),
            }
        }
    }

    /// The next events, and whether they are the last.
    async fn next(&mut self) -> (String, bool) {
        let mut events = String::new();
        let silence = self.app.config.chat.keep_alive;
        match tokio::time::timeout(silence, self.follow()).await {
            Err(_) => events.push_str(": keep-alive\n\n"),
            Ok(Ok(Heard::End(row))) => {
                write_last(&mut events, self.listener.at().bytes, &row);
                return (events, true);
            }
            Ok(Ok(Heard::More(pieces))) => {
                for (text, at) in &pieces {
                    write(&mut events, "message.delta", *at, &Delta { delta: text });
                }
            }
            Ok(Ok(Heard::Tool(noted))) => {
                write(&mut events, noted.note.event(), noted.at, &noted.note);
            }
            // Whoever follows an answer is not told of it.
            Ok(Ok(Heard::Gone)) => {}
            Ok(Err(Error::NotFound(_))) => {
                let gone = Lost {
                    code: "not_found",
                    detail: "the answer was deleted",
                };
                write(
                    &mut events,
                    "error",
                    self.listener.at().bytes.saturating_add(1),
                    &gone,
                );
                return (events, true);
            }
            // The client asks again, at another instance.
            Ok(Err(error)) => {
                tracing::debug!(error = %error, "an answer cannot be read to its end");
                return (events, true);
            }
        }
        (events, false)
    }

    /// Whoever said it is gone: looks who says it now, or how it ended.
    pub(super) async fn find_again(&mut self) -> Result<()> {
        if self.app.closing.is_cancelled() {
            return Err(Error::Unavailable(anyhow::anyhow!(
                "the server is shutting down"
            )));
        }
        let until = Instant::now() + UNTIL_BACK;
        let row = loop {
            match message::get(&self.app.db, self.user, self.id).await {
                Err(database::Error::Unavailable(_)) if Instant::now() < until => {
                    tokio::time::sleep(LOOK).await;
                }
                row => break row?,
            }
        };
        self.listener = listen(&self.app, self.user, row, self.listener.at());
        Ok(())
    }
}

/// What is told where the answer is there no more.
#[derive(Serialize)]
struct Lost {
    code: &'static str,
    detail: &'static str,
}

/// Hears an answer from a place on, wherever it is made.
pub(super) fn listen(app: &App, user: UserId, row: message::Model, at: At) -> Listener {
    if row.status != Status::Streaming {
        return Listener::of(row, at);
    }
    let live = app.chat.live();
    if let Some(listener) = live.listen(row.id, at) {
        return listener;
    }
    let (listener, speaker) = live.repeat(row.id, at);
    if let Some(speaker) = speaker {
        app.tasks
            .spawn(relay::repeat(app.clone(), user, row.id, speaker));
    }
    listener
}

fn write_last(events: &mut String, length: usize, row: &Arc<message::Model>) {
    let last = Last::of(row);
    write(events, last.name(), length.saturating_add(1), &last);
}

fn write(events: &mut String, name: &str, id: impl Into<At>, data: &impl Serialize) {
    let id = id.into();
    // JSON has no line breaks of its own.
    let data = serde_json::to_string(data).expect("events are plain data");
    write!(events, "id: {id}\nevent: {name}\ndata: {data}\n\n").expect("a text can be written");
}
