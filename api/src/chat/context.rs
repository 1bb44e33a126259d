//! What would go along with a question of a conversation.

use axum::extract::State;
use deserr::Deserr;
use serde::Serialize;
use shared::{
    context::{Piece, Size, count},
    database,
    ids::{AttachmentId, ConversationId, MessageId},
    models::{
        context_stamp, conversation,
        message::{self, AnswerContext, Role},
        project,
    },
    tokens::{Encoding, Measure},
};
use utoipa::{IntoParams, ToSchema};

use super::{
    assemble::{Assembly, Wanted, assemble},
    place::{Place, instructions, limits},
    prompt::{context, earlier_text, summary_text},
    route,
    shown::Shown,
};
use crate::{
    app::App,
    caller::Caller,
    error::{Error, Problems, Result},
    extract::{Fields, Json, Path, Query},
    text::Id,
};

/// Which branch is shown.
#[derive(Debug, Deserr, IntoParams)]
#[deserr(error = Fields, deny_unknown_fields, rename_all = camelCase)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
pub(super) struct GetContext {
    /// The message that the question would follow: by default the last one of the branch that is shown.
    #[deserr(default)]
    #[param(value_type = Option<MessageId>)]
    message_id: Option<Id<MessageId>>,
}

/// What would go along with a question.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ConversationContext {
    conversation_id: ConversationId,
    /// The message that the question would follow; null before the first one.
    message_id: Option<MessageId>,
    /// The model that would answer; null if none can be asked.
    #[schema(example = "gpt-4o-mini")]
    model: Option<String>,
    /// What the model would be told first; null for nothing.
    #[schema(example = "Be brief.")]
    system_prompt: Option<String>,
    /// What was said before, in short; null if all of it goes along, or none was made yet.
    summary: Option<ContextSummary>,
    /// Oldest first.
    messages: Vec<ContextMessage>,
    /// Without the question.
    context: AnswerContext,
}

/// What was said before, in short.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ContextSummary {
    /// As it would be sent.
    #[schema(example = "The user plans a trip to Lahore in spring.")]
    text: String,
    /// Tokens of it.
    #[schema(example = 14)]
    tokens: u32,
    /// Whether only its beginning would be sent.
    cut: bool,
    /// The newest message that it tells of.
    through_message_id: MessageId,
}

/// A message that would go along.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ContextMessage {
    id: MessageId,
    /// Who speaks.
    #[schema(example = "user", pattern = "^(system|user|assistant|tool)$")]
    role: &'static str,
    /// As it would be sent, with the texts of attachments. Pictures are not in it.
    #[schema(example = "What does the picture say?")]
    text: String,
    /// Tokens of it.
    #[schema(example = 12)]
    tokens: u32,
    /// Whether only its beginning would be sent.
    cut: bool,
    attachment_ids: Vec<AttachmentId>,
}

/// Shows what would go along with a question: instructions, the summary of what came before, and messages of the branch, as
/// far as there is room.
///
/// Pictures that models see are neither shown nor counted, nor are earlier calls of tools, which go along only with questions
/// that have tools.
#[utoipa::path(
    get, path = "/api/v1/conversations/{id}/context", tag = "conversations",
    params(("id" = ConversationId, Path, description = "The conversation"), GetContext),
    responses((status = 200, description = "What would be sent", body = ConversationContext), Problems),
    security(("bearer" = [])),
)]
#[tracing::instrument(skip_all, fields(conversationId = %id))]
pub(super) async fn get_conversation_context(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<ConversationId>,
    Query(input): Query<GetContext>,
) -> Result<Json<ConversationContext>> {
    let conversation = conversation::get(&app.db, caller.user, id).await?;
    let leaf = match input.message_id {
        Some(message) => Some(find_message(&app, id, message.0).await?),
        None => conversation.current_message_id,
    };
    let project = match conversation.project_id {
        Some(project) => Some(project::get(&app.db, caller.user, project).await?),
        None => None,
    };
    let place = Place {
        conversation: Some(conversation),
        project,
    };
    let conversation = place.conversation.as_ref();
    let model = conversation.and_then(|row| row.model.as_deref());
    let choice = route::choose(&app, model).ok();
    let limits = limits(&app, conversation, choice.as_ref(), None);
    let system_prompt = instructions(&app, &place);
    let encoding = app.tokens.fallback();
    let measure = choice
        .as_ref()
        .map_or(app.tokens.plain(), |choice| choice.measure(&app));
    let system = match &system_prompt {
        Some(text) => Some(count::count_message(encoding, Role::System, text.clone()).await),
        None => None,
    };
    let wanted = Wanted {
        user: caller.user,
        conversation: id,
        leaf,
        stamp: context_stamp::find(&app.db, id).await?,
        limits,
        measure,
        system: system.map(|counted| counted.tokens),
        question: None,
        with_tools: false,
        reserved: 0,
    };
    let assembly = Box::pin(assemble(&app, &wanted, None)).await?;
    let (summary, messages) = shown(encoding, measure, &assembly).await;
    Ok(Json(ConversationContext {
        conversation_id: id,
        message_id: leaf,
        model: choice.map(|choice| choice.id().to_owned()),
        system_prompt,
        summary,
        messages,
        context: AnswerContext {
            estimated: system.is_some_and(|counted| counted.is_estimated),
            ..context(&assembly, measure, limits, 0)
        },
    }))
}

/// A message that a question can follow.
async fn find_message(app: &App, id: ConversationId, message: MessageId) -> Result<MessageId> {
    let found = message::get_of(&app.db, id, message).await;
    match found {
        Ok(row) if row.deleted_at.is_none() => Ok(row.id),
        Ok(_) | Err(database::Error::NotFound(_)) => Err(Error::field(
            "/messageId",
            "is no message of this conversation",
        )),
        Err(error) => Err(error.into()),
    }
}

async fn shown(
    encoding: Encoding,
    measure: Measure,
    assembly: &Assembly,
) -> (Option<ContextSummary>, Vec<ContextMessage>) {
    let Assembly {
        branch,
        shown,
        places,
        plan,
        ..
    } = assembly;
    let (mut summary, mut messages) = (None, Vec::new());
    let nothing = Shown::default();
    for piece in &plan.pieces {
        match piece {
            Piece::System | Piece::Question => {}
            Piece::Summary(size) => {
                if let Some(told) = &branch.summary {
                    summary = Some(ContextSummary {
                        text: summary_text(encoding, told, *size).await,
                        tokens: measure.of_stored(tokens(*size, count::of_stored(told.tokens))),
                        cut: *size != Size::Whole,
                        through_message_id: told.anchor,
                    });
                }
            }
            Piece::Earlier(place, size) => {
                let at = places[*place];
                let one = &branch.earlier[at.message];
                let extra = shown.get(at.message).unwrap_or(&nothing);
                let whole = count::of_stored(one.tokens).saturating_add(extra.tokens);
                messages.push(ContextMessage {
                    id: one.id,
                    role: one.role.as_str(),
                    text: earlier_text(encoding, one, extra, *size).await,
                    tokens: measure.of_stored(tokens(*size, whole)),
                    cut: *size != Size::Whole,
                    attachment_ids: one.attachments.clone(),
                });
            }
        }
    }
    (summary, messages)
}

/// Tokens of what is sent of something.
fn tokens(size: Size, whole: u32) -> u32 {
    match size {
        Size::Whole => whole,
        Size::Cut(tokens) => tokens,
    }
}
