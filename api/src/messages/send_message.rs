//! Writing a message of the person.

use axum::http::StatusCode;
use shared::{
    database::{self, Refusal},
    ids::{ConversationId, MessageId},
    models::{
        attachment, conversation,
        message::{self, Content, New, Part, Role},
    },
};

use super::dto::Message;
use crate::{
    answer::Answer,
    app::App,
    caller::Caller,
    error::{Error, FieldProblem, Result},
    middleware::RequestId,
    preconditions::Preconditions,
    write::Write,
};

/// What a message follows.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Parent {
    /// The end of the branch that is shown.
    Current,
    /// Nothing: it begins a branch.
    Nothing,
    /// A message that the client names.
    Named(MessageId),
}

/// Where a message goes.
#[derive(Debug)]
pub(super) enum Target {
    /// Into a conversation.
    Conversation(ConversationId, Parent),
    /// Beside a message that it words anew.
    Sibling(MessageId, Preconditions),
}

/// A message to write.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) target: Target,
    pub(super) content: Content,
    pub(super) client_id: Option<String>,
}

/// Writes a message, or answers with the one that its client has sent before.
pub(super) async fn send_message(
    app: &App,
    caller: &Caller,
    request: &RequestId,
    draft: Draft,
) -> Result<Answer> {
    let role = Role::User;
    let found = find_conversation(app, caller, &draft.target).await;
    let token_count = match found {
        Ok(_) => {
            let text = draft.content.text();
            app.tokens.count_message(role.as_str(), text).await
        }
        Err(_) => 0,
    };
    // A repetition is answered like the first request, whatever has gone since: so this comes before what is refused.
    let mut tx = app.begin(caller, request).await?;
    let conversation = conversation::get_for_update(&mut tx, caller.user, found?).await?;
    if let Some(client_id) = &draft.client_id
        && let Some(row) = message::find_by_client_id(tx.orm(), conversation.id, client_id).await?
    {
        if row.content != draft.content || row.deleted_at.is_some() {
            return Err(Refusal::ClientIdReused.into());
        }
        return tx
            .answer_version(StatusCode::OK, row.version, &Message::from(row))
            .await;
    }
    let parent = match draft.target {
        Target::Conversation(_, parent) => find_parent(&mut tx, &conversation, parent).await?,
        Target::Sibling(id, preconditions) => {
            let row = message::get(tx.orm(), caller.user, id).await?;
            preconditions.check(row.version)?;
            if row.role != role {
                return Err(Refusal::MessageNotEditable.into());
            }
            row.parent_id
        }
    };
    if let Some(parent) = parent {
        message::check_followed(&mut tx, conversation.id, parent).await?;
    }
    check_attachments(&mut tx, caller, &conversation, &draft.content).await?;
    let new = New {
        parent,
        role,
        content: draft.content,
        token_count,
        client_id: draft.client_id,
    };
    let row = message::add(&mut tx, conversation, new, app.clock.now()).await?;
    tx.answer_version(StatusCode::CREATED, row.version, &Message::from(row))
        .await
}

async fn find_conversation(
    app: &App,
    caller: &Caller,
    target: &Target,
) -> database::Result<ConversationId> {
    match target {
        Target::Conversation(id, _) => {
            let found = conversation::get(&app.db, caller.user, *id).await?;
            Ok(found.id)
        }
        Target::Sibling(id, _) => message::find_conversation(&app.db, caller.user, *id).await,
    }
}

pub(crate) async fn find_parent(
    tx: &mut Write,
    conversation: &conversation::Model,
    parent: Parent,
) -> Result<Option<MessageId>> {
    match parent {
        Parent::Current => Ok(conversation.current_message_id),
        Parent::Nothing => Ok(None),
        Parent::Named(id) => match message::get_of(tx.orm(), conversation.id, id).await {
            Ok(row) if row.deleted_at.is_none() => Ok(Some(id)),
            Ok(_) | Err(database::Error::NotFound(_)) => Err(Error::field(
                "/parentId",
                "is no message of this conversation",
            )),
            Err(error) => Err(error.into()),
        },
    }
}

/// Attachments are the caller's own, and belong to no other conversation.
async fn check_attachments(
    tx: &mut Write,
    caller: &Caller,
    conversation: &conversation::Model,
    content: &Content,
) -> Result<()> {
    let shown = content.attachments();
    if shown.is_empty() {
        return Ok(());
    }
    let unusable = attachment::find_unusable(tx, caller.user, conversation.id, &shown).await?;
    let problems = content
        .0
        .iter()
        .enumerate()
        .filter_map(|(index, part)| match part {
            Part::Attachment { attachment_id } if unusable.contains(attachment_id) => {
                Some(FieldProblem {
                    pointer: format!("/content/{index}/attachmentId"),
                    detail: "is no attachment of yours, or belongs to another conversation"
                        .to_owned(),
                })
            }
            _ => None,
        });
    let problems: Vec<FieldProblem> = problems.collect();
    if problems.is_empty() {
        Ok(())
    } else {
        Err(Error::Invalid(problems))
    }
}
