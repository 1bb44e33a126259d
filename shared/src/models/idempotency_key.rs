//! First answers to requests that carried an `Idempotency-Key`.

use chrono::{DateTime, TimeDelta, Utc};
use sea_orm::{
    ActiveValue::Set, ConnectionTrait, DbBackend, Statement, entity::prelude::*,
    sea_query::OnConflict,
};
use uuid::Uuid;

use super::sealed;
use crate::{
    database::{Error, Result, Tx},
    ids::UserId,
    keyring::{self, Keyring, Place, sha256},
};

/// How long an answer is repeated.
pub const LIFETIME: TimeDelta = TimeDelta::hours(24);

/// What the signatures of bodies are made for.
const USAGE: &str = "idempotency";

/// A row of `idempotency_keys`.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "idempotency_keys")]
pub struct Model {
    /// Who asked.
    #[sea_orm(primary_key, auto_increment = false)]
    pub user_id: UserId,
    /// SHA-256 of method, path and key.
    #[sea_orm(primary_key, auto_increment = false)]
    pub key_hash: Vec<u8>,
    /// Signature of the SHA-256 of the body. A bare one would let whoever reads the table guess at passwords.
    pub fingerprint: Vec<u8>,
    /// Status of the answer.
    pub status: i16,
    /// Version in the answer's `ETag`.
    pub version: Option<i32>,
    /// Body of the answer, sealed; none where it was too large to keep.
    pub body: Option<Vec<u8>>,
    /// When the request was carried out.
    pub created_at: DateTime<Utc>,
}

/// None that the queries need.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// A request that may come again.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// Who asks.
    pub user: UserId,
    /// SHA-256 of method, path and key.
    pub hash: [u8; 32],
}

impl Key {
    /// The answer's body is authenticated with it.
    fn place(&self) -> Place<'static> {
        sealed::ANSWERS.place(row(self.user, &self.hash))
    }
}

/// What stands for a row, which has no id of its own, where its body is sealed.
pub(super) fn row(user: UserId, key_hash: &[u8]) -> Uuid {
    let mut row = [0; 16];
    row.copy_from_slice(&digest(user, key_hash)[..16]);
    Uuid::from_bytes(row)
}

fn digest(user: UserId, key_hash: &[u8]) -> [u8; 32] {
    sha256(&[user.0.as_bytes().as_slice(), key_hash].concat())
}

/// An answer to keep.
#[derive(Debug, Clone)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Version in its `ETag`.
    pub version: Option<i32>,
    /// Its body; none where it is too large to keep.
    pub body: Option<Vec<u8>>,
}

/// Makes this transaction the only one that carries the request out now; false if another one does.
///
/// # Errors
/// As the database fails.
pub async fn lock(tx: &mut Tx, key: &Key) -> Result<bool> {
    let mut number = [0; 8];
    number.copy_from_slice(&digest(key.user, &key.hash)[..8]);
    let statement = Statement::from_sql_and_values(
        DbBackend::Postgres,
        "SELECT pg_try_advisory_xact_lock($1) AS locked",
        [i64::from_be_bytes(number).into()],
    );
    let row = tx.orm().query_one_raw(statement).await?;
    let row = row.ok_or(Error::NotFound("lock"))?;
    Ok(row.try_get("", "locked")?)
}

/// Finds what was answered at or after `since`.
///
/// # Errors
/// As the database fails.
pub async fn find(
    db: &impl ConnectionTrait,
    key: &Key,
    since: DateTime<Utc>,
) -> Result<Option<Model>> {
    Ok(Entity::find_by_id((key.user, key.hash.to_vec()))
        .filter(Column::CreatedAt.gte(since))
        .one(db)
        .await?)
}

/// Keeps an answer. One that has outlived [`LIFETIME`] makes room for it.
///
/// # Errors
/// As the database fails.
pub async fn keep(
    tx: &mut Tx,
    keyring: &Keyring,
    key: &Key,
    fingerprint: [u8; 32],
    answer: Answer,
    now: DateTime<Utc>,
) -> Result<()> {
    let row = ActiveModel {
        user_id: Set(key.user),
        key_hash: Set(key.hash.to_vec()),
        fingerprint: Set(keyring.sign(USAGE, &fingerprint).to_vec()),
        status: Set(i16::try_from(answer.status).unwrap_or(i16::MAX)),
        version: Set(answer.version),
        body: Set(answer.body.map(|body| keyring.seal(&key.place(), &body))),
        created_at: Set(now),
    };
    let replaced = OnConflict::columns([Column::UserId, Column::KeyHash])
        .update_columns([
            Column::Fingerprint,
            Column::Status,
            Column::Version,
            Column::Body,
            Column::CreatedAt,
        ])
        .to_owned();
    Entity::insert(row)
        .on_conflict(replaced)
        .exec_without_returning(tx.orm())
        .await?;
    Ok(())
}

/// Deletes up to `limit` answers that have outlived [`LIFETIME`], and tells how many.
///
/// # Errors
/// As the database fails.
pub async fn prune(db: &impl ConnectionTrait, limit: u32, now: DateTime<Utc>) -> Result<u64> {
    let statement = Statement::from_sql_and_values(
        DbBackend::Postgres,
        "DELETE FROM idempotency_keys WHERE (user_id, key_hash) IN (
             SELECT user_id, key_hash FROM idempotency_keys WHERE created_at < $1 LIMIT $2 FOR UPDATE SKIP LOCKED)",
        [(now - LIFETIME).into(), limit.into()],
    );
    Ok(db.execute_raw(statement).await?.rows_affected())
}

impl Model {
    /// Whether the request had the body of this SHA-256.
    pub fn is_of(&self, keyring: &Keyring, fingerprint: &[u8; 32]) -> bool {
        keyring.verify(USAGE, fingerprint, &self.fingerprint)
    }

    /// The body of the answer; none where it was too large to keep.
    ///
    /// # Errors
    /// When no configured key opens it.
    pub fn open_body(
        &self,
        keyring: &Keyring,
        key: &Key,
    ) -> Result<Option<Vec<u8>>, keyring::Error> {
        let sealed = self.body.as_deref();
        sealed
            .map(|sealed| keyring.open(&key.place(), sealed))
            .transpose()
    }
}
