//! Endpoints of clients' servers.

use chrono::{DateTime, Utc};
use sea_orm::{
    ActiveValue::Set, ConnectionTrait, PaginatorTrait, QueryOrder, QuerySelect, Value,
    entity::prelude::*, sea_query::LockType,
};

use super::user;
use crate::{
    database::{Error, Refusal, Result, Tx},
    ids::{UserId, WebhookId},
    keyring::{self, Keyring, Place},
};

/// Most endpoints of a user.
pub const MAX_PER_USER: u64 = 20;

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
    /// Which ones.
    pub events: Vec<String>,
    /// For people.
    pub description: Option<String>,
    /// The signing secret, sealed.
    pub secret: Vec<u8>,
    /// Whether events are sent.
    pub is_active: bool,
    /// Why they are not, if we switched it off.
    pub disabled_reason: Option<String>,
    /// Grows with every change.
    pub version: i32,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it was changed last.
    pub updated_at: DateTime<Utc>,
}

/// None that the queries need.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

fn place(id: WebhookId) -> Place<'static> {
    Place {
        table: "webhooks",
        row: id.0,
        column: "secret",
    }
}

impl Model {
    /// The signing secret, as it was shown.
    ///
    /// # Errors
    /// When no configured key opens it.
    pub fn open_secret(&self, keyring: &Keyring) -> Result<String, keyring::Error> {
        let secret = keyring.open(&place(self.id), &self.secret)?;
        String::from_utf8(secret).map_err(|_| keyring::Error::Damaged)
    }

    /// What its user says of it.
    pub fn settings(&self) -> Settings {
        Settings {
            url: self.url.clone(),
            events: self.events.clone(),
            description: self.description.clone(),
            is_active: self.is_active,
        }
    }

    /// Changes what its user says of it. Saying the same again changes nothing; switching it on forgets why it was off.
    ///
    /// # Errors
    /// As the database fails.
    pub async fn change(self, tx: &mut Tx, to: Settings, now: DateTime<Utc>) -> Result<Self> {
        if to == self.settings() {
            return Ok(self);
        }
        let version = self.version + 1;
        let mut row: ActiveModel = self.into();
        if to.is_active {
            row.disabled_reason = Set(None);
        }
        row.url = Set(to.url);
        row.events = Set(to.events);
        row.description = Set(to.description);
        row.is_active = Set(to.is_active);
        row.version = Set(version);
        row.updated_at = Set(now);
        Ok(row.update(tx.orm()).await?)
    }
}

/// What a user says of an endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Where events are posted to.
    pub url: String,
    /// Which ones.
    pub events: Vec<String>,
    /// For people.
    pub description: Option<String>,
    /// Whether events are sent.
    pub is_active: bool,
}

/// Makes an endpoint.
///
/// # Errors
/// [`Refusal::WebhookLimitReached`] when the user has [`MAX_PER_USER`] already.
#[expect(clippy::too_many_arguments, reason = "each is a column")]
pub async fn create(
    tx: &mut Tx,
    keyring: &Keyring,
    user: UserId,
    url: String,
    events: Vec<String>,
    description: Option<String>,
    secret: &str,
    now: DateTime<Utc>,
) -> Result<Model> {
    // One after the other, so that two do not both count nineteen; who only refers to the user does not wait.
    user::Entity::find_by_id(user)
        .select_only()
        .column(user::Column::Id)
        .lock(LockType::NoKeyUpdate)
        .into_tuple::<UserId>()
        .one(tx.orm())
        .await?;
    let of_user = Entity::find().filter(Column::UserId.eq(user));
    if of_user.count(tx.orm()).await? >= MAX_PER_USER {
        return Err(Refusal::WebhookLimitReached.into());
    }
    let id = WebhookId::new();
    let row = ActiveModel {
        id: Set(id),
        user_id: Set(user),
        url: Set(url),
        events: Set(events),
        description: Set(description),
        secret: Set(keyring.seal(&place(id), secret.as_bytes())),
        is_active: Set(true),
        disabled_reason: Set(None),
        version: Set(1),
        created_at: Set(now),
        updated_at: Set(now),
    };
    Ok(row.insert(tx.orm()).await?)
}

/// Gets an endpoint of `user`.
///
/// # Errors
/// [`Error::NotFound`] also when it is another user's.
pub async fn get(db: &impl ConnectionTrait, user: UserId, id: WebhookId) -> Result<Model> {
    Entity::find_by_id(id)
        .filter(Column::UserId.eq(user))
        .one(db)
        .await?
        .ok_or(Error::NotFound("webhook"))
}

/// Gets an endpoint of `user`, which nobody else changes until the transaction ends.
///
/// # Errors
/// [`Error::NotFound`] also when it is another user's.
pub async fn get_for_update(tx: &mut Tx, user: UserId, id: WebhookId) -> Result<Model> {
    Entity::find_by_id(id)
        .filter(Column::UserId.eq(user))
        .lock_exclusive()
        .one(tx.orm())
        .await?
        .ok_or(Error::NotFound("webhook"))
}

/// Finds the endpoint of a delivery.
///
/// # Errors
/// As the database fails.
pub async fn find_for_any_user(db: &impl ConnectionTrait, id: WebhookId) -> Result<Option<Model>> {
    Ok(Entity::find_by_id(id).one(db).await?)
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
    let mut query = Entity::find().filter(Column::UserId.eq(user));
    if let Some((created_at, id)) = before {
        query = query.filter(Expr::cust_with_values(
            "(created_at, id) < ($1, $2)",
            [created_at.into(), Value::from(id)],
        ));
    }
    Ok(query
        .order_by_desc(Column::CreatedAt)
        .order_by_desc(Column::Id)
        .limit(limit)
        .all(db)
        .await?)
}

/// Finds the active endpoints of `user` that want an event.
///
/// # Errors
/// As the database fails.
pub async fn find_subscribed(
    db: &impl ConnectionTrait,
    user: UserId,
    event: &str,
) -> Result<Vec<WebhookId>> {
    Ok(Entity::find()
        .select_only()
        .column(Column::Id)
        .filter(Column::UserId.eq(user))
        .filter(Column::IsActive.eq(true))
        .filter(Expr::cust_with_values("$1 = ANY(events)", [event]))
        .order_by_asc(Column::Id)
        // One that is being deleted must not vanish before its delivery is there.
        .lock(LockType::KeyShare)
        .into_tuple()
        .all(db)
        .await?)
}

/// Deletes an endpoint of `user`, with its deliveries.
///
/// # Errors
/// [`Error::NotFound`] also when it is another user's.
pub async fn delete(tx: &mut Tx, user: UserId, id: WebhookId) -> Result<()> {
    let gone = Entity::delete_many()
        .filter(Column::Id.eq(id))
        .filter(Column::UserId.eq(user))
        .exec(tx.orm())
        .await?;
    if gone.rows_affected == 0 {
        Err(Error::NotFound("webhook"))
    } else {
        Ok(())
    }
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
        .col_expr(Column::Version, Expr::cust("version + 1"))
        .col_expr(Column::UpdatedAt, Expr::value(now))
        .filter(Column::Id.eq(id))
        .filter(Column::Url.eq(url))
        .filter(Column::IsActive.eq(true))
        .exec(tx.orm())
        .await?;
    Ok(disabled.rows_affected > 0)
}
