//! Refresh tokens that have been used, as SHA-256: each is good for one refresh.

use chrono::{DateTime, Utc};
use sea_orm::{
    ActiveValue::Set, ConnectionTrait, DbBackend, QuerySelect, Statement, entity::prelude::*,
    sea_query::LockType,
};

use crate::{
    database::{Result, Tx},
    ids::SessionId,
    keyring::sha256,
};

/// A row of `spent_refresh_tokens`.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "spent_refresh_tokens")]
pub struct Model {
    /// SHA-256 of the token.
    #[sea_orm(primary_key, auto_increment = false)]
    pub token_hash: Vec<u8>,
    /// The login that it refreshed.
    pub session_id: SessionId,
    /// When it would have ended; after that it is like any unknown token.
    pub expires_at: DateTime<Utc>,
}

/// None that the queries need.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// Keeps the present refresh token of a login as spent.
pub(super) async fn keep(tx: &mut Tx, session: &super::Model) -> Result<()> {
    let row = ActiveModel {
        token_hash: Set(session.refresh_token_hash.clone()),
        session_id: Set(session.id),
        expires_at: Set(session.refresh_expires_at),
    };
    Entity::insert(row).exec_without_returning(tx.orm()).await?;
    Ok(())
}

/// Ends the login whose spent refresh token this is, and gives it; none where there is no such login any more.
///
/// # Errors
/// As the database fails.
pub async fn end_login(
    tx: &mut Tx,
    token: &str,
    now: DateTime<Utc>,
) -> Result<Option<super::Model>> {
    let spent = Entity::find_by_id(sha256(token.as_bytes()).to_vec())
        .filter(Column::ExpiresAt.gt(now))
        .one(tx.orm())
        .await?;
    let Some(spent) = spent else { return Ok(None) };
    let session = super::Entity::find_by_id(spent.session_id)
        .filter(super::Column::RevokedAt.is_null())
        .lock(LockType::NoKeyUpdate)
        .one(tx.orm())
        .await?;
    if let Some(session) = &session {
        super::revoke(tx, session.clone(), now).await?;
    }
    Ok(session)
}

/// Deletes up to `limit` tokens that have expired, and tells how many.
///
/// # Errors
/// As the database fails.
pub async fn prune(db: &impl ConnectionTrait, limit: u32, now: DateTime<Utc>) -> Result<u64> {
    let statement = Statement::from_sql_and_values(
        DbBackend::Postgres,
        "DELETE FROM spent_refresh_tokens WHERE token_hash IN (
             SELECT token_hash FROM spent_refresh_tokens WHERE expires_at <= $1 LIMIT $2 FOR UPDATE SKIP LOCKED)",
        [now.into(), limit.into()],
    );
    Ok(db.execute_raw(statement).await?.rows_affected())
}
