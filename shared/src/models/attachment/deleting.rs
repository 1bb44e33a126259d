//! The end of attachments.

use chrono::{DateTime, Utc};
use sea_orm::{QueryOrder as _, QuerySelect as _, entity::prelude::*};

use super::{Column, Entity, Model, NOT_FOUND, shown_to};
use crate::{
    database::{Error, Refusal, Result, Tx},
    events::{self, DeletedAttachment, Event},
    ids::{AttachmentId, ConversationId, JobId, UserId},
    jobs::DeleteObject,
    models::{context_stamp, event, image, image_variant, latest_try},
    queue::{self, Enqueue},
};

/// Attachments that go in one transaction.
const DELETE_BATCH: u64 = 100;

/// Deletes an attachment of `user`, with what was read in it and what events tell of it, and tells the user's webhooks. Its job
/// is cancelled; its object goes by a job of its own.
///
/// # Errors
/// [`Error::NotFound`] also when it is another user's.
pub async fn delete(tx: &mut Tx, user: UserId, id: AttachmentId, now: DateTime<Utc>) -> Result<()> {
    let row = shown_to(user, id).lock_exclusive();
    let row = row.one(tx.orm()).await?.ok_or(NOT_FOUND)?;
    let event = Event::AttachmentDeleted(DeletedAttachment {
        attachment_id: row.id,
        conversation_id: row.conversation_id,
        message_id: row.message_id,
    });
    // Before a message shows it, no model is shown it.
    let conversation = row.message_id.and(row.conversation_id);
    remove(tx, row).await?;
    events::emit(tx, user, &event, now).await?;
    match conversation {
        Some(conversation) => context_stamp::touch(tx, conversation).await,
        None => Ok(()),
    }
}

/// Deletes some attachments of a conversation that is going, whose it was is known. No event tells of each. Tells how
/// many went; zero when there are no more.
///
/// # Errors
/// As the database fails.
pub async fn delete_some_of_conversation(
    tx: &mut Tx,
    conversation: ConversationId,
) -> Result<usize> {
    let rows = Entity::find()
        .filter(Column::ConversationId.eq(conversation))
        .order_by_asc(Column::Id)
        .limit(DELETE_BATCH)
        .lock_exclusive()
        .all(tx.orm())
        .await?;
    remove_all(tx, rows).await
}

/// Deletes some attachments of a user who is going. No event tells of them. Tells how many went; zero when there are no more.
///
/// # Errors
/// As the database fails.
pub async fn delete_some_of_user(tx: &mut Tx, user: UserId) -> Result<usize> {
    let rows = Entity::find()
        .filter(Column::UserId.eq(user))
        .order_by_asc(Column::CreatedAt)
        .order_by_asc(Column::Id)
        .limit(DELETE_BATCH)
        .lock_exclusive()
        .all(tx.orm())
        .await?;
    remove_all(tx, rows).await
}

async fn remove_all(tx: &mut Tx, rows: Vec<Model>) -> Result<usize> {
    let deleted = rows.len();
    for row in rows {
        remove(tx, row).await?;
    }
    Ok(deleted)
}

/// The jobs first: their runs take the same locks in the same order.
async fn remove(tx: &mut Tx, row: Model) -> Result<()> {
    let mut jobs = latest_try::find_jobs(tx, row.id).await?;
    jobs.extend(image::find_job(tx, row.id).await?);
    jobs.extend(image_variant::find_jobs(tx, row.id).await?);
    for job in jobs {
        cancel_job(tx, &row, job).await?;
    }
    image_variant::remove_all(tx, row.id).await?;
    // Those from before it was sent to the conversation are about itself.
    let mut subjects = vec![row.id.0];
    subjects.extend(row.conversation_id.map(|conversation| conversation.0));
    event::withdraw(tx, row.user_id, &subjects, row.id.0).await?;
    let job = DeleteObject {
        storage_key: row.storage_key.clone(),
        unfinished: false,
        attachment: Some(row.id),
    };
    row.delete(tx.orm()).await?;
    queue::enqueue(tx, Enqueue::new(job).of_nobody()).await?;
    Ok(())
}

/// Cancels a job of an attachment, unless it has ended.
pub(in crate::models) async fn cancel_job(tx: &mut Tx, row: &Model, job: JobId) -> Result<()> {
    match queue::cancel(tx, row.user_id, job).await {
        Ok(_) | Err(Error::Refused(Refusal::JobEnded)) => Ok(()),
        Err(error) => Err(error),
    }
}
