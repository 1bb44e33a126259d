//! Folders of conversations, with instructions for the models that answer there.

use chrono::{DateTime, Utc};
use sea_orm::{
    ActiveValue::Set, ConnectionTrait, QuerySelect, entity::prelude::*, sea_query::LockType,
};

use crate::{
    database::{Error, Result, Tx},
    ids::{ProjectId, UserId},
    models::{conversation, page},
};

/// A row of `projects`.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "projects")]
pub struct Model {
    /// Its id.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: ProjectId,
    /// Whose it is.
    pub user_id: UserId,
    /// For people.
    pub name: String,
    /// For people.
    pub description: Option<String>,
    /// The system prompt of its conversations that have none.
    pub instructions: Option<String>,
    /// Grows with every change.
    pub version: i32,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it was changed last.
    pub updated_at: DateTime<Utc>,
}

/// None that the queries need.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// What a user says of a project.
#[derive(Debug, Clone)]
pub struct Texts {
    /// For people.
    pub name: String,
    /// For people.
    pub description: Option<String>,
    /// The system prompt of its conversations that have none.
    pub instructions: Option<String>,
}

/// Makes a project.
///
/// # Errors
/// As the database fails.
pub async fn create(tx: &mut Tx, user: UserId, texts: Texts, now: DateTime<Utc>) -> Result<Model> {
    let row = ActiveModel {
        id: Set(ProjectId::new()),
        user_id: Set(user),
        name: Set(texts.name),
        description: Set(texts.description),
        instructions: Set(texts.instructions),
        version: Set(1),
        created_at: Set(now),
        updated_at: Set(now),
    };
    Ok(row.insert(tx.orm()).await?)
}

/// Gets a project of `user`.
///
/// # Errors
/// [`Error::NotFound`] also when it is another user's.
pub async fn get(db: &impl ConnectionTrait, user: UserId, id: ProjectId) -> Result<Model> {
    Entity::find_by_id(id)
        .filter(Column::UserId.eq(user))
        .one(db)
        .await?
        .ok_or(Error::NotFound("project"))
}

/// Gets a project of `user`, which nobody else changes until the transaction ends.
///
/// # Errors
/// [`Error::NotFound`] also when it is another user's.
pub async fn get_for_update(tx: &mut Tx, user: UserId, id: ProjectId) -> Result<Model> {
    Entity::find_by_id(id)
        .filter(Column::UserId.eq(user))
        .lock_exclusive()
        .one(tx.orm())
        .await?
        .ok_or(Error::NotFound("project"))
}

/// Checks that a project is `user`'s, and keeps it from being deleted until the transaction ends.
///
/// # Errors
/// [`Error::NotFound`] also when it is another user's.
pub async fn hold(tx: &mut Tx, user: UserId, id: ProjectId) -> Result<()> {
    let held: Option<ProjectId> = Entity::find_by_id(id)
        .select_only()
        .column(Column::Id)
        .filter(Column::UserId.eq(user))
        .lock(LockType::KeyShare)
        .into_tuple()
        .one(tx.orm())
        .await?;
    held.map(|_| ()).ok_or(Error::NotFound("project"))
}

/// Lists projects of `user`, newest first.
///
/// # Errors
/// As the database fails.
pub async fn list(
    db: &impl ConnectionTrait,
    user: UserId,
    before: Option<(DateTime<Utc>, ProjectId)>,
    limit: u64,
) -> Result<Vec<Model>> {
    let query = Entity::find().filter(Column::UserId.eq(user));
    Ok(page::newest(query, before, limit).all(db).await?)
}

impl Model {
    /// Changes what the user says of it.
    ///
    /// # Errors
    /// As the database fails.
    pub async fn change(self, tx: &mut Tx, texts: Texts, now: DateTime<Utc>) -> Result<Self> {
        let version = self.version + 1;
        let mut row: ActiveModel = self.into();
        row.name = Set(texts.name);
        row.description = Set(texts.description);
        row.instructions = Set(texts.instructions);
        row.version = Set(version);
        row.updated_at = Set(now);
        Ok(row.update(tx.orm()).await?)
    }

    /// Deletes it. Its conversations stay, without a project, which is told of each.
    ///
    /// # Errors
    /// As the database fails.
    pub async fn delete(self, tx: &mut Tx, now: DateTime<Utc>) -> Result<()> {
        conversation::leave_project(tx, self.user_id, self.id, now).await?;
        Entity::delete_by_id(self.id).exec(tx.orm()).await?;
        Ok(())
    }
}
