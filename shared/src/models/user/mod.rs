//! Accounts.
//!
//! One that was deleted keeps its row, of which no finder knows.

mod deleting;
mod purging;
mod standing;

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use sea_orm::{
    ActiveValue::Set, ConnectionTrait, QuerySelect, entity::prelude::*, sea_query::LockType,
};

pub use self::{
    purging::{Walked, cancel_next_job, end_purge, is_deleted, purge_again, purge_rows},
    standing::{PresenceSharing, Role, Status, Tier},
};
use crate::{
    database::{Error, Result, Tx},
    events::{self, Event, UserSummary},
    ids::UserId,
    models::{api_key, session},
};

/// A row of `users`.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "users")]
pub struct Model {
    /// Its id.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: UserId,
    /// Lower-cased address; unique.
    pub email: String,
    /// Argon2id, in PHC string format.
    pub password_hash: String,
    /// What others see.
    pub display_name: Option<String>,
    /// Where their picture is.
    pub avatar_url: Option<String>,
    /// What they may do.
    pub role: Role,
    /// Which limits they have.
    pub tier: Tier,
    /// Whether they may act.
    pub status: Status,
    /// Whether the address is known to be theirs.
    pub is_verified: bool,
    /// Who sees whether they are there.
    pub presence_sharing: PresenceSharing,
    /// Whether others see what they have read.
    pub read_receipts_enabled: bool,
    /// Grows with every change.
    pub version: i32,
    /// When the account was made.
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

/// The form in which addresses are compared: providers tell case apart on paper only.
pub fn normal_email(email: &str) -> String {
    email.trim().to_lowercase()
}

/// Makes an account, and tells of it.
///
/// # Errors
/// [`crate::database::Refusal::EmailTaken`].
pub async fn register(
    tx: &mut Tx,
    email: &str,
    password_hash: String,
    display_name: Option<String>,
    role: Role,
    now: DateTime<Utc>,
) -> Result<Model> {
    let row = ActiveModel {
        id: Set(UserId::new()),
        email: Set(normal_email(email)),
        password_hash: Set(password_hash),
        display_name: Set(display_name),
        avatar_url: Set(None),
        role: Set(role),
        tier: Set(Tier::Free),
        status: Set(Status::Active),
        is_verified: Set(false),
        presence_sharing: Set(PresenceSharing::Everyone),
        read_receipts_enabled: Set(true),
        version: Set(1),
        created_at: Set(now),
        updated_at: Set(now),
        deleted_at: Set(None),
    };
    let row = row.insert(tx.orm()).await?;
    let event = Event::UserCreated(UserSummary::from(&row));
    events::emit(tx, row.id, &event, now).await?;
    Ok(row)
}

/// All accounts that were not deleted.
fn undeleted() -> Select<Entity> {
    Entity::find().filter(Column::DeletedAt.is_null())
}

fn by_id(id: UserId) -> Select<Entity> {
    undeleted().filter(Column::Id.eq(id))
}

/// Finds the account of an address.
///
/// # Errors
/// As the database fails.
pub async fn find_by_email(db: &impl ConnectionTrait, email: &str) -> Result<Option<Model>> {
    Ok(undeleted()
        .filter(Column::Email.eq(normal_email(email)))
        .one(db)
        .await?)
}

/// Finds an account.
///
/// # Errors
/// As the database fails.
pub async fn find(db: &impl ConnectionTrait, id: UserId) -> Result<Option<Model>> {
    Ok(by_id(id).one(db).await?)
}

/// Finds what some accounts may do, and whether they may act.
///
/// # Errors
/// As the database fails.
pub async fn find_standings(
    db: &impl ConnectionTrait,
    ids: &[UserId],
) -> Result<HashMap<UserId, (Role, Status)>> {
    let rows: Vec<(UserId, Role, Status)> = undeleted()
        .select_only()
        .columns([Column::Id, Column::Role, Column::Status])
        .filter(Column::Id.is_in(ids.iter().copied()))
        .into_tuple()
        .all(db)
        .await?;
    let standings = rows.into_iter();
    Ok(standings
        .map(|(id, role, status)| (id, (role, status)))
        .collect())
}

/// Gets an account, which nobody else changes until the transaction ends.
///
/// # Errors
/// [`Error::NotFound`].
pub async fn get_for_update(tx: &mut Tx, id: UserId) -> Result<Model> {
    by_id(id)
        // Not FOR UPDATE: rows that refer to the account may come in meanwhile.
        .lock(LockType::NoKeyUpdate)
        .one(tx.orm())
        .await?
        .ok_or(Error::NotFound("user"))
}

/// Gets an account, which nobody changes until the transaction ends.
///
/// # Errors
/// [`Error::NotFound`].
pub async fn get_for_share(tx: &mut Tx, id: UserId) -> Result<Model> {
    by_id(id)
        .lock_shared()
        .one(tx.orm())
        .await?
        .ok_or(Error::NotFound("user"))
}

/// Keeps an account from being deleted until the transaction ends; false if there is none.
///
/// # Errors
/// As the database fails.
pub async fn hold(tx: &mut Tx, id: UserId) -> Result<bool> {
    let found: Option<UserId> = by_id(id)
        .select_only()
        .column(Column::Id)
        .lock(LockType::KeyShare)
        .into_tuple()
        .one(tx.orm())
        .await?;
    Ok(found.is_some())
}

/// Stores a change of an account, and tells of it.
async fn changed(tx: &mut Tx, row: ActiveModel, now: DateTime<Utc>) -> Result<Model> {
    let row = row.update(tx.orm()).await?;
    let event = Event::UserUpdated(UserSummary::from(&row));
    events::emit(tx, row.id, &event, now).await?;
    Ok(row)
}

/// What others see of an account; what is not given stays.
#[derive(Debug, Default)]
pub struct Profile {
    /// Their name.
    pub display_name: Option<String>,
    /// Their picture; an inner none takes it away.
    pub avatar_url: Option<Option<String>>,
}

/// What others learn of what the user does; what is not given stays.
#[derive(Debug, Default)]
pub struct Privacy {
    /// Who sees whether they are there.
    pub presence_sharing: Option<PresenceSharing>,
    /// Whether others see what they have read.
    pub read_receipts_enabled: Option<bool>,
}

impl Model {
    /// Changes what others see.
    ///
    /// # Errors
    /// As the database fails.
    pub async fn change_profile(
        self,
        tx: &mut Tx,
        change: Profile,
        now: DateTime<Utc>,
    ) -> Result<Self> {
        let mut row = self.begin_change(now);
        if let Some(name) = change.display_name {
            row.display_name = Set(Some(name));
        }
        if let Some(url) = change.avatar_url {
            row.avatar_url = Set(url);
        }
        changed(tx, row, now).await
    }

    /// Changes what others learn.
    ///
    /// # Errors
    /// As the database fails.
    pub async fn change_privacy(
        self,
        tx: &mut Tx,
        change: Privacy,
        now: DateTime<Utc>,
    ) -> Result<Self> {
        let mut row = self.begin_change(now);
        if let Some(sharing) = change.presence_sharing {
            row.presence_sharing = Set(sharing);
        }
        if let Some(enabled) = change.read_receipts_enabled {
            row.read_receipts_enabled = Set(enabled);
        }
        changed(tx, row, now).await
    }

    /// Gives the account another password. Its logins and API keys stay.
    ///
    /// # Errors
    /// As the database fails.
    pub async fn change_password(
        self,
        tx: &mut Tx,
        password_hash: String,
        now: DateTime<Utc>,
    ) -> Result<Self> {
        let mut row = self.begin_change(now);
        row.password_hash = Set(password_hash);
        Ok(row.update(tx.orm()).await?)
    }

    /// Changes what the account may do, at once.
    ///
    /// # Errors
    /// As the database fails.
    pub async fn change_role(self, tx: &mut Tx, role: Role, now: DateTime<Utc>) -> Result<Self> {
        self.forget_cached(tx, now).await?;
        let mut row = self.begin_change(now);
        row.role = Set(role);
        changed(tx, row, now).await
    }

    /// Bars the account, or lets it in again, at once. Its logins and API keys stay.
    ///
    /// # Errors
    /// As the database fails.
    pub async fn change_status(
        self,
        tx: &mut Tx,
        status: Status,
        now: DateTime<Utc>,
    ) -> Result<Self> {
        self.forget_cached(tx, now).await?;
        let mut row = self.begin_change(now);
        row.status = Set(status);
        changed(tx, row, now).await
    }

    /// Gives it the limits and features of a tier.
    ///
    /// # Errors
    /// As the database fails.
    pub async fn change_tier(self, tx: &mut Tx, tier: Tier, now: DateTime<Utc>) -> Result<Self> {
        self.forget_cached(tx, now).await?;
        let mut row = self.begin_change(now);
        row.tier = Set(tier);
        changed(tx, row, now).await
    }

    /// Says that its address is its owner's.
    ///
    /// # Errors
    /// As the database fails.
    pub async fn verify(self, tx: &mut Tx, now: DateTime<Utc>) -> Result<Self> {
        self.forget_cached(tx, now).await?;
        let mut row = self.begin_change(now);
        row.is_verified = Set(true);
        changed(tx, row, now).await
    }

    fn begin_change(self, now: DateTime<Utc>) -> ActiveModel {
        let version = self.version + 1;
        let mut row = ActiveModel::from(self);
        row.version = Set(version);
        row.updated_at = Set(now);
        row
    }

    /// What the cache says of the account's logins and keys is not true any more.
    async fn forget_cached(&self, tx: &mut Tx, now: DateTime<Utc>) -> Result<()> {
        session::forget_cached(tx, self.id, now).await?;
        api_key::forget_cached(tx, self.id).await
    }
}
