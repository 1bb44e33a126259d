//! Keys of providers: those that are not taken any more, and pools that an operator has set while the programs run.

use chrono::{DateTime, Utc};
use sea_orm::{ActiveValue::Set, ConnectionTrait, entity::prelude::*, sea_query::OnConflict};

use super::sealed::PROVIDER_KEYS;
use crate::{
    database::Result,
    keyring::{self, Keyring},
};

/// A key that is not taken any more, as long as the configuration does not change and nobody revives it.
pub mod retired {
    use super::{DateTime, Utc};
    use sea_orm::entity::prelude::*;

    /// A row of `retired_keys`.
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "retired_keys")]
    pub struct Model {
        /// Whose key it is.
        #[sea_orm(primary_key, auto_increment = false)]
        pub provider: String,
        /// Made of the key; another key has another one.
        #[sea_orm(primary_key, auto_increment = false)]
        pub key_id: String,
        /// What the provider said.
        pub reason: String,
        /// When it said so.
        pub retired_at: DateTime<Utc>,
    }

    /// None that the queries need.
    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// A row of `provider_pools`.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "provider_pools")]
pub struct Model {
    /// Whose keys they are.
    #[sea_orm(primary_key, auto_increment = false)]
    pub provider: String,
    /// Under which they are sealed.
    pub id: Uuid,
    /// The keys, as they are written in a variable.
    pub sealed_keys: Vec<u8>,
    /// When they were set.
    pub updated_at: DateTime<Utc>,
}

/// None that the queries need.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

impl Model {
    /// The keys, as they are written in a variable.
    ///
    /// # Errors
    /// When no configured key opens them.
    pub fn open_keys(&self, keyring: &Keyring) -> Result<String, keyring::Error> {
        let keys = keyring.open(&PROVIDER_KEYS.place(self.id), &self.sealed_keys)?;
        String::from_utf8(keys).map_err(|_| keyring::Error::Damaged)
    }
}

/// Lists all keys that are not taken any more.
///
/// # Errors
/// As the database fails.
pub async fn list_retired(db: &impl ConnectionTrait) -> Result<Vec<retired::Model>> {
    Ok(retired::Entity::find().all(db).await?)
}

/// Notes that a key is not taken any more.
///
/// # Errors
/// As the database fails.
pub async fn retire(
    db: &impl ConnectionTrait,
    provider: &str,
    key_id: &str,
    reason: String,
    now: DateTime<Utc>,
) -> Result<()> {
    let row = retired::ActiveModel {
        provider: Set(provider.to_owned()),
        key_id: Set(key_id.to_owned()),
        reason: Set(reason),
        retired_at: Set(now),
    };
    let is_known = OnConflict::columns([retired::Column::Provider, retired::Column::KeyId])
        .do_nothing()
        .to_owned();
    retired::Entity::insert(row)
        .on_conflict(is_known)
        .exec_without_returning(db)
        .await?;
    Ok(())
}

/// Lets keys of a provider be tried again: one, or all.
///
/// # Errors
/// As the database fails.
pub async fn revive(db: &impl ConnectionTrait, provider: &str, key_id: Option<&str>) -> Result<()> {
    let mut delete = retired::Entity::delete_many().filter(retired::Column::Provider.eq(provider));
    if let Some(key_id) = key_id {
        delete = delete.filter(retired::Column::KeyId.eq(key_id));
    }
    delete.exec(db).await?;
    Ok(())
}

/// Lists the pools that were set.
///
/// # Errors
/// As the database fails.
pub async fn list_pools(db: &impl ConnectionTrait) -> Result<Vec<Model>> {
    Ok(Entity::find().all(db).await?)
}

/// Sets the keys of a provider.
///
/// # Errors
/// As the database fails.
pub async fn set_pool(
    db: &impl ConnectionTrait,
    keyring: &Keyring,
    provider: &str,
    keys: &str,
    now: DateTime<Utc>,
) -> Result<()> {
    let id = Uuid::new_v4();
    let row = ActiveModel {
        provider: Set(provider.to_owned()),
        id: Set(id),
        sealed_keys: Set(keyring.seal(&PROVIDER_KEYS.place(id), keys.as_bytes())),
        updated_at: Set(now),
    };
    let replaces = OnConflict::column(Column::Provider)
        .update_columns([Column::Id, Column::SealedKeys, Column::UpdatedAt])
        .to_owned();
    Entity::insert(row)
        .on_conflict(replaces)
        .exec_without_returning(db)
        .await?;
    Ok(())
}

/// Gives a provider the keys of the configuration again.
///
/// # Errors
/// As the database fails.
pub async fn clear_pool(db: &impl ConnectionTrait, provider: &str) -> Result<()> {
    Entity::delete_by_id(provider.to_owned()).exec(db).await?;
    Ok(())
}
