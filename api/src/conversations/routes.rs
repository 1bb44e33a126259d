//! Handlers of conversations.

use axum::{extract::State, http::StatusCode, response::Response};
use shared::{
    database,
    ids::{ConversationId, MessageId, ProjectId},
    models::{
        conversation::{self, Settings},
        generation::Stopped,
        message, project,
    },
};

use super::dto::{Conversation, CreateConversation, ListConversations, UpdateConversation};
use crate::{
    answer::Answer,
    app::App,
    caller::Caller,
    chat::{
        self,
        route::{self, Choice},
    },
    error::{Error, Problems, Result},
    extract::{Json, Path, Query},
    middleware::RequestId,
    page::{Cursor, Page},
    preconditions::Preconditions,
    text::Change,
    write::Write,
};

/// Creates a conversation.
#[utoipa::path(
    post, path = "/api/v1/conversations", tag = "conversations", request_body = CreateConversation,
    responses((status = 201, description = "Created", body = Conversation), Problems),
    security(("bearer" = [])),
)]
#[tracing::instrument(skip_all)]
pub(super) async fn create_conversation(
    State(app): State<App>,
    caller: Caller,
    request: RequestId,
    Json(input): Json<CreateConversation>,
) -> Result<Answer> {
    let mut tx = app.begin(&caller, &request).await?;
    check_project(&mut tx, &caller, input.project_id.map(|id| id.0)).await?;
    let now = app.clock.now();
    let row = conversation::create(&mut tx, caller.user, input.into(), now).await?;
    tx.answer_version(StatusCode::CREATED, row.version, &Conversation::from(row))
        .await
}

/// Lists the caller's conversations, those with the latest message first.
#[utoipa::path(
    get, path = "/api/v1/conversations", tag = "conversations", params(ListConversations),
    responses((status = 200, description = "A page of conversations", body = Page<Conversation>), Problems),
    security(("bearer" = [])),
)]
#[tracing::instrument(skip_all)]
pub(super) async fn list_conversations(
    State(app): State<App>,
    caller: Caller,
    Query(input): Query<ListConversations>,
) -> Result<Json<Page<Conversation>>> {
    let before = input.cursor.as_deref().map(Cursor::decode).transpose()?;
    let before = before.map(|cursor| (cursor.at, ConversationId(cursor.id)));
    let limit = input.limit.0 + 1;
    let rows = conversation::list(&app.db, caller.user, &input.filter(), before, limit).await?;
    Ok(Json(Page::new(rows, input.limit, |row| Cursor {
        at: row.active_at(),
        id: row.id.0,
    })))
}

/// Gets a conversation.
#[utoipa::path(
    get, path = "/api/v1/conversations/{id}", tag = "conversations",
    params(("id" = ConversationId, Path, description = "The conversation")),
    responses((status = 200, description = "The conversation", body = Conversation), Problems),
    security(("bearer" = [])),
)]
#[tracing::instrument(skip_all, fields(conversationId = %id))]
pub(super) async fn get_conversation(
    State(app): State<App>,
    caller: Caller,
    preconditions: Preconditions,
    Path(id): Path<ConversationId>,
) -> Result<Response> {
    let row = conversation::get(&app.db, caller.user, id).await?;
    preconditions.answer(row.version, &Conversation::from(row))
}

/// Renames, moves, tags, pins or archives a conversation, sets its prompt, model and limits, or shows another branch.
///
/// A field that is left out keeps its value; null clears it.
#[utoipa::path(
    patch, path = "/api/v1/conversations/{id}", tag = "conversations", request_body = UpdateConversation,
    params(("id" = ConversationId, Path, description = "The conversation")),
    responses((status = 200, description = "Changed", body = Conversation), Problems),
    security(("bearer" = [])),
)]
#[tracing::instrument(skip_all, fields(conversationId = %id))]
pub(super) async fn update_conversation(
    State(app): State<App>,
    caller: Caller,
    request: RequestId,
    preconditions: Preconditions,
    Path(id): Path<ConversationId>,
    Json(input): Json<UpdateConversation>,
) -> Result<Answer> {
    let mut tx = app.begin(&caller, &request).await?;
    // The project is locked before its conversations, as where it is deleted.
    if let Change::Set(project) = &input.project_id {
        check_project(&mut tx, &caller, Some(project.0)).await?;
    }
    let row = conversation::get_for_update(&mut tx, caller.user, id).await?;
    preconditions.check(row.version)?;
    let shown = match &input.current_message_id.0 {
        Some(message) => Some(find_leaf(&mut tx, id, message.0).await?),
        None => row.current_message_id,
    };
    let before = row.settings();
    let tokens = before.context_max_tokens;
    let settings = Settings {
        current_message: shown,
        ..input.apply(before)?
    };
    if settings.context_max_tokens != tokens {
        check_context(&app, &settings)?;
    }
    let row = row.change(&mut tx, settings, app.clock.now()).await?;
    tx.answer_version(StatusCode::OK, row.version, &Conversation::from(row))
        .await
}

/// Archives a conversation, which makes it read-only.
///
/// Repeating the call changes nothing.
#[utoipa::path(
    post, path = "/api/v1/conversations/{id}/archive", tag = "conversations",
    params(("id" = ConversationId, Path, description = "The conversation")),
    responses((status = 200, description = "Archived", body = Conversation), Problems),
    security(("bearer" = [])),
)]
#[tracing::instrument(skip_all, fields(conversationId = %id))]
pub(super) async fn archive_conversation(
    State(app): State<App>,
    caller: Caller,
    request: RequestId,
    preconditions: Preconditions,
    Path(id): Path<ConversationId>,
) -> Result<Answer> {
    set_archived(&app, &caller, &request, &preconditions, id, true).await
}

/// Restores a conversation from the archive.
///
/// Repeating the call changes nothing.
#[utoipa::path(
    post, path = "/api/v1/conversations/{id}/unarchive", tag = "conversations",
    params(("id" = ConversationId, Path, description = "The conversation")),
    responses((status = 200, description = "Restored", body = Conversation), Problems),
    security(("bearer" = [])),
)]
#[tracing::instrument(skip_all, fields(conversationId = %id))]
pub(super) async fn unarchive_conversation(
    State(app): State<App>,
    caller: Caller,
    request: RequestId,
    preconditions: Preconditions,
    Path(id): Path<ConversationId>,
) -> Result<Answer> {
    set_archived(&app, &caller, &request, &preconditions, id, false).await
}

async fn set_archived(
    app: &App,
    caller: &Caller,
    request: &RequestId,
    preconditions: &Preconditions,
    id: ConversationId,
    archived: bool,
) -> Result<Answer> {
    let mut tx = app.begin(caller, request).await?;
    let row = conversation::get_for_update(&mut tx, caller.user, id).await?;
    preconditions.check(row.version)?;
    let settings = Settings {
        archived,
        ..row.settings()
    };
    let row = row.change(&mut tx, settings, app.clock.now()).await?;
    tx.answer_version(StatusCode::OK, row.version, &Conversation::from(row))
        .await
}

/// Deletes a conversation with its messages and attachments. It disappears at once; a job removes what is left.
#[utoipa::path(
    delete, path = "/api/v1/conversations/{id}", tag = "conversations",
    params(("id" = ConversationId, Path, description = "The conversation")),
    responses((status = 204, description = "Deleted"), Problems),
    security(("bearer" = [])),
)]
#[tracing::instrument(skip_all, fields(conversationId = %id))]
pub(super) async fn delete_conversation(
    State(app): State<App>,
    caller: Caller,
    request: RequestId,
    preconditions: Preconditions,
    Path(id): Path<ConversationId>,
) -> Result<Answer> {
    let mut tx = app.begin(&caller, &request).await?;
    let row = conversation::get_for_update(&mut tx, caller.user, id).await?;
    preconditions.check(row.version)?;
    row.delete(&mut tx, app.clock.now()).await?;
    let answer = tx.no_content().await?;
    chat::stop_deleted(&app, caller.user, Stopped::Conversation(id)).await;
    Ok(answer)
}

/// What goes along with a question leaves room for the answer.
fn check_context(app: &App, settings: &Settings) -> Result<()> {
    let choice = route::choose(app, settings.model.as_deref());
    if let (Some(tokens), Ok(Choice::Model(model, _))) = (settings.context_max_tokens, choice)
        && tokens > model.most_context()
    {
        return Err(Error::field(
            "/contextMaxTokens",
            format!("must be at most {} for {}", model.most_context(), model.id),
        ));
    }
    Ok(())
}

/// A conversation is filed in a project of its own user.
async fn check_project(tx: &mut Write, caller: &Caller, id: Option<ProjectId>) -> Result<()> {
    let Some(id) = id else {
        return Ok(());
    };
    match project::hold(tx, caller.user, id).await {
        Err(database::Error::NotFound(_)) => {
            Err(Error::field("/projectId", "is no project of yours"))
        }
        held => Ok(held?),
    }
}

/// The end of the branch on which a message is.
async fn find_leaf(tx: &mut Write, id: ConversationId, message: MessageId) -> Result<MessageId> {
    let refused = || Error::field("/currentMessageId", "is no message of this conversation");
    let row = match message::get_of(tx.orm(), id, message).await {
        Err(database::Error::NotFound(_)) => return Err(refused()),
        found => found?,
    };
    if row.deleted_at.is_some() {
        return Err(refused());
    }
    Ok(message::newest_leaf(tx.orm(), id, message).await?)
}
