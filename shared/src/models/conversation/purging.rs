//! Removing what is left of deleted conversations.

use chrono::{DateTime, Utc};
use sea_orm::{ConnectionTrait as _, DbBackend, QuerySelect as _, Statement, entity::prelude::*};

use super::{Column, Entity};
use crate::{
    database::{Result, Tx},
    ids::{ConversationId, UserId},
    jobs::PurgeConversation,
    models::{context_stamp, event},
    queue::{self, Enqueue},
};

/// Events out of which is taken at once what was said; a job does the rest.
const AT_ONCE: u64 = 200;

/// Has a conversation of `user` go that was deleted: first what its events tell of it.
pub(super) async fn begin(tx: &mut Tx, user: UserId, id: ConversationId) -> Result<()> {
    event::withdraw_all(tx, user, id.0, AT_ONCE).await?;
    enqueue(tx, id).await
}

/// Asks for the removal of a deleted conversation. While a job for it waits or runs, there is no second one.
async fn enqueue(tx: &mut Tx, conversation: ConversationId) -> Result<()> {
    let job = Enqueue::new(PurgeConversation { conversation })
        .of_nobody()
        .unique(format!("purge-conversation:{conversation}"));
    queue::enqueue(tx, job).await?;
    Ok(())
}

/// Asks again for the removal of conversations that were deleted before `before` and are still there, as a job can be
/// lost with the workers that died on it. Tells how many.
///
/// # Errors
/// As the database fails.
pub async fn purge_again(tx: &mut Tx, before: DateTime<Utc>, limit: u64) -> Result<u64> {
    let left: Vec<ConversationId> = Entity::find()
        .select_only()
        .column(Column::Id)
        .filter(Column::DeletedAt.lt(before))
        .filter(Expr::cust_with_values(
            "NOT EXISTS (SELECT FROM jobs WHERE unique_key = $1 || conversations.id
                                            AND state IN ('queued', 'parked', 'dispatched', 'running'))",
            ["purge-conversation:"],
        ))
        .limit(limit)
        .into_tuple()
        .all(tx.orm())
        .await?;
    let asked = left.len() as u64;
    for conversation in left {
        enqueue(tx, conversation).await?;
    }
    Ok(asked)
}

/// Deletes a conversation of a user who is going, which the caller then removes; one that was deleted before, too. No event tells
/// of it. None when there are no more.
///
/// # Errors
/// As the database fails.
pub async fn delete_next_of_user(
    tx: &mut Tx,
    user: UserId,
    now: DateTime<Utc>,
) -> Result<Option<ConversationId>> {
    // One after the other: each has an index of its own.
    for state in [Column::DeletedAt.is_null(), Column::DeletedAt.is_not_null()] {
        let found: Option<ConversationId> = Entity::find()
            .select_only()
            .column(Column::Id)
            .filter(Column::UserId.eq(user))
            .filter(state)
            .lock_exclusive()
            .into_tuple()
            .one(tx.orm())
            .await?;
        let Some(id) = found else { continue };
        Entity::update_many()
            .col_expr(Column::DeletedAt, Expr::value(now))
            .filter(Column::Id.eq(id))
            .filter(Column::DeletedAt.is_null())
            .exec(tx.orm())
            .await?;
        return Ok(Some(id));
    }
    Ok(None)
}

/// Removes some messages of a deleted conversation, and tells how many; zero only when there are no more: what somebody else
/// removes at the same time is waited for and passed by.
///
/// # Errors
/// As the database fails.
pub async fn purge_messages(tx: &mut Tx, id: ConversationId, batch: u64) -> Result<u64> {
    const SQL: &str = "
        DELETE FROM messages WHERE id IN (
            SELECT m.id FROM messages m JOIN conversations c ON c.id = m.conversation_id
             WHERE m.conversation_id = $1 AND c.deleted_at IS NOT NULL LIMIT $2 FOR UPDATE OF m)";
    let batch = i64::try_from(batch).unwrap_or(i64::MAX);
    let statement =
        Statement::from_sql_and_values(DbBackend::Postgres, SQL, [id.into(), batch.into()]);
    Ok(tx.orm().execute_raw(statement).await?.rows_affected())
}

/// Takes out of some events what was said of a deleted conversation, and tells out of how many; zero when there are no more.
///
/// # Errors
/// As the database fails.
pub async fn withdraw_events(tx: &mut Tx, id: ConversationId, batch: u64) -> Result<u64> {
    let user: Option<UserId> = Entity::find_by_id(id)
        .select_only()
        .column(Column::UserId)
        .filter(Column::DeletedAt.is_not_null())
        .into_tuple()
        .one(tx.orm())
        .await?;
    match user {
        Some(user) => event::withdraw_all(tx, user, id.0, batch).await,
        None => Ok(0),
    }
}

/// Removes a deleted conversation.
///
/// # Errors
/// As the database fails.
pub async fn purge(tx: &mut Tx, id: ConversationId) -> Result<()> {
    Entity::delete_many()
        .filter(Column::Id.eq(id))
        .filter(Column::DeletedAt.is_not_null())
        .exec(tx.orm())
        .await?;
    context_stamp::remove(tx, id).await
}
