//! What is sealed, over all tables of such rows: whatever is missing here is lost with the key that sealed it.

use std::{collections::BTreeSet, fmt};

use sea_orm::{ConnectionTrait, DbBackend, QueryResult, Statement, Value};
use uuid::Uuid;

use super::idempotency_key;
use crate::{
    database::Result,
    ids::UserId,
    keyring::{HEAD_BYTES, Place},
};

/// Signing secrets of endpoints.
pub const WEBHOOK_SECRETS: Column = Column::by_id("webhooks", "secret");
/// Headers that are sent to endpoints.
pub const WEBHOOK_HEADERS: Column = Column::by_id("webhooks", "sealed_headers");
/// Ed25519 seeds of endpoints.
pub const WEBHOOK_SIGNING_KEYS: Column = Column::by_id("webhooks", "signing_key");
/// Former secrets and seeds of endpoints, which hold for a while yet.
pub const OLD_WEBHOOK_SECRETS: Column = Column::by_id("webhook_old_secrets", "secret");
/// Keys of providers that an operator has set.
pub const PROVIDER_KEYS: Column = Column::by_id("provider_pools", "sealed_keys");
/// Answers that are repeated.
pub const ANSWERS: Column = Column {
    table: "idempotency_keys",
    name: "body",
    rows: Rows::ByRequest,
};

/// All there are.
pub const ALL: [Column; 6] = [
    WEBHOOK_SECRETS,
    WEBHOOK_HEADERS,
    WEBHOOK_SIGNING_KEYS,
    OLD_WEBHOOK_SECRETS,
    PROVIDER_KEYS,
    ANSWERS,
];

/// A column of ciphertexts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Column {
    /// Name of the table.
    pub table: &'static str,
    /// Name of the column.
    pub name: &'static str,
    rows: Rows,
}

/// By what the rows of a table are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rows {
    /// `id`, under which they are sealed.
    ById,
    /// User and hash of the key of a request.
    ByRequest,
}

/// A row's key, in the order of its table.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// Its id.
    Id(Uuid),
    /// User and hash of the key of a request.
    Request(UserId, Vec<u8>),
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => write!(f, "{id}"),
            Self::Request(user, hash) => write!(f, "{user}/{}", hex::encode(hash)),
        }
    }
}

impl fmt::Display for Column {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.table, self.name)
    }
}

/// A row with something sealed.
#[derive(Debug, Clone)]
pub struct Row {
    /// Which one.
    pub key: Key,
    /// What is sealed; none where it begins with what was not asked for.
    pub sealed: Option<Vec<u8>>,
}

/// A ciphertext that is to stand in the place of another.
#[derive(Debug, Clone)]
pub struct Change {
    /// In which row.
    pub key: Key,
    /// What is there.
    pub old: Vec<u8>,
    /// What is to be there.
    pub new: Vec<u8>,
}

/// What is done about rows that somebody else changes at this moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Locked {
    /// They are left as they are.
    Skip,
    /// They are waited for. With more than one change, two that do so could wait for each other.
    Wait,
}

impl Column {
    const fn by_id(table: &'static str, name: &'static str) -> Self {
        Self {
            table,
            name,
            rows: Rows::ById,
        }
    }

    /// With what the ciphertext of a row is authenticated.
    pub fn place(&self, row: Uuid) -> Place<'static> {
        Place {
            table: self.table,
            row,
            column: self.name,
        }
    }

    /// The place of the row with this key.
    pub fn place_of(&self, key: &Key) -> Place<'static> {
        self.place(match key {
            Key::Id(id) => *id,
            Key::Request(user, hash) => idempotency_key::row(*user, hash),
        })
    }

    /// Up to `limit` rows after `after` that have something sealed, in the order of their keys; of those that begin with
    /// `but` the keys only.
    ///
    /// # Errors
    /// As the database fails.
    pub async fn list(
        &self,
        db: &impl ConnectionTrait,
        but: Option<&[u8]>,
        after: Option<&Key>,
        limit: u64,
    ) -> Result<Vec<Row>> {
        let (table, name) = (self.table, self.name);
        let key = self.key_columns().join(", ");
        let mut values = vec![
            Value::Bytes(but.map(<[u8]>::to_vec)),
            i64::try_from(limit).unwrap_or(i64::MAX).into(),
        ];
        let later = match after {
            None => "",
            Some(Key::Id(id)) => {
                values.push((*id).into());
                "AND id > $3"
            }
            Some(Key::Request(user, hash)) => {
                values.push(user.0.into());
                values.push(hash.clone().into());
                "AND (user_id, key_hash) > ($3, $4)"
            }
        };
        let sql = format!(
            "SELECT {key}, CASE WHEN substring({name} FROM 1 FOR {HEAD_BYTES}) IS DISTINCT FROM $1::bytea
                           THEN {name} END AS sealed
               FROM {table} WHERE {name} IS NOT NULL {later} ORDER BY {key} LIMIT $2"
        );
        let statement = Statement::from_sql_and_values(DbBackend::Postgres, sql, values);
        let rows = db.query_all_raw(statement).await?;
        rows.iter()
            .map(|row| {
                Ok(Row {
                    key: self.key(row)?,
                    sealed: row.try_get("", "sealed")?,
                })
            })
            .collect()
    }

    /// Makes changes where the old value is there yet, and tells in which rows.
    ///
    /// # Errors
    /// As the database fails; then nothing is changed.
    pub async fn replace(
        &self,
        db: &impl ConnectionTrait,
        changes: &[Change],
        locked: Locked,
    ) -> Result<BTreeSet<Key>> {
        let (table, name) = (self.table, self.name);
        let keys = self.key_columns();
        let key = keys.join(", ");
        let is_same = |other: &str| {
            let pairs = keys.iter().map(|key| format!("t.{key} = {other}.{key}"));
            pairs.collect::<Vec<_>>().join(" AND ")
        };
        let (is_listed, is_free) = (is_same("change"), is_same("free"));
        let told = keys.iter().map(|key| format!("t.{key}"));
        let told = told.collect::<Vec<_>>().join(", ");
        let key_arrays = match self.rows {
            Rows::ById => "$3::uuid[]",
            Rows::ByRequest => "$3::uuid[], $4::bytea[]",
        };
        let locked = match locked {
            Locked::Skip => "SKIP LOCKED",
            Locked::Wait => "",
        };
        let sql = format!(
            "WITH change AS (SELECT * FROM unnest($1::bytea[], $2::bytea[], {key_arrays}) u(was, becomes, {key})),
                  free AS (SELECT change.* FROM {table} t JOIN change ON {is_listed} AND t.{name} = change.was
                              FOR NO KEY UPDATE OF t {locked})
             UPDATE {table} t SET {name} = free.becomes FROM free WHERE {is_free} AND t.{name} = free.was
             RETURNING {told}"
        );
        let (mut ids, mut hashes): (Vec<Uuid>, Vec<Vec<u8>>) = (Vec::new(), Vec::new());
        for change in changes {
            match &change.key {
                Key::Id(id) => ids.push(*id),
                Key::Request(user, hash) => {
                    ids.push(user.0);
                    hashes.push(hash.clone());
                }
            }
        }
        let old: Vec<Vec<u8>> = changes.iter().map(|change| change.old.clone()).collect();
        let new: Vec<Vec<u8>> = changes.iter().map(|change| change.new.clone()).collect();
        let mut values: Vec<Value> = vec![old.into(), new.into(), ids.into()];
        if self.rows == Rows::ByRequest {
            values.push(hashes.into());
        }
        let statement = Statement::from_sql_and_values(DbBackend::Postgres, sql, values);
        let rows = db.query_all_raw(statement).await?;
        rows.iter().map(|row| self.key(row)).collect()
    }

    /// What the rows are told apart by, in the order of the table's index.
    fn key_columns(&self) -> &'static [&'static str] {
        match self.rows {
            Rows::ById => &["id"],
            Rows::ByRequest => &["user_id", "key_hash"],
        }
    }

    fn key(&self, row: &QueryResult) -> Result<Key> {
        Ok(match self.rows {
            Rows::ById => Key::Id(row.try_get("", "id")?),
            Rows::ByRequest => Key::Request(
                UserId(row.try_get("", "user_id")?),
                row.try_get("", "key_hash")?,
            ),
        })
    }
}
