//! What requests to an endpoint are signed with (Standard Webhooks 1.0.0): a secret, and a key pair where it is wanted. Those
//! that were replaced sign for a while longer, so that a receiver can take the new one over without missing anything.

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use chrono::{DateTime, Utc};
use sea_orm::{
    ActiveValue::Set, ConnectionTrait, DbBackend, QueryOrder as _, Statement, entity::prelude::*,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{ActiveModel, Model, place};
use crate::{
    database::{self, Result, Tx},
    ids::{SecretId, WebhookId},
    keyring::{self, Keyring, Place, random},
};

/// What every secret begins with.
const SECRET_PREFIX: &str = "whsec_";
/// What every public key begins with.
const PUBLIC_KEY_PREFIX: &str = "whpk_";
/// Most former secrets of an endpoint that hold at once: each makes every request longer.
pub const MAX_OLD: u64 = 10;

/// What a secret signs with.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, EnumIter, DeriveActiveEnum, Serialize, Deserialize, ToSchema,
)]
#[sea_orm(rs_type = "String", db_type = "Text")]
#[serde(rename_all = "lowercase")]
#[schema(as = WebhookSignature)]
pub enum Kind {
    /// HMAC-SHA256 with a shared secret.
    #[sea_orm(string_value = "v1")]
    V1,
    /// Ed25519; the receiver has the public key only.
    #[sea_orm(string_value = "v1a")]
    V1a,
}

/// A secret that was replaced.
pub mod old {
    use chrono::{DateTime, Utc};
    use sea_orm::entity::prelude::*;

    use super::Kind;
    use crate::ids::{SecretId, WebhookId};

    /// A row of `webhook_old_secrets`.
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "webhook_old_secrets")]
    pub struct Model {
        /// Its id.
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: SecretId,
        /// Whose requests it signs.
        pub webhook_id: WebhookId,
        /// What it signs with.
        pub kind: Kind,
        /// The text of a secret or the seed of a key, sealed.
        pub secret: Vec<u8>,
        /// What signatures of a key are checked with.
        pub public_key: Option<Vec<u8>>,
        /// Until when it signs.
        pub expires_at: DateTime<Utc>,
        /// When it was made.
        pub created_at: DateTime<Utc>,
    }

    /// None that the queries need.
    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// Why secrets of an endpoint cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum NotOpened {
    /// They cannot be read or written.
    #[error(transparent)]
    Database(#[from] database::Error),
    /// No configured key opens them.
    #[error(transparent)]
    Sealed(#[from] keyring::Error),
}

/// What requests are signed with now, in the order of the signatures.
#[derive(Clone, PartialEq, Eq)]
pub struct Secrets {
    /// `whsec_…`: the current one, then those that still hold.
    pub v1: Vec<String>,
    /// Ed25519 seeds, in the same order; none where nobody wants them.
    pub v1a: Vec<[u8; 32]>,
}

/// A new secret, as it is shown.
pub fn new_secret() -> String {
    format!("{SECRET_PREFIX}{}", BASE64_STANDARD.encode(random::<32>()))
}

/// A public key, as it is shown.
pub fn show_public_key(key: &[u8]) -> String {
    format!("{PUBLIC_KEY_PREFIX}{}", BASE64_STANDARD.encode(key))
}

/// An Ed25519 key pair. Its seed leaves us sealed only.
pub(super) struct SigningKey {
    seed: [u8; 32],
    pub(super) public: Vec<u8>,
}

impl SigningKey {
    /// Makes a new one.
    pub(super) fn new() -> Self {
        Self::of(random())
    }

    fn of(seed: [u8; 32]) -> Self {
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed)
            .expect("any 32 bytes are a seed (RFC 8032 §5.1.5)");
        Self {
            seed,
            public: pair.public_key().as_ref().to_vec(),
        }
    }

    pub(super) fn seal(&self, keyring: &Keyring, id: WebhookId) -> Vec<u8> {
        keyring.seal(&place(id, "signing_key"), &self.seed)
    }
}

/// Has an endpoint sign with a new key, or with none.
pub(super) async fn set_signing_key(
    tx: &mut Tx,
    row: &mut ActiveModel,
    keyring: &Keyring,
    id: WebhookId,
    is_wanted: bool,
    now: DateTime<Utc>,
) -> Result<()> {
    let key = is_wanted.then(SigningKey::new);
    if key.is_none() {
        old::Entity::delete_many()
            .filter(old::Column::WebhookId.eq(id))
            .filter(old::Column::Kind.eq(Kind::V1a))
            .exec(tx.orm())
            .await?;
    }
    row.signing_key = Set(key.as_ref().map(|key| key.seal(keyring, id)));
    row.signing_key_id = Set(key.as_ref().map(|_| SecretId::new()));
    row.signing_key_created_at = Set(key.as_ref().map(|_| now));
    row.public_key = Set(key.map(|key| key.public));
    Ok(())
}

pub(super) fn old_place(id: SecretId) -> Place<'static> {
    Place {
        table: "webhook_old_secrets",
        row: id.0,
        column: "secret",
    }
}

fn text(secret: Vec<u8>) -> Result<String, keyring::Error> {
    String::from_utf8(secret).map_err(|_| keyring::Error::Damaged)
}

fn seed(secret: Vec<u8>) -> Result<[u8; 32], keyring::Error> {
    secret.try_into().map_err(|_| keyring::Error::Damaged)
}

impl Model {
    /// What requests are signed with at a time.
    ///
    /// # Errors
    /// As the database fails, and when no configured key opens them.
    pub async fn secrets(
        &self,
        db: &impl ConnectionTrait,
        keyring: &Keyring,
        now: DateTime<Utc>,
    ) -> Result<Secrets, NotOpened> {
        let mut secrets = Secrets {
            v1: vec![self.open_secret(keyring)?],
            v1a: Vec::new(),
        };
        if let Some(key) = &self.signing_key {
            let key = keyring.open(&place(self.id, "signing_key"), key)?;
            secrets.v1a.push(seed(key)?);
        }
        for row in self.list_old_secrets(db, now).await? {
            let secret = keyring.open(&old_place(row.id), &row.secret)?;
            match row.kind {
                Kind::V1 => secrets.v1.push(text(secret)?),
                Kind::V1a => secrets.v1a.push(seed(secret)?),
            }
        }
        Ok(secrets)
    }

    /// Lists the former secrets that still hold, those that do longest first.
    ///
    /// # Errors
    /// As the database fails.
    pub async fn list_old_secrets(
        &self,
        db: &impl ConnectionTrait,
        now: DateTime<Utc>,
    ) -> Result<Vec<old::Model>> {
        if self.old_secrets_until.is_none_or(|until| until <= now) {
            return Ok(Vec::new());
        }
        Ok(old::Entity::find()
            .filter(old::Column::WebhookId.eq(self.id))
            .filter(old::Column::ExpiresAt.gt(now))
            .order_by_desc(old::Column::ExpiresAt)
            .order_by_desc(old::Column::Id)
            .all(db)
            .await?)
    }
}

/// Deletes up to `limit` former secrets that do not hold any more, and tells how many.
///
/// # Errors
/// As the database fails.
pub async fn prune(db: &impl ConnectionTrait, limit: u32, now: DateTime<Utc>) -> Result<u64> {
    const SQL: &str = "
        DELETE FROM webhook_old_secrets WHERE id IN (
            SELECT id FROM webhook_old_secrets WHERE expires_at <= $1 LIMIT $2 FOR UPDATE SKIP LOCKED)";
    let values = [now.into(), limit.into()];
    let statement = Statement::from_sql_and_values(DbBackend::Postgres, SQL, values);
    Ok(db.execute_raw(statement).await?.rows_affected())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The key of Svix' test `test_asymmetric_key_signing`: 32 bytes of seed, then 32 of the public key.
    #[test]
    fn a_public_key_is_the_one_of_its_seed() {
        let pair = "6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg==";
        let pair = BASE64_STANDARD.decode(pair).unwrap();
        let key = SigningKey::of(pair[..32].try_into().unwrap());
        assert_eq!(key.public, pair[32..]);
        let shown = show_public_key(&key.public);
        assert_eq!(shown, "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4=");
    }

    #[test]
    fn a_secret_has_the_specifications_form() {
        let secret = new_secret();
        let key = BASE64_STANDARD.decode(secret.strip_prefix("whsec_").unwrap());
        assert_eq!(key.unwrap().len(), 32);
        assert_ne!(secret, new_secret());
    }
}
