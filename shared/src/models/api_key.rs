//! API keys: credentials of programs, kept as SHA-256 only.
//!
//! A key holds 256 random bits, so a plain hash is enough: there is nothing to guess.

use chrono::{DateTime, Utc};
use sea_orm::{
    ActiveValue::Set, Condition, ConnectionTrait, FromQueryResult, JoinType, PaginatorTrait,
    QuerySelect, entity::prelude::*,
};
use serde::{Deserialize, Serialize};

use super::{
    page,
    user::{self, Role, Status},
};
use crate::{
    database::{Error, Refusal, Result, Tx},
    ids::{ApiKeyId, UserId},
    keyring::sha256,
};

/// Most keys of a user.
pub const MAX_PER_USER: u64 = 50;
/// How many characters of a key are kept readable.
const HINT_CHARACTERS: usize = 4;

/// A row of `api_keys`.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "api_keys")]
pub struct Model {
    /// Its id.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: ApiKeyId,
    /// Whose it is.
    pub user_id: UserId,
    /// For people.
    pub name: String,
    /// SHA-256 of the key; unique.
    pub key_hash: Vec<u8>,
    /// Its last characters, by which people tell keys apart.
    pub hint: String,
    /// Names of what it may do.
    pub scopes: Vec<String>,
    /// When it ends; none: never.
    pub expires_at: Option<DateTime<Utc>>,
    /// When it was used last, to a minute.
    pub last_used_at: Option<DateTime<Utc>>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
}

/// None that the queries need.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// What a credential may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scopes {
    /// GET and HEAD.
    pub read: bool,
    /// Everything else.
    pub write: bool,
}

impl Scopes {
    /// What a login may do.
    pub const ALL: Self = Self {
        read: true,
        write: true,
    };
    /// Names of all of them.
    pub const NAMES: [&str; 2] = ["read", "write"];

    /// Reads their names; an unknown one allows nothing.
    pub fn of(names: &[String]) -> Self {
        let has = |name: &str| names.iter().any(|known| known == name);
        Self {
            read: has(Self::NAMES[0]),
            write: has(Self::NAMES[1]),
        }
    }

    /// Their names.
    pub fn names(self) -> Vec<&'static str> {
        Self::NAMES
            .into_iter()
            .zip([self.read, self.write])
            .filter_map(|(name, has)| has.then_some(name))
            .collect()
    }
}

/// What a request needs to know of the key that it is made with.
#[derive(Debug, Clone, FromQueryResult)]
pub struct Access {
    /// The key.
    pub id: ApiKeyId,
    /// Whose it is.
    pub user_id: UserId,
    /// What its user may do.
    pub role: Role,
    /// Whether its user may act.
    pub status: Status,
    /// Names of what it may do.
    pub scopes: Vec<String>,
    /// When it ends.
    pub expires_at: Option<DateTime<Utc>>,
    /// When it was used last.
    pub last_used_at: Option<DateTime<Utc>>,
}

/// A new key.
#[derive(Debug)]
pub struct NewApiKey<'a> {
    /// For people.
    pub name: String,
    /// The key itself.
    pub key: &'a str,
    /// What it may do.
    pub scopes: Scopes,
    /// When it ends.
    pub expires_at: Option<DateTime<Utc>>,
}

/// Makes a key.
///
/// # Errors
/// [`Refusal::ApiKeyLimit`].
pub async fn create(
    tx: &mut Tx,
    user: UserId,
    new: NewApiKey<'_>,
    now: DateTime<Utc>,
) -> Result<Model> {
    // Two that are made together must not both be the last one allowed.
    user::get_for_update(tx, user).await?;
    let keys = Entity::find()
        .filter(Column::UserId.eq(user))
        .count(tx.orm())
        .await?;
    if keys >= MAX_PER_USER {
        return Err(Refusal::ApiKeyLimit.into());
    }
    let characters = new.key.chars().count();
    let row = ActiveModel {
        id: Set(ApiKeyId::new()),
        user_id: Set(user),
        name: Set(new.name),
        key_hash: Set(sha256(new.key.as_bytes()).to_vec()),
        hint: Set(new
            .key
            .chars()
            .skip(characters.saturating_sub(HINT_CHARACTERS))
            .collect()),
        scopes: Set(new.scopes.names().into_iter().map(str::to_owned).collect()),
        expires_at: Set(new.expires_at),
        last_used_at: Set(None),
        created_at: Set(now),
    };
    Ok(row.insert(tx.orm()).await?)
}

/// Finds a key that is good at `now`.
///
/// # Errors
/// As the database fails.
pub async fn find_by_key(
    db: &impl ConnectionTrait,
    hash: &[u8],
    now: DateTime<Utc>,
) -> Result<Option<Access>> {
    Ok(Entity::find()
        .select_only()
        .columns([
            Column::Id,
            Column::UserId,
            Column::Scopes,
            Column::ExpiresAt,
            Column::LastUsedAt,
        ])
        .columns([user::Column::Role, user::Column::Status])
        .join(
            JoinType::InnerJoin,
            Entity::belongs_to(user::Entity)
                .from(Column::UserId)
                .to(user::Column::Id)
                .into(),
        )
        .filter(user::Column::DeletedAt.is_null())
        .filter(Column::KeyHash.eq(hash))
        .filter(
            Condition::any()
                .add(Column::ExpiresAt.is_null())
                .add(Column::ExpiresAt.gt(now)),
        )
        .into_model::<Access>()
        .one(db)
        .await?)
}

/// Notes that a key is used.
///
/// # Errors
/// As the database fails.
pub async fn note_use(db: &impl ConnectionTrait, id: ApiKeyId, now: DateTime<Utc>) -> Result<()> {
    Entity::update_many()
        .col_expr(Column::LastUsedAt, Expr::value(now))
        .filter(Column::Id.eq(id))
        .exec(db)
        .await?;
    Ok(())
}

/// Lists the keys of `user`, newest first.
///
/// # Errors
/// As the database fails.
pub async fn list(
    db: &impl ConnectionTrait,
    user: UserId,
    before: Option<(DateTime<Utc>, ApiKeyId)>,
    limit: u64,
) -> Result<Vec<Model>> {
    let query = Entity::find().filter(Column::UserId.eq(user));
    Ok(page::newest(query, before, limit).all(db).await?)
}

/// Deletes a key of `user`, at once.
///
/// # Errors
/// [`Error::NotFound`] also when it is another user's.
pub async fn delete(tx: &mut Tx, user: UserId, id: ApiKeyId) -> Result<()> {
    let gone = Entity::delete_many()
        .filter(Column::Id.eq(id))
        .filter(Column::UserId.eq(user))
        .exec_with_returning(tx.orm())
        .await?;
    let row = gone.first().ok_or(Error::NotFound("API key"))?;
    forget(tx, &row.key_hash);
    Ok(())
}

/// Deletes all keys of `user`, at once.
///
/// # Errors
/// As the database fails.
pub(super) async fn delete_all(tx: &mut Tx, user: UserId) -> Result<()> {
    let gone = Entity::delete_many()
        .filter(Column::UserId.eq(user))
        .exec_with_returning(tx.orm())
        .await?;
    for row in gone {
        forget(tx, &row.key_hash);
    }
    Ok(())
}

/// What the cache says of the keys of `user` is not true any more.
///
/// # Errors
/// As the database fails.
pub(super) async fn forget_cached(tx: &mut Tx, user: UserId) -> Result<()> {
    let keys = Entity::find().filter(Column::UserId.eq(user));
    for row in keys.all(tx.orm()).await? {
        forget(tx, &row.key_hash);
    }
    Ok(())
}

fn forget(tx: &mut Tx, key_hash: &[u8]) {
    let key = tx.keys().session(key_hash);
    tx.invalidate(key);
}
