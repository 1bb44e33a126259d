//! Handlers of messages.

use axum::{extract::State, http::StatusCode, response::Response};
use shared::{
    ids::{ConversationId, MessageId},
    models::{
        conversation,
        generation::Stopped,
        message::{self, Listed, Rating, Status},
    },
};

use super::{
    dto::{
        Branch, CreateMessage, EditMessage, ListMessages, ListSiblings, ListedMessage, Message,
        RateMessage, page,
    },
    send_message::{Draft, Parent, Target, send_message},
};
use crate::{
    answer::Answer,
    app::App,
    caller::Caller,
    chat,
    error::{Problems, Result},
    extract::{Json, Path, Query},
    middleware::RequestId,
    page::{Cursor, Page},
    preconditions::Preconditions,
    text::Change,
};

/// Adds a message by the caller and switches to the branch that ends with it.
///
/// With a `clientId` it is safe to send again: the second time, the answer is 200 with the existing message.
#[utoipa::path(
    post, path = "/api/v1/conversations/{id}/messages", tag = "messages", request_body = CreateMessage,
    params(("id" = ConversationId, Path, description = "The conversation")),
    responses(
        (status = 201, description = "Created", body = Message),
        (status = 200, description = "Created before, under this `clientId`", body = Message),
        Problems,
    ),
    security(("bearer" = [])),
)]
#[tracing::instrument(skip_all, fields(conversationId = %id))]
pub(super) async fn create_message(
    State(app): State<App>,
    caller: Caller,
    request: RequestId,
    Path(id): Path<ConversationId>,
    Json(input): Json<CreateMessage>,
) -> Result<Answer> {
    let parent = match input.parent_id {
        Change::Keep => Parent::Current,
        Change::Clear => Parent::Nothing,
        Change::Set(parent) => Parent::Named(parent.0),
    };
    let draft = Draft {
        target: Target::Conversation(id, parent),
        content: input.content.0,
        client_id: input.client_id.map(|text| text.0),
    };
    send_message(&app, &caller, &request, draft).await
}

/// Lists the messages of a conversation, newest first.
#[utoipa::path(
    get, path = "/api/v1/conversations/{id}/messages", tag = "messages",
    params(("id" = ConversationId, Path, description = "The conversation"), ListMessages),
    responses((status = 200, description = "A page of messages", body = Page<ListedMessage>), Problems),
    security(("bearer" = [])),
)]
#[tracing::instrument(skip_all, fields(conversationId = %id))]
pub(super) async fn list_messages(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<ConversationId>,
    Query(input): Query<ListMessages>,
) -> Result<Json<Page<ListedMessage>>> {
    let before = input.cursor.as_deref().map(Cursor::decode).transpose()?;
    let before = before.map(|cursor| (cursor.at, MessageId(cursor.id)));
    let conversation = conversation::get(&app.db, caller.user, id).await?;
    let limit = input.limit.0;
    let listed = match (input.branch, conversation.current_message_id) {
        (Branch::All, _) => message::list(&app.db, id, before, limit).await?,
        (Branch::Current, Some(leaf)) => {
            let before = before.map(|(_, id)| id);
            message::list_branch(&app.db, id, leaf, before, limit).await?
        }
        (Branch::Current, None) => Listed {
            rows: Vec::new(),
            has_more: false,
        },
    };
    let siblings = message::count_siblings(&app.db, id, &listed.rows).await?;
    Ok(Json(page(listed, siblings)))
}

/// Gets a message.
#[utoipa::path(
    get, path = "/api/v1/messages/{id}", tag = "messages",
    params(("id" = MessageId, Path, description = "The message")),
    responses((status = 200, description = "The message", body = Message), Problems),
    security(("bearer" = [])),
)]
#[tracing::instrument(skip_all, fields(messageId = %id))]
pub(super) async fn get_message(
    State(app): State<App>,
    caller: Caller,
    preconditions: Preconditions,
    Path(id): Path<MessageId>,
) -> Result<Response> {
    let row = message::get(&app.db, caller.user, id).await?;
    preconditions.answer(row.version, &Message::from(row))
}

/// Lists the messages that follow the same one as this, or answer it, including itself, newest first.
///
/// What tools were asked and said before an answer is stepped over, so answers to a question are siblings with tools and
/// without.
#[utoipa::path(
    get, path = "/api/v1/messages/{id}/siblings", tag = "messages",
    params(("id" = MessageId, Path, description = "The message"), ListSiblings),
    responses((status = 200, description = "A page of messages", body = Page<ListedMessage>), Problems),
    security(("bearer" = [])),
)]
#[tracing::instrument(skip_all, fields(messageId = %id))]
pub(super) async fn list_siblings(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<MessageId>,
    Query(input): Query<ListSiblings>,
) -> Result<Json<Page<ListedMessage>>> {
    let before = input.cursor.as_deref().map(Cursor::decode).transpose()?;
    let before = before.map(|cursor| (cursor.at, MessageId(cursor.id)));
    let row = message::get(&app.db, caller.user, id).await?;
    let conversation = row.conversation_id;
    let listed = message::list_siblings(&app.db, row, before, input.limit.0).await?;
    let siblings = message::count_siblings(&app.db, conversation, &listed.rows).await?;
    Ok(Json(page(listed, siblings)))
}

/// Edits a message: the new wording becomes a sibling, and the old one stays.
#[utoipa::path(
    post, path = "/api/v1/messages/{id}/edit", tag = "messages", request_body = EditMessage,
    params(("id" = MessageId, Path, description = "The message")),
    responses(
        (status = 201, description = "The new sibling", body = Message),
        (status = 200, description = "Created before, under this `clientId`", body = Message),
        Problems,
    ),
    security(("bearer" = [])),
)]
#[tracing::instrument(skip_all, fields(messageId = %id))]
pub(super) async fn edit_message(
    State(app): State<App>,
    caller: Caller,
    request: RequestId,
    preconditions: Preconditions,
    Path(id): Path<MessageId>,
    Json(input): Json<EditMessage>,
) -> Result<Answer> {
    let draft = Draft {
        target: Target::Sibling(id, preconditions),
        content: input.content.0,
        client_id: input.client_id.map(|text| text.0),
    };
    send_message(&app, &caller, &request, draft).await
}

/// Deletes a message. The messages that follow it are kept; lists then show its place without its content.
#[utoipa::path(
    delete, path = "/api/v1/messages/{id}", tag = "messages",
    params(("id" = MessageId, Path, description = "The message")),
    responses((status = 204, description = "Deleted"), Problems),
    security(("bearer" = [])),
)]
#[tracing::instrument(skip_all, fields(messageId = %id))]
pub(super) async fn delete_message(
    State(app): State<App>,
    caller: Caller,
    request: RequestId,
    preconditions: Preconditions,
    Path(id): Path<MessageId>,
) -> Result<Answer> {
    let mut tx = app.begin(&caller, &request).await?;
    let row = message::get(tx.orm(), caller.user, id).await?;
    let conversation =
        conversation::get_for_update(&mut tx, caller.user, row.conversation_id).await?;
    // Again, under the lock.
    let row = message::get(tx.orm(), caller.user, id).await?;
    preconditions.check(row.version)?;
    let is_streaming = row.status == Status::Streaming;
    message::delete(&mut tx, conversation, row, app.clock.now()).await?;
    let answer = tx.no_content().await?;
    if is_streaming {
        chat::stop_deleted(&app, caller.user, Stopped::Message(id)).await;
    }
    Ok(answer)
}

/// Says what the caller thinks of an answer: thumbs up or down, and why.
#[utoipa::path(
    put, path = "/api/v1/messages/{id}/feedback", tag = "messages", request_body = RateMessage,
    params(("id" = MessageId, Path, description = "The answer")),
    responses((status = 200, description = "The message with the feedback", body = Message), Problems),
    security(("bearer" = [])),
)]
#[tracing::instrument(skip_all, fields(messageId = %id))]
pub(super) async fn rate_message(
    State(app): State<App>,
    caller: Caller,
    request: RequestId,
    preconditions: Preconditions,
    Path(id): Path<MessageId>,
    Json(input): Json<RateMessage>,
) -> Result<Answer> {
    let rating = Some((input.rating.0, input.reason.map(|text| text.0)));
    rate(&app, &caller, &request, preconditions, id, rating).await
}

/// Takes back what the caller thought of an answer.
#[utoipa::path(
    delete, path = "/api/v1/messages/{id}/feedback", tag = "messages",
    params(("id" = MessageId, Path, description = "The answer")),
    responses((status = 200, description = "The message without feedback", body = Message), Problems),
    security(("bearer" = [])),
)]
#[tracing::instrument(skip_all, fields(messageId = %id))]
pub(super) async fn clear_rating(
    State(app): State<App>,
    caller: Caller,
    request: RequestId,
    preconditions: Preconditions,
    Path(id): Path<MessageId>,
) -> Result<Answer> {
    rate(&app, &caller, &request, preconditions, id, None).await
}

async fn rate(
    app: &App,
    caller: &Caller,
    request: &RequestId,
    preconditions: Preconditions,
    id: MessageId,
    rating: Option<(Rating, Option<String>)>,
) -> Result<Answer> {
    let mut tx = app.begin(caller, request).await?;
    let row = message::get_for_update(&mut tx, caller.user, id).await?;
    preconditions.check(row.version)?;
    let row = message::rate(&mut tx, row, rating).await?;
    tx.answer_version(StatusCode::OK, row.version, &Message::from(row))
        .await
}
