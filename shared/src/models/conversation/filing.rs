//! Conversations whose project is deleted.

use chrono::{DateTime, Utc};
use sea_orm::{
    ConnectionTrait as _, DbBackend, QueryOrder as _, QuerySelect as _, Statement,
    entity::prelude::*,
};

use super::{Column, Entity};
use crate::{
    database::{Result, Tx},
    events::{self, ConversationSummary, Event},
    ids::{ConversationId, ProjectId, UserId},
    jobs::AnnounceConversations,
    queue::{self, Enqueue},
};

/// Conversations of which is told at once, within a request.
const AT_ONCE: usize = 10;
/// Those of which one job tells: few, so that its transaction is short.
const OF_A_JOB: usize = 100;

/// Takes all conversations of `user` out of a project, and tells of each; of those after the first ten by jobs.
///
/// # Errors
/// As the database fails.
pub async fn leave_project(
    tx: &mut Tx,
    user: UserId,
    project: ProjectId,
    now: DateTime<Utc>,
) -> Result<()> {
    const SQL: &str = "
        WITH moved AS (
            UPDATE conversations SET project_id = NULL, version = version + 1, updated_at = $3
             WHERE user_id = $1 AND project_id = $2
            RETURNING id, deleted_at)
        SELECT id FROM moved WHERE deleted_at IS NULL";
    let values = [user.into(), project.into(), now.into()];
    let statement = Statement::from_sql_and_values(DbBackend::Postgres, SQL, values);
    let moved: Vec<ConversationId> = tx
        .orm()
        .query_all_raw(statement)
        .await?
        .iter()
        .map(|row| row.try_get("", "id"))
        .collect::<Result<_, DbErr>>()?;
    let (first, later) = moved.split_at(moved.len().min(AT_ONCE));
    announce(tx, first, now).await?;
    for some in later.chunks(OF_A_JOB) {
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
        let event = Event::ConversationUpdated(ConversationSummary::from(row));
        events::emit(tx, row.user_id, &event, now).await?;
    }
    Ok(())
}
