//! Titles that models give.

use chrono::{DateTime, Utc};
use sea_orm::{ActiveValue::Set, QuerySelect as _, entity::prelude::*};

use super::{ActiveModel, Column, Entity};
use crate::{
    database::{Result, Tx},
    events::{self, ConversationSummary, Event},
    ids::ConversationId,
};

/// Gives a title to a conversation that has none, unless its user has named it, or taken its name away, in the meantime.
/// Tells whether it did.
///
/// # Errors
/// As the database fails.
pub async fn set_title_by_model(
    tx: &mut Tx,
    id: ConversationId,
    title: String,
    now: DateTime<Utc>,
) -> Result<bool> {
    let untitled = Entity::find_by_id(id)
        .filter(Column::DeletedAt.is_null())
        .filter(Column::Title.is_null())
        .filter(Column::TitleByUser.eq(false))
        .lock_exclusive()
        .one(tx.orm())
        .await?;
    let Some(row) = untitled else {
        return Ok(false);
    };
    let (user, version) = (row.user_id, row.version + 1);
    let mut row: ActiveModel = row.into();
    row.title = Set(Some(title));
    row.version = Set(version);
    row.updated_at = Set(now);
    let row = row.update(tx.orm()).await?;
    let event = Event::ConversationUpdated(ConversationSummary::from(&row));
    events::emit(tx, user, &event, now).await?;
    Ok(true)
}
