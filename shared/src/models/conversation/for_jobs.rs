//! Conversations, as jobs find them: whose they are was checked when the job was asked for.

use sea_orm::{ConnectionTrait, QuerySelect as _, entity::prelude::*, sea_query::LockType};

use super::{Column, Entity, Model};
use crate::{
    database::{Result, Tx},
    ids::{ConversationId, ProjectId},
};

/// Finds a conversation for a job, whose right to it was checked when it was made.
///
/// # Errors
/// As the database fails.
pub async fn find_for_any_user(
    db: &impl ConnectionTrait,
    id: ConversationId,
) -> Result<Option<Model>> {
    Ok(Entity::find_by_id(id)
        .filter(Column::DeletedAt.is_null())
        .one(db)
        .await?)
}

/// Keeps others from locking a conversation to change it until the transaction of a job ends, but for turns that are written
/// with others; tells whether it is still there.
///
/// # Errors
/// As the database fails.
pub async fn hold_for_any_user(tx: &mut Tx, id: ConversationId) -> Result<bool> {
    let held = Entity::find_by_id(id)
        .filter(Column::DeletedAt.is_null())
        .lock(LockType::KeyShare)
        .one(tx.orm())
        .await?;
    Ok(held.is_some())
}

/// The languages that a conversation is held in, for a job that reads what was sent to it.
///
/// # Errors
/// As the database fails.
pub async fn language_for_any_user(
    db: &impl ConnectionTrait,
    id: ConversationId,
) -> Result<Option<String>> {
    let language: Option<Option<String>> = Entity::find_by_id(id)
        .select_only()
        .column(Column::Language)
        .into_tuple()
        .one(db)
        .await?;
    Ok(language.flatten())
}

/// The project in which a conversation is filed, for the ledger.
///
/// # Errors
/// As the database fails.
pub async fn project_for_any_user(
    db: &impl ConnectionTrait,
    id: ConversationId,
) -> Result<Option<ProjectId>> {
    let project: Option<Option<ProjectId>> = Entity::find_by_id(id)
        .select_only()
        .column(Column::ProjectId)
        .into_tuple()
        .one(db)
        .await?;
    Ok(project.flatten())
}
