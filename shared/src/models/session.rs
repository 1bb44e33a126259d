//! Logins: pairs of opaque tokens, kept as SHA-256 only.
//!
//! The tokens hold 256 random bits, so a plain hash is enough: there is nothing to guess.

use chrono::{DateTime, TimeDelta, Utc};
use sea_orm::{ActiveValue::Set, ConnectionTrait, entity::prelude::*};

use crate::{
    database::{Result, Tx},
    ids::{SessionId, UserId},
    keyring::sha256,
};

/// How long an access token lives.
pub const ACCESS_TOKEN_LIFETIME: TimeDelta = TimeDelta::minutes(15);
/// How long a refresh token lives.
pub const REFRESH_TOKEN_LIFETIME: TimeDelta = TimeDelta::days(30);

/// A row of `sessions`.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "sessions")]
pub struct Model {
    /// Its id.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: SessionId,
    /// Whose it is.
    pub user_id: UserId,
    /// SHA-256 of the access token; unique.
    pub access_token_hash: Vec<u8>,
    /// End of the access token.
    pub access_expires_at: DateTime<Utc>,
    /// SHA-256 of the refresh token; unique.
    pub refresh_token_hash: Vec<u8>,
    /// End of the refresh token.
    pub refresh_expires_at: DateTime<Utc>,
    /// When the user logged in.
    pub created_at: DateTime<Utc>,
    /// When it was ended before its time.
    pub revoked_at: Option<DateTime<Utc>>,
}

/// None that the queries need.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// Begins a login with a fresh pair of tokens.
///
/// # Errors
/// As the database fails.
pub async fn begin(
    tx: &mut Tx,
    user: UserId,
    access_token: &str,
    refresh_token: &str,
    now: DateTime<Utc>,
) -> Result<Model> {
    let row = ActiveModel {
        id: Set(SessionId::new()),
        user_id: Set(user),
        access_token_hash: Set(sha256(access_token.as_bytes()).to_vec()),
        access_expires_at: Set(now + ACCESS_TOKEN_LIFETIME),
        refresh_token_hash: Set(sha256(refresh_token.as_bytes()).to_vec()),
        refresh_expires_at: Set(now + REFRESH_TOKEN_LIFETIME),
        created_at: Set(now),
        revoked_at: Set(None),
    };
    Ok(row.insert(tx.orm()).await?)
}

/// Finds the session of an access token that is good at `now`.
///
/// # Errors
/// As the database fails.
pub async fn find_by_access_token(
    db: &impl ConnectionTrait,
    token: &str,
    now: DateTime<Utc>,
) -> Result<Option<Model>> {
    Ok(Entity::find()
        .filter(Column::AccessTokenHash.eq(sha256(token.as_bytes()).to_vec()))
        .filter(Column::AccessExpiresAt.gt(now))
        .filter(Column::RevokedAt.is_null())
        .one(db)
        .await?)
}
