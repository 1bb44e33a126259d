//! Conversations whose project is deleted.

use chrono::{DateTime, Utc};
use sea_orm::{ExprTrait as _, QueryOrder as _, QuerySelect as _, entity::prelude::*};

use super::{Column, Entity, Model};
use crate::{
    database::{Result, Tx},
    events::{self, ConversationSummary, Event},
    ids::{ConversationId, ProjectId, UserId},
    jobs::AnnounceConversations,
    queue::{self, Enqueue},
};

/// Conversations of which one transaction tells: few, so that it is short.
const AT_ONCE: usize = 100;

/// Takes all conversations of `user` out of a project, and tells of each; of those after the first hundred by jobs.
///
/// # Errors
/// As the database fails.
pub async fn leave_project(
    tx: &mut Tx,
    user: UserId,
    project: ProjectId,
    now: DateTime<Utc>,
) -> Result<()> {
    let mut moved = Entity::update_many()
        .col_expr(Column::ProjectId, Expr::cust("NULL"))
        .col_expr(Column::Version, Expr::col(Column::Version).add(1))
        .col_expr(Column::UpdatedAt, Expr::value(now))
        .filter(Column::UserId.eq(user))
        .filter(Column::ProjectId.eq(project))
        .exec_with_returning(tx.orm())
        .await?;
    moved.retain(|row| row.deleted_at.is_none());
    let later: Vec<ConversationId> = moved.iter().skip(AT_ONCE).map(|row| row.id).collect();
    for row in moved.iter().take(AT_ONCE) {
        tell(tx, row, now).await?;
    }
    for some in later.chunks(AT_ONCE) {
        let job = AnnounceConversations {
            conversations: some.to_vec(),
        };
        queue::enqueue(tx, Enqueue::new(job).of_nobody()).await?;
    }
    Ok(())
}

/// Tells of conversations that were changed before, as they are now; of none that is deleted.
///
/// # Errors
/// As the database fails.
pub async fn announce(tx: &mut Tx, ids: &[ConversationId], now: DateTime<Utc>) -> Result<()> {
    // Held, so that what is told of one is there to be withdrawn when it is deleted.
    let rows = Entity::find()
        .filter(Column::Id.is_in(ids.iter().copied()))
        .filter(Column::DeletedAt.is_null())
        .order_by_asc(Column::Id)
        .lock_shared()
        .all(tx.orm())
        .await?;
    for row in &rows {
        tell(tx, row, now).await?;
    }
    Ok(())
}

async fn tell(tx: &mut Tx, row: &Model, now: DateTime<Utc>) -> Result<()> {
    let event = Event::ConversationUpdated(ConversationSummary::from(row));
    events::emit(tx, row.user_id, &event, now).await
}
