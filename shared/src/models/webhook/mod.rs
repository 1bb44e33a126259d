//! Endpoints of clients' servers.
//!
//! Locks are taken in the order job, endpoint, its state and group, delivery: so does a run that switches one off. Who changes an
//! endpoint asks for [`HastenDeliveries`] while it is locked, so the runs of that lock none.

mod barred;
pub mod hastening;
pub mod headers;
pub mod health;
pub mod pattern;
mod purging;
pub mod recovery;
mod rotation;
pub mod secrets;
mod settings;
pub mod state;
mod subscribed;

use chrono::{DateTime, Utc};
use sea_orm::{
    ActiveValue::Set, ConnectionTrait, PaginatorTrait, QueryOrder, QuerySelect, entity::prelude::*,
    sea_query::LockType,
};

use self::secrets::SigningKey;
pub use self::{
    pattern::wants,
    purging::{purge, purge_again, purge_deliveries},
    rotation::Rotated,
    secrets::{NotOpened, Secrets},
    settings::{Ordering, Schedule, Scope, Settings},
    subscribed::{Subscribed, find_subscribed, find_subscribed_admins},
};
use super::{page, user};
use crate::{
    database::{Error, Refusal, Result, Tx},
    ids::{SecretId, UserId, WebhookId},
    jobs::{DeliverWebhook, HastenDeliveries},
    keyring::{self, Keyring, Place},
    queue::{self, Enqueue, groups},
};

/// Most endpoints of a user.
pub const MAX_PER_USER: u64 = 20;
const NOT_FOUND: Error = Error::NotFound("webhook");

/// A row of `webhooks`.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "webhooks")]
pub struct Model {
    /// Its id.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: WebhookId,
    /// Whose it is.
    pub user_id: UserId,
    /// Where events are posted to.
    pub url: String,
    /// Which ones: names and patterns.
    pub events: Vec<String>,
    /// For people.
    pub description: Option<String>,
    /// The signing secret, sealed.
    pub secret: Vec<u8>,
    /// Which one that is.
    pub secret_id: SecretId,
    /// When it was made, if that was after the endpoint was.
    pub secret_created_at: Option<DateTime<Utc>>,
    /// The Ed25519 seed, sealed, where requests are signed with one, too.
    pub signing_key: Option<Vec<u8>>,
    /// Which one that is.
    pub signing_key_id: Option<SecretId>,
    /// When it was made.
    pub signing_key_created_at: Option<DateTime<Utc>>,
    /// What its signatures are checked with.
    pub public_key: Option<Vec<u8>>,
    /// Until when former secrets may hold; none does where there is no time.
    pub old_secrets_until: Option<DateTime<Utc>>,
    /// Headers of its requests by name, as JSON, sealed.
    pub sealed_headers: Option<Vec<u8>>,
    /// Their names.
    pub header_names: Vec<String>,
    /// Most tries a minute.
    pub rate_limit_per_minute: Option<i32>,
    /// When it is tried again.
    pub schedule: Schedule,
    /// Which deliveries wait for each other.
    pub ordering: Ordering,
    /// Longest time of a try; as the worker says where there is none.
    pub timeout_seconds: Option<i16>,
    /// Whose events it gets.
    pub scope: Scope,
    /// Whether events are sent.
    pub is_active: bool,
    /// Why they are not, if we switched it off.
    pub disabled_reason: Option<String>,
    /// When we did.
    pub disabled_at: Option<DateTime<Utc>>,
    /// Grows with every change.
    pub version: i32,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it was changed last.
    pub updated_at: DateTime<Utc>,
    /// When it was deleted; a job removes what is left.
    pub deleted_at: Option<DateTime<Utc>>,
}

/// None that the queries need.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// Where a secret of an endpoint is kept.
fn place(id: WebhookId, column: &'static str) -> Place<'static> {
    Place {
        table: "webhooks",
        row: id.0,
        column,
    }
}

impl Model {
    /// The signing secret, as it was shown.
    ///
    /// # Errors
    /// When no configured key opens it.
    pub fn open_secret(&self, keyring: &Keyring) -> Result<String, keyring::Error> {
        let secret = keyring.open(&place(self.id, "secret"), &self.secret)?;
        String::from_utf8(secret).map_err(|_| keyring::Error::Damaged)
    }

    /// Deletes it: nobody sees it any more, nothing is sent to it, and a job removes it with its deliveries. It must be locked.
    ///
    /// # Errors
    /// As the database fails.
    pub async fn delete(self, tx: &mut Tx, now: DateTime<Utc>) -> Result<()> {
        let id = self.id;
        let mut row: ActiveModel = self.into();
        row.is_active = Set(false);
        row.deleted_at = Set(Some(now));
        row.update(tx.orm()).await?;
        groups::forget(tx, &DeliverWebhook::group(id)).await?;
        purging::enqueue(tx, id).await
    }

    /// Forgets that it failed, and ends what keeps its deliveries from being tried: its user says that it is well, or elsewhere.
    ///
    /// # Errors
    /// As the database fails.
    pub async fn forgive(&self, tx: &mut Tx) -> Result<()> {
        state::clear(tx, self.id).await?;
        groups::release(tx, &DeliverWebhook::group(self.id)).await?;
        // What waits for a later try is tried now: the newest at once, the others, however many, by a job.
        if hastening::hasten(tx, self.id, None).await?.is_some() {
            let job = Enqueue::new(HastenDeliveries { webhook: self.id })
                .unique(HastenDeliveries::unique_key(self.id))
                .of_nobody();
            queue::enqueue(tx, job).await?;
        }
        Ok(())
    }
}

/// Makes an endpoint.
///
/// # Errors
/// [`Refusal::WebhookLimitReached`] when the user has [`MAX_PER_USER`] already; [`Error::NotFound`] when they have gone.
pub async fn create(
    tx: &mut Tx,
    keyring: &Keyring,
    user: UserId,
    settings: Settings,
    secret: &str,
    now: DateTime<Utc>,
) -> Result<Model> {
    // One after the other, so that two do not both count nineteen; who only refers to the user does not wait.
    user::get_for_update(tx, user).await?;
    if of_user(user).count(tx.orm()).await? >= MAX_PER_USER {
        return Err(Refusal::WebhookLimitReached.into());
    }
    let id = WebhookId::new();
    let group = DeliverWebhook::group(id);
    // One try at a time, until one succeeds.
    groups::narrow(tx, &group).await?;
    if let Some(interval) = settings.interval() {
        groups::pace(tx, &group, Some(interval)).await?;
    }
    let key = settings.is_asymmetric.then(SigningKey::new);
    let headers = settings.headers.unwrap_or_default();
    let row = ActiveModel {
        id: Set(id),
        user_id: Set(user),
        url: Set(settings.url),
        events: Set(settings.events),
        description: Set(settings.description),
        secret: Set(keyring.seal(&place(id, "secret"), secret.as_bytes())),
        secret_id: Set(SecretId::new()),
        secret_created_at: Set(Some(now)),
        signing_key: Set(key.as_ref().map(|key| key.seal(keyring, id))),
        signing_key_id: Set(key.as_ref().map(|_| SecretId::new())),
        signing_key_created_at: Set(key.as_ref().map(|_| now)),
        public_key: Set(key.as_ref().map(|key| key.public.clone())),
        old_secrets_until: Set(None),
        sealed_headers: Set(headers::seal(keyring, id, &headers)),
        header_names: Set(headers.into_keys().collect()),
        rate_limit_per_minute: Set(settings.rate_limit_per_minute),
        schedule: Set(settings.schedule),
        ordering: Set(settings.ordering),
        timeout_seconds: Set(settings.timeout_seconds),
        scope: Set(settings.scope),
        is_active: Set(settings.is_active),
        disabled_reason: Set(None),
        disabled_at: Set(None),
        version: Set(1),
        created_at: Set(now),
        updated_at: Set(now),
        deleted_at: Set(None),
    };
    Ok(row.insert(tx.orm()).await?)
}

/// Endpoints that are not deleted.
fn kept() -> Select<Entity> {
    Entity::find().filter(Column::DeletedAt.is_null())
}

fn of_user(user: UserId) -> Select<Entity> {
    kept().filter(Column::UserId.eq(user))
}

/// Gets an endpoint of `user`.
///
/// # Errors
/// [`Error::NotFound`] also when it is another user's, or deleted.
pub async fn get(db: &impl ConnectionTrait, user: UserId, id: WebhookId) -> Result<Model> {
    of_user(user)
        .filter(Column::Id.eq(id))
        .one(db)
        .await?
        .ok_or(NOT_FOUND)
}

/// Gets an endpoint of `user`, which nobody else changes until the transaction ends.
///
/// # Errors
/// [`Error::NotFound`] also when it is another user's, or deleted.
pub async fn get_for_update(tx: &mut Tx, user: UserId, id: WebhookId) -> Result<Model> {
    of_user(user)
        .filter(Column::Id.eq(id))
        .lock_exclusive()
        .one(tx.orm())
        .await?
        .ok_or(NOT_FOUND)
}

/// Finds the endpoint of a delivery.
///
/// # Errors
/// As the database fails.
pub async fn find_for_any_user(db: &impl ConnectionTrait, id: WebhookId) -> Result<Option<Model>> {
    Ok(kept().filter(Column::Id.eq(id)).one(db).await?)
}

/// Finds the endpoints of deliveries.
///
/// # Errors
/// As the database fails.
pub async fn find_for_deliveries(
    db: &impl ConnectionTrait,
    ids: &[WebhookId],
) -> Result<Vec<Model>> {
    Ok(kept()
        .filter(Column::Id.is_in(ids.iter().copied()))
        .all(db)
        .await?)
}

/// Finds an endpoint for a job, and keeps it from being deleted until the transaction ends.
///
/// # Errors
/// As the database fails.
pub async fn hold_for_any_user(tx: &mut Tx, id: WebhookId) -> Result<Option<Model>> {
    let held = kept().filter(Column::Id.eq(id));
    let held = held.lock(LockType::KeyShare);
    Ok(held.one(tx.orm()).await?)
}

/// Lists endpoints of `user`, newest first.
///
/// # Errors
/// As the database fails.
pub async fn list(
    db: &impl ConnectionTrait,
    user: UserId,
    before: Option<(DateTime<Utc>, WebhookId)>,
    limit: u64,
) -> Result<Vec<Model>> {
    Ok(page::newest(of_user(user), before, limit).all(db).await?)
}

/// Deletes all endpoints of `user`, who is going.
///
/// # Errors
/// As the database fails.
pub(super) async fn delete_all(tx: &mut Tx, user: UserId, now: DateTime<Utc>) -> Result<()> {
    let rows = of_user(user)
        .order_by_asc(Column::Id)
        .lock_exclusive()
        .all(tx.orm())
        .await?;
    for row in rows {
        row.delete(tx, now).await?;
    }
    Ok(())
}

/// Switches an endpoint off because of what `url` answered; false if it is off already, gone, or at another URL now.
///
/// # Errors
/// As the database fails.
pub async fn disable(
    tx: &mut Tx,
    id: WebhookId,
    url: &str,
    reason: &str,
    now: DateTime<Utc>,
) -> Result<bool> {
    let disabled = Entity::update_many()
        .col_expr(Column::IsActive, Expr::value(false))
        .col_expr(Column::DisabledReason, Expr::value(reason))
        .col_expr(Column::DisabledAt, Expr::value(now))
        .col_expr(Column::Version, Expr::cust("version + 1"))
        .col_expr(Column::UpdatedAt, Expr::value(now))
        .filter(Column::Id.eq(id))
        .filter(Column::Url.eq(url))
        .filter(Column::IsActive.eq(true))
        .exec(tx.orm())
        .await?;
    Ok(disabled.rows_affected > 0)
}
