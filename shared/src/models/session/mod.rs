//! Logins: pairs of opaque tokens, kept as SHA-256 only.
//!
//! The tokens hold 256 random bits, so a plain hash is enough: there is nothing to guess.
//!
//! A login is one row for as long as it lasts. Each refresh gives it a new pair; the refresh token before that is kept
//! as spent, because whoever sends it again shows that two hold it: then the login ends for both.

pub mod spent;

use chrono::{DateTime, TimeDelta, Utc};
use sea_orm::{
    ActiveValue::Set, ConnectionTrait, DbBackend, FromQueryResult, JoinType, QuerySelect,
    Statement, entity::prelude::*, sea_query::LockType,
};

use super::{
    page,
    user::{self, Role, Status},
};
use crate::{
    database::{Error, Result, Tx},
    ids::{SessionId, UserId},
    keyring::sha256,
};

/// How long an access token lives.
pub const ACCESS_TOKEN_LIFETIME: TimeDelta = TimeDelta::minutes(15);
/// How long a refresh token lives.
pub const REFRESH_TOKEN_LIFETIME: TimeDelta = TimeDelta::days(30);
/// How exactly is noted when a login was used last.
pub const USE_NOTED_EVERY: TimeDelta = TimeDelta::minutes(1);

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
    /// When it was used last, to a minute; none before that was noted.
    pub last_used_at: Option<DateTime<Utc>>,
    /// Where it was refreshed from last, as far as addresses may be known.
    pub ip: Option<String>,
    /// What it was refreshed with last.
    pub user_agent: Option<String>,
    /// Keyed hash of the address it was refreshed from last.
    pub address_hash: Option<Vec<u8>>,
}

/// None that the queries need.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// A fresh pair of tokens.
#[derive(Debug, Clone, Copy)]
pub struct Tokens<'a> {
    /// Opens the API.
    pub access: &'a str,
    /// Gets the next pair.
    pub refresh: &'a str,
}

/// From where a login is used.
#[derive(Debug, Clone)]
pub struct Device {
    /// The address, as far as it may be known.
    pub ip: Option<String>,
    /// The program.
    pub user_agent: Option<String>,
    /// Keyed hash of the address.
    pub address_hash: Vec<u8>,
}

/// What a request needs to know of the login that it is made under.
#[derive(Debug, Clone, FromQueryResult)]
pub struct Access {
    /// The login.
    pub id: SessionId,
    /// Whose it is.
    pub user_id: UserId,
    /// What its user may do.
    pub role: Role,
    /// Whether its user may act.
    pub status: Status,
    /// End of the access token.
    pub access_expires_at: DateTime<Utc>,
    /// When it was used last.
    pub last_used_at: Option<DateTime<Utc>>,
}

/// Begins a login with a fresh pair of tokens.
///
/// # Errors
/// As the database fails.
pub async fn begin(
    tx: &mut Tx,
    user: UserId,
    tokens: Tokens<'_>,
    device: Device,
    now: DateTime<Utc>,
) -> Result<Model> {
    let row = ActiveModel {
        id: Set(SessionId::new()),
        user_id: Set(user),
        access_token_hash: Set(sha256(tokens.access.as_bytes()).to_vec()),
        access_expires_at: Set(now + ACCESS_TOKEN_LIFETIME),
        refresh_token_hash: Set(sha256(tokens.refresh.as_bytes()).to_vec()),
        refresh_expires_at: Set(now + REFRESH_TOKEN_LIFETIME),
        created_at: Set(now),
        revoked_at: Set(None),
        last_used_at: Set(Some(now)),
        ip: Set(device.ip),
        user_agent: Set(device.user_agent),
        address_hash: Set(Some(device.address_hash)),
    };
    Ok(row.insert(tx.orm()).await?)
}

/// Finds the login whose present refresh token this is, which nobody else refreshes until the transaction ends.
///
/// # Errors
/// As the database fails.
pub async fn find_by_refresh_token_for_update(
    tx: &mut Tx,
    token: &str,
    now: DateTime<Utc>,
) -> Result<Option<Model>> {
    Ok(Entity::find()
        .filter(Column::RefreshTokenHash.eq(sha256(token.as_bytes()).to_vec()))
        .filter(Column::RefreshExpiresAt.gt(now))
        .filter(Column::RevokedAt.is_null())
        .lock(LockType::NoKeyUpdate)
        .one(tx.orm())
        .await?)
}

impl Model {
    /// Gives the login its next pair of tokens; the present pair is good no more.
    ///
    /// # Errors
    /// As the database fails.
    pub async fn rotate(
        self,
        tx: &mut Tx,
        tokens: Tokens<'_>,
        device: Device,
        now: DateTime<Utc>,
    ) -> Result<()> {
        forget(tx, &self.access_token_hash);
        spent::keep(tx, &self).await?;
        let mut row = ActiveModel::from(self);
        row.access_token_hash = Set(sha256(tokens.access.as_bytes()).to_vec());
        row.access_expires_at = Set(now + ACCESS_TOKEN_LIFETIME);
        row.refresh_token_hash = Set(sha256(tokens.refresh.as_bytes()).to_vec());
        row.refresh_expires_at = Set(now + REFRESH_TOKEN_LIFETIME);
        row.last_used_at = Set(Some(now));
        row.ip = Set(device.ip);
        row.user_agent = Set(device.user_agent);
        row.address_hash = Set(Some(device.address_hash));
        row.update(tx.orm()).await?;
        Ok(())
    }
}

/// Finds the login of an access token that is good at `now`.
///
/// # Errors
/// As the database fails.
pub async fn find_by_access_token(
    db: &impl ConnectionTrait,
    hash: &[u8],
    now: DateTime<Utc>,
) -> Result<Option<Access>> {
    Ok(Entity::find()
        .select_only()
        .columns([
            Column::Id,
            Column::UserId,
            Column::AccessExpiresAt,
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
        .filter(Column::AccessTokenHash.eq(hash))
        .filter(Column::AccessExpiresAt.gt(now))
        .filter(Column::RevokedAt.is_null())
        .into_model::<Access>()
        .one(db)
        .await?)
}

/// Notes that a login is used.
///
/// # Errors
/// As the database fails.
pub async fn note_use(db: &impl ConnectionTrait, id: SessionId, now: DateTime<Utc>) -> Result<()> {
    Entity::update_many()
        .col_expr(Column::LastUsedAt, Expr::value(now))
        .filter(Column::Id.eq(id))
        .exec(db)
        .await?;
    Ok(())
}

/// Lists the logins of `user` that are good at `now`, newest first.
///
/// # Errors
/// As the database fails.
pub async fn list(
    db: &impl ConnectionTrait,
    user: UserId,
    before: Option<(DateTime<Utc>, SessionId)>,
    limit: u64,
    now: DateTime<Utc>,
) -> Result<Vec<Model>> {
    Ok(page::newest(live(user, now), before, limit).all(db).await?)
}

/// Whether a login of `user` that is good at `now` was refreshed last from this address.
///
/// # Errors
/// As the database fails.
pub async fn is_known_address(
    db: &impl ConnectionTrait,
    user: UserId,
    address_hash: &[u8],
    now: DateTime<Utc>,
) -> Result<bool> {
    let known = live(user, now)
        .filter(Column::AddressHash.eq(address_hash))
        .one(db)
        .await?;
    Ok(known.is_some())
}

/// Ends a login of `user`, at once.
///
/// # Errors
/// [`Error::NotFound`] also when it is another user's, or has ended.
pub async fn end(tx: &mut Tx, user: UserId, id: SessionId, now: DateTime<Utc>) -> Result<()> {
    let row = live(user, now)
        .filter(Column::Id.eq(id))
        .lock(LockType::NoKeyUpdate)
        .one(tx.orm())
        .await?
        .ok_or(Error::NotFound("session"))?;
    revoke(tx, row, now).await
}

/// Ends all logins of `user`, at once, but for `but`.
///
/// # Errors
/// As the database fails.
pub async fn end_all(
    tx: &mut Tx,
    user: UserId,
    but: Option<SessionId>,
    now: DateTime<Utc>,
) -> Result<()> {
    let mut query = Entity::update_many()
        .col_expr(Column::RevokedAt, Expr::value(now))
        .filter(Column::UserId.eq(user))
        .filter(Column::RevokedAt.is_null());
    if let Some(but) = but {
        query = query.filter(Column::Id.ne(but));
    }
    for row in query.exec_with_returning(tx.orm()).await? {
        // What has expired is not cached any more, and there may be many.
        if row.access_expires_at > now {
            forget(tx, &row.access_token_hash);
        }
    }
    Ok(())
}

/// Deletes up to `limit` logins that cannot be refreshed any more, and tells how many.
///
/// # Errors
/// As the database fails.
pub async fn prune(db: &impl ConnectionTrait, limit: u32, now: DateTime<Utc>) -> Result<u64> {
    let statement = Statement::from_sql_and_values(
        DbBackend::Postgres,
        "DELETE FROM sessions WHERE id IN (
             SELECT id FROM sessions WHERE refresh_expires_at <= $1 LIMIT $2 FOR UPDATE SKIP LOCKED)",
        [now.into(), limit.into()],
    );
    Ok(db.execute_raw(statement).await?.rows_affected())
}

async fn revoke(tx: &mut Tx, row: Model, now: DateTime<Utc>) -> Result<()> {
    forget(tx, &row.access_token_hash);
    let mut row = ActiveModel::from(row);
    row.revoked_at = Set(Some(now));
    row.update(tx.orm()).await?;
    Ok(())
}

/// What the cache says of the logins of `user` is not true any more.
///
/// # Errors
/// As the database fails.
pub(super) async fn forget_cached(tx: &mut Tx, user: UserId, now: DateTime<Utc>) -> Result<()> {
    let good = live(user, now).filter(Column::AccessExpiresAt.gt(now));
    for row in good.all(tx.orm()).await? {
        forget(tx, &row.access_token_hash);
    }
    Ok(())
}

fn forget(tx: &mut Tx, access_token_hash: &[u8]) {
    let key = tx.keys().session(access_token_hash);
    tx.invalidate(key);
}

fn live(user: UserId, now: DateTime<Utc>) -> Select<Entity> {
    Entity::find()
        .filter(Column::UserId.eq(user))
        .filter(Column::RevokedAt.is_null())
        .filter(Column::RefreshExpiresAt.gt(now))
}
