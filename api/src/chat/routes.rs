//! Handlers of answers.

use std::time::Duration;

use axum::{
    extract::State,
    http::{HeaderMap, HeaderName, StatusCode},
    response::{IntoResponse as _, Response},
};
use shared::{
    ids::MessageId,
    models::{
        generation::{self, Stopped},
        message::{self, Status},
    },
};

use super::{
    answer::Options,
    dto::{
        AnswerAgain, ChatCompletion, CreateChatCompletion, MaxTokens, ReadStream, ResendMessage,
        Started, Temperature,
    },
    events::{stream, whole},
    live::Stop,
    told::{At, Heard},
    turn::{Begun, Target, Turn, begin, follow},
};
use crate::{
    app::App,
    caller::Caller,
    error::{Error, Problems, Result},
    extract::{Json, Path, Query},
    messages::{dto::Message, send_message::Parent},
    middleware::RequestId,
    text::Change,
};

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// How long a request to stop waits for the end.
const STOPPING: Duration = Duration::from_secs(3);

/// Says something to a model, and answers with what it says.
///
/// The message is stored, and then answered; a conversation is begun where none is named. With `stream`, the answer comes
/// as server-sent events: `message.started` with the ids, `message.delta` with each piece, and last either
/// `message.completed` with the same JSON as without `stream`, or `error` with `code`, `detail` and the message as far as
/// it was made. Calls of tools are told as `tool.started` and `tool.finished`, and stored as messages before the answer; while
/// an answer with tools is made, nothing can follow it (409 `answer_in_progress`). Ids of events grow: the bytes of the answer
/// up to them and, of events of tools, a point and a number, as in `12.1`; a stream that breaks can be read on at
/// `GET /api/v1/chat/streams/{messageId}`. The answer is made to its end whether or not the client stays.
///
/// Without `stream`, the answer has the headers `X-BaatCheet-Provider`, `X-BaatCheet-Attempts`,
/// `X-BaatCheet-Overhead-Ms` and, if the price is known, `X-BaatCheet-Cost-Microusd`.
#[utoipa::path(
    post, path = "/api/v1/chat/completions", tag = "chat", request_body = CreateChatCompletion,
    responses(
        (status = 200, description = "The answer", content(
            (ChatCompletion = "application/json"),
            (Started = "text/event-stream"),
        )),
        Problems,
    ),
    security(("bearer" = [])),
)]
#[tracing::instrument(skip_all)]
pub(super) async fn create_chat_completion(
    State(app): State<App>,
    caller: Caller,
    request: RequestId,
    Json(input): Json<CreateChatCompletion>,
) -> Result<Response> {
    let parent = match input.parent_id {
        Change::Keep => Parent::Current,
        Change::Clear => Parent::Nothing,
        Change::Set(parent) => Parent::Named(parent.0),
    };
    let turn = Turn {
        target: Target::New {
            conversation: input.conversation_id.map(|id| id.0),
            parent,
            project: input.project_id.map(|id| id.0),
            system_prompt: input.system_prompt.map(|text| text.0),
            text: input.message,
            attachments: input.attachment_ids.0,
        },
        model: input.model.map(|name| name.0),
        options: options(input.temperature, input.max_tokens),
        tools: input.tools,
        client_id: input.client_id.map(|text| text.0),
        is_streamed: input.stream,
    };
    answer(begin(&app, &caller, &request, turn).await?, input.stream).await
}

/// Answers a message anew: the new answer becomes a sibling of the old ones. The id is that of the message, or of an
/// answer to it.
#[utoipa::path(
    post, path = "/api/v1/messages/{id}/regenerate", tag = "chat", request_body = Option<AnswerAgain>,
    params(("id" = MessageId, Path, description = "The message, or an answer to it")),
    responses(
        (status = 200, description = "The new answer, as at `POST /api/v1/chat/completions`", content(
            (ChatCompletion = "application/json"),
            (Started = "text/event-stream"),
        )),
        Problems,
    ),
    security(("bearer" = [])),
)]
#[tracing::instrument(skip_all, fields(messageId = %id))]
pub(super) async fn regenerate_message(
    State(app): State<App>,
    caller: Caller,
    request: RequestId,
    Path(id): Path<MessageId>,
    input: Option<Json<AnswerAgain>>,
) -> Result<Response> {
    again(&app, &caller, &request, Target::Anew(id), input).await
}

/// Goes on with an answer that was cut short: stopped, interrupted, failed, or at the most tokens that were allowed.
///
/// The same message grows; the events begin after what was said before.
#[utoipa::path(
    post, path = "/api/v1/messages/{id}/continue", tag = "chat", request_body = Option<AnswerAgain>,
    params(("id" = MessageId, Path, description = "The answer")),
    responses(
        (status = 200, description = "The whole answer, as at `POST /api/v1/chat/completions`", content(
            (ChatCompletion = "application/json"),
            (Started = "text/event-stream"),
        )),
        Problems,
    ),
    security(("bearer" = [])),
)]
#[tracing::instrument(skip_all, fields(messageId = %id))]
pub(super) async fn continue_message(
    State(app): State<App>,
    caller: Caller,
    request: RequestId,
    Path(id): Path<MessageId>,
    input: Option<Json<AnswerAgain>>,
) -> Result<Response> {
    again(&app, &caller, &request, Target::Onward(id), input).await
}

/// Words a message anew and answers it: the new wording becomes a sibling of the old one.
#[utoipa::path(
    post, path = "/api/v1/messages/{id}/resend", tag = "chat", request_body = ResendMessage,
    params(("id" = MessageId, Path, description = "The message")),
    responses(
        (status = 200, description = "The answer, as at `POST /api/v1/chat/completions`", content(
            (ChatCompletion = "application/json"),
            (Started = "text/event-stream"),
        )),
        Problems,
    ),
    security(("bearer" = [])),
)]
#[tracing::instrument(skip_all, fields(messageId = %id))]
pub(super) async fn resend_message(
    State(app): State<App>,
    caller: Caller,
    request: RequestId,
    Path(id): Path<MessageId>,
    Json(input): Json<ResendMessage>,
) -> Result<Response> {
    let turn = Turn {
        target: Target::Reworded {
            message: id,
            text: input.message,
            attachments: input.attachment_ids.map(|ids| ids.0),
        },
        model: input.model.map(|name| name.0),
        options: options(input.temperature, input.max_tokens),
        tools: input.tools,
        client_id: input.client_id.map(|text| text.0),
        is_streamed: input.stream,
    };
    answer(begin(&app, &caller, &request, turn).await?, input.stream).await
}

async fn again(
    app: &App,
    caller: &Caller,
    request: &RequestId,
    target: Target,
    input: Option<Json<AnswerAgain>>,
) -> Result<Response> {
    let input = input.map(|input| input.0).unwrap_or_default();
    let turn = Turn {
        target,
        model: input.model.map(|name| name.0),
        options: options(input.temperature, input.max_tokens),
        tools: input.tools,
        client_id: None,
        is_streamed: input.stream,
    };
    answer(begin(app, caller, request, turn).await?, input.stream).await
}

fn options(temperature: Option<Temperature>, max_tokens: Option<MaxTokens>) -> Options {
    Options {
        temperature: temperature.map(|number| number.0),
        max_tokens: max_tokens.map(|number| number.0),
    }
}

async fn answer(begun: Begun, is_stream: bool) -> Result<Response> {
    if is_stream {
        Ok(stream(begun.reader, Some(begun.started)))
    } else {
        whole(begun.reader).await
    }
}

/// Reads the events of an answer, from the beginning or from an event on, at any instance: what was said is told again,
/// and then what is said. What tools did is told again while the answer is made; later it is in the messages only.
///
/// A client that has seen the last event gets a 204, which tells an `EventSource` not to connect again.
#[utoipa::path(
    get, path = "/api/v1/chat/streams/{messageId}", tag = "chat",
    params(("messageId" = MessageId, Path, description = "The answer"), ReadStream),
    responses(
        (status = 200, description = "The events, as at `POST /api/v1/chat/completions`", body = Started,
            content_type = "text/event-stream"),
        (status = 204, description = "The last event was seen already"),
        Problems,
    ),
    security(("bearer" = [])),
)]
#[tracing::instrument(skip_all, fields(messageId = %id))]
pub(super) async fn read_chat_stream(
    State(app): State<App>,
    caller: Caller,
    headers: HeaderMap,
    Path(id): Path<MessageId>,
    Query(input): Query<ReadStream>,
) -> Result<Response> {
    let last = headers.get(LAST_EVENT_ID).map(|value| {
        let text = value.to_str().unwrap_or_default().trim();
        text.parse::<At>().map_err(|_| {
            Error::Malformed(
                "the Last-Event-ID must be the id of an event of this stream".to_owned(),
            )
        })
    });
    // An `EventSource` that was begun with `after` sends both when it connects again.
    let after = input.after.map(|after| after.0).max(last.transpose()?);
    let row = message::get(&app.db, caller.user, id).await?;
    let mut at = after.unwrap_or_default();
    if row.status == Status::Streaming
        && let Some(making) = generation::find(&app.db, caller.user, id).await?
    {
        // The last event of what was said before has the number of the first byte of what is said now.
        let begun = usize::try_from(making.begun_bytes).unwrap_or_default();
        if at == At::from(begun + 1) && making.text.len() <= at.bytes {
            at = At::from(begun);
        }
    }
    // Who has seen more than was stored of an answer that was interrupted has not seen its end.
    let is_seen = match row.status {
        Status::Streaming => false,
        Status::Interrupted => at.bytes == row.content.text().len().saturating_add(1),
        _ => at.bytes > row.content.text().len(),
    };
    if is_seen {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let begun = follow(&app, &caller, row, at)?;
    let started = after.is_none().then_some(begun.started);
    Ok(stream(begun.reader, started))
}

/// Stops an answer: its provider is stopped, what was said so far is kept, and it is accounted for.
///
/// Repeating the call changes nothing, nor does stopping an answer that has ended.
#[utoipa::path(
    post, path = "/api/v1/chat/streams/{messageId}/cancel", tag = "chat",
    params(("messageId" = MessageId, Path, description = "The answer")),
    responses((status = 200, description = "The answer, stopped or ended before", body = Message), Problems),
    security(("bearer" = [])),
)]
#[tracing::instrument(skip_all, fields(messageId = %id))]
pub(super) async fn cancel_chat_stream(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<MessageId>,
) -> Result<Json<Message>> {
    let row = message::get(&app.db, caller.user, id).await?;
    if row.status == Status::Streaming {
        let mut reader = follow(&app, &caller, row, At::default())?.reader;
        if !app.chat.live().stop(id, Stop::Cancelled) {
            super::stop(&app, caller.user, Stopped::Message(id)).await?;
        }
        let ended =
            async { while let Heard::More(_) | Heard::Tool(_) = reader.listener.next().await {} };
        _ = tokio::time::timeout(STOPPING, ended).await;
    } else if row.role != message::Role::Assistant {
        return Err(Error::NotFound("answer"));
    }
    let row = message::get(&app.db, caller.user, id).await?;
    Ok(Json(row.into()))
}
