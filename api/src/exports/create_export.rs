//! Asking for an export.

use shared::{
    database,
    ids::{ConversationId, MessageId},
    models::{
        conversation,
        export::{self, New},
        job, message,
    },
};

use super::dto::{Branch, CreateExport, CreatedExport, Export};
use crate::{
    answer::Answer,
    app::App,
    caller::Caller,
    error::{Error, Result},
    middleware::RequestId,
    write::Write,
};

/// Asks for a file of a conversation, which is kept from being deleted meanwhile.
///
/// # Errors
/// When the conversation or the message is not the caller's, when the times are in the wrong order, and when there are
/// too many exports.
pub(super) async fn create_export(
    app: &App,
    caller: &Caller,
    request: &RequestId,
    id: ConversationId,
    input: CreateExport,
) -> Result<Answer> {
    let (since, until) = (input.from.map(|time| time.0), input.to.map(|time| time.0));
    if let (Some(since), Some(until)) = (since, until)
        && since >= until
    {
        return Err(Error::field("/to", "must be after `from`"));
    }
    let mut tx = app.begin(caller, request).await?;
    let conversation = conversation::get_and_hold(&mut tx, caller.user, id).await?;
    let (whole_tree, leaf) = match input.branch {
        Branch::Current => (false, conversation.current_message_id),
        Branch::All => (true, None),
        Branch::Of(message) => (false, Some(check_message(&tx, id, message).await?)),
    };
    let new = New {
        user: caller.user,
        conversation: id,
        title: conversation.title,
        format: input.format.0,
        since,
        until,
        include_attachments: input.include_attachments,
        whole_tree,
        leaf,
    };
    let row = export::create(&mut tx, new, app.clock.now()).await?;
    let job = job::get(tx.orm(), caller.user, row.job_id).await?;
    let body = CreatedExport {
        export: Export::new(row, None),
        job: job.into(),
    };
    tx.answer(axum::http::StatusCode::ACCEPTED, &body).await
}

async fn check_message(tx: &Write, of: ConversationId, id: MessageId) -> Result<MessageId> {
    match message::get_of(tx.orm(), of, id).await {
        Ok(row) if row.deleted_at.is_none() => Ok(id),
        Ok(_) | Err(database::Error::NotFound(_)) => Err(Error::field(
            "/branch",
            "is no message of this conversation",
        )),
        Err(error) => Err(error.into()),
    }
}
