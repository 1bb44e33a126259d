//! Accounts.

use chrono::{DateTime, Utc};
use sea_orm::{ActiveValue::Set, ConnectionTrait, entity::prelude::*};

use crate::{
    database::{Result, Tx},
    ids::UserId,
};

/// A row of `users`.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "users")]
pub struct Model {
    /// Its id.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: UserId,
    /// Lower-cased address; unique.
    pub email: String,
    /// Argon2id, in PHC string format.
    pub password_hash: String,
    /// What others see.
    pub display_name: Option<String>,
    /// Grows with every change.
    pub version: i32,
    /// When the account was made.
    pub created_at: DateTime<Utc>,
    /// When it was changed last.
    pub updated_at: DateTime<Utc>,
}

/// None that the queries need.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// The form in which addresses are compared: providers tell case apart on paper only.
pub fn normal_email(email: &str) -> String {
    email.trim().to_lowercase()
}

/// Makes an account.
///
/// # Errors
/// [`crate::database::Refusal::EmailTaken`].
pub async fn register(
    tx: &mut Tx,
    email: &str,
    password_hash: String,
    display_name: Option<String>,
    now: DateTime<Utc>,
) -> Result<Model> {
    let row = ActiveModel {
        id: Set(UserId::new()),
        email: Set(normal_email(email)),
        password_hash: Set(password_hash),
        display_name: Set(display_name),
        version: Set(1),
        created_at: Set(now),
        updated_at: Set(now),
    };
    Ok(row.insert(tx.orm()).await?)
}

/// Finds the account of an address.
///
/// # Errors
/// As the database fails.
pub async fn find_by_email(db: &impl ConnectionTrait, email: &str) -> Result<Option<Model>> {
    Ok(Entity::find()
        .filter(Column::Email.eq(normal_email(email)))
        .one(db)
        .await?)
}

/// Finds an account.
///
/// # Errors
/// As the database fails.
pub async fn find(db: &impl ConnectionTrait, id: UserId) -> Result<Option<Model>> {
    Ok(Entity::find_by_id(id).one(db).await?)
}
