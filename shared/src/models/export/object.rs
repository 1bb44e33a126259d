//! Deleting exports, with the objects that they name.

use chrono::{DateTime, Utc};
use sea_orm::{QueryOrder as _, QuerySelect as _, entity::prelude::*};

use super::{Column, Entity, Model, NOT_FOUND, get};
use crate::{
    database::{Error, Refusal, Result, Tx},
    ids::{ConversationId, ExportId, UserId},
    jobs::DeleteObject,
    queue::{self, Enqueue},
};

/// Exports that go in one transaction.
const DELETE_BATCH: u64 = 100;

/// Deletes an export of `user`. Its job is cancelled; its object goes by a job of its own.
///
/// # Errors
/// [`Error::NotFound`] also when it is another user's, or has expired.
pub async fn delete(tx: &mut Tx, user: UserId, id: ExportId, now: DateTime<Utc>) -> Result<()> {
    let row = get(tx.orm(), user, id, now).await?;
    if remove(tx, row).await? {
        Ok(())
    } else {
        Err(NOT_FOUND)
    }
}

/// Deletes some exports of a conversation that is going. Tells how many; zero when there are no more.
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
        .all(tx.orm())
        .await?;
    remove_all(tx, rows).await
}

/// Deletes some exports of a user who is going. Tells how many; zero when there are no more.
///
/// # Errors
/// As the database fails.
pub async fn delete_some_of_user(tx: &mut Tx, user: UserId) -> Result<usize> {
    let rows = Entity::find()
        .filter(Column::UserId.eq(user))
        .order_by_desc(Column::CreatedAt)
        .order_by_desc(Column::Id)
        .limit(DELETE_BATCH)
        .all(tx.orm())
        .await?;
    remove_all(tx, rows).await
}

async fn remove_all(tx: &mut Tx, rows: Vec<Model>) -> Result<usize> {
    let found = rows.len();
    for row in rows {
        remove(tx, row).await?;
    }
    Ok(found)
}

/// Deletes up to `limit` exports that have expired, and tells how many.
///
/// # Errors
/// As the database fails.
pub async fn prune(tx: &mut Tx, limit: u64, now: DateTime<Utc>) -> Result<u64> {
    let rows = Entity::find()
        .filter(Column::ExpiresAt.lte(now))
        .limit(limit)
        .all(tx.orm())
        .await?;
    let mut gone = 0;
    for row in rows {
        gone += u64::from(remove(tx, row).await?);
    }
    Ok(gone)
}

/// The job first: its run takes the same locks in the same order. False if somebody else was faster.
async fn remove(tx: &mut Tx, row: Model) -> Result<bool> {
    match queue::cancel(tx, row.user_id, row.job_id).await {
        Ok(_) | Err(Error::Refused(Refusal::JobEnded)) => {}
        Err(error) => return Err(error),
    }
    // Again, under the lock of its job: it may have got an object meanwhile.
    let row = Entity::find_by_id(row.id).lock_exclusive();
    let Some(row) = row.one(tx.orm()).await? else {
        return Ok(false);
    };
    Entity::delete_by_id(row.id).exec(tx.orm()).await?;
    if let Some(storage_key) = row.storage_key {
        let job = DeleteObject {
            storage_key,
            unfinished: false,
            attachment: None,
        };
        queue::enqueue(tx, Enqueue::new(job).of_nobody()).await?;
    }
    Ok(true)
}
