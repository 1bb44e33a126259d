//! Replacing a secret of an endpoint. The old one may go on signing for a while.

use chrono::{DateTime, TimeDelta, Utc};
use sea_orm::{ActiveValue::Set, Condition, PaginatorTrait as _, entity::prelude::*};

use super::{
    ActiveModel, Model, NotOpened, place,
    secrets::{Kind, MAX_OLD, new_secret, old, old_place, set_signing_key},
};
use crate::{
    database::{self, Refusal, Result, Tx},
    ids::{SecretId, WebhookId},
    keyring::{Keyring, Place},
};

impl Model {
    /// Replaces the secret or the key. The old one signs for `overlap` longer; where that is nothing, neither it nor any other
    /// former one of its kind signs any more. The endpoint must be locked.
    ///
    /// # Errors
    /// [`Refusal::WebhookSecretLimit`] when [`MAX_OLD`] former ones still hold, [`Refusal::NoSigningKey`] where there is no key
    /// to replace, and when no configured key opens what goes on signing.
    pub async fn rotate(
        self,
        tx: &mut Tx,
        keyring: &Keyring,
        kind: Kind,
        overlap: TimeDelta,
        now: DateTime<Utc>,
    ) -> Result<Rotated, NotOpened> {
        let is_at_once = overlap <= TimeDelta::zero();
        let mut gone = Condition::any().add(old::Column::ExpiresAt.lte(now));
        if is_at_once {
            gone = gone.add(old::Column::Kind.eq(kind));
        }
        old::Entity::delete_many()
            .filter(old::Column::WebhookId.eq(self.id))
            .filter(gone)
            .exec(tx.orm())
            .await
            .map_err(database::Error::from)?;
        let current = self
            .current(kind)
            .ok_or(database::Error::from(Refusal::NoSigningKey))?;
        let previous = if is_at_once {
            None
        } else {
            Some(current.retire(tx, keyring, now + overlap).await?)
        };
        let ends = previous.as_ref().map(|previous| previous.expires_at);
        let until = self
            .old_secrets_until
            .filter(|until| *until > now)
            .max(ends);
        let (id, version) = (self.id, self.version + 1);
        let mut row: ActiveModel = self.into();
        let secret = match kind {
            Kind::V1 => {
                let secret = new_secret();
                row.secret = Set(keyring.seal(&place(id, "secret"), secret.as_bytes()));
                row.secret_id = Set(SecretId::new());
                row.secret_created_at = Set(Some(now));
                Some(secret)
            }
            Kind::V1a => {
                set_signing_key(tx, &mut row, keyring, id, true, now).await?;
                None
            }
        };
        row.old_secrets_until = Set(until);
        row.version = Set(version);
        row.updated_at = Set(now);
        let webhook = row.update(tx.orm()).await.map_err(database::Error::from)?;
        Ok(Rotated {
            webhook,
            secret,
            previous,
        })
    }

    /// What signs now; nothing where the endpoint has no key.
    fn current(&self, kind: Kind) -> Option<Current<'_>> {
        Some(match kind {
            Kind::V1 => Current {
                of: self.id,
                kind,
                id: self.secret_id,
                place: place(self.id, "secret"),
                sealed: &self.secret,
                public_key: None,
                created_at: self.secret_created_at.unwrap_or(self.created_at),
            },
            Kind::V1a => Current {
                of: self.id,
                kind,
                id: self.signing_key_id?,
                place: place(self.id, "signing_key"),
                sealed: self.signing_key.as_ref()?,
                public_key: self.public_key.clone(),
                created_at: self.signing_key_created_at.unwrap_or(self.created_at),
            },
        })
    }
}

/// What was replaced by what.
#[derive(Debug, Clone)]
pub struct Rotated {
    /// The endpoint after it.
    pub webhook: Model,
    /// The new secret, as it is shown; a key is not.
    pub secret: Option<String>,
    /// The old one, where it still signs.
    pub previous: Option<old::Model>,
}

/// What signs now.
struct Current<'a> {
    of: WebhookId,
    kind: Kind,
    id: SecretId,
    place: Place<'static>,
    sealed: &'a [u8],
    public_key: Option<Vec<u8>>,
    created_at: DateTime<Utc>,
}

impl Current<'_> {
    /// Has it sign until `expires_at` as a former one.
    async fn retire(
        self,
        tx: &mut Tx,
        keyring: &Keyring,
        expires_at: DateTime<Utc>,
    ) -> Result<old::Model, NotOpened> {
        let live = old::Entity::find().filter(old::Column::WebhookId.eq(self.of));
        let live = live.count(tx.orm()).await.map_err(database::Error::from)?;
        if live >= MAX_OLD {
            return Err(database::Error::from(Refusal::WebhookSecretLimit).into());
        }
        let secret = keyring.open(&self.place, self.sealed)?;
        let row = old::ActiveModel {
            id: Set(self.id),
            webhook_id: Set(self.of),
            kind: Set(self.kind),
            secret: Set(keyring.seal(&old_place(self.id), &secret)),
            public_key: Set(self.public_key),
            expires_at: Set(expires_at),
            created_at: Set(self.created_at),
        };
        Ok(row.insert(tx.orm()).await.map_err(database::Error::from)?)
    }
}
