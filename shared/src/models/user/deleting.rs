//! The end of accounts.

use chrono::{DateTime, Utc};
use sea_orm::{
    ActiveValue::Set, ConnectionTrait as _, DbBackend, QuerySelect as _, Statement,
    entity::prelude::*,
};

use super::{Column, Model, Role, Status, purging, undeleted};
use crate::{
    database::{Refusal, Result, Tx},
    events::{self, DeletedUser, Event},
    ids::UserId,
    models::{
        api_key,
        generation::{self, Stopped},
        session, webhook,
    },
};

impl Model {
    /// Deletes the account, at once and for good: its logins and keys end, its answers stop, its endpoints hear of nothing any
    /// more, and its address is free. Administrators' endpoints are told. A job removes what is left of it.
    ///
    /// # Errors
    /// [`Refusal::LastAdmin`].
    pub async fn delete(self, tx: &mut Tx, now: DateTime<Utc>) -> Result<()> {
        let id = self.id;
        if self.role == Role::Admin {
            check_other_admin(tx, id).await?;
        }
        // Before the account's row changes: whoever ends an answer or switches an endpoint off needs that row after it.
        generation::request_cancel(tx.orm(), id, Stopped::Everything, now).await?;
        webhook::delete_all(tx, id, now).await?;
        session::end_all(tx, id, None, now).await?;
        api_key::delete_all(tx, id).await?;
        let mut row = self.begin_change(now);
        // Nobody can register it: it is no address.
        row.email = Set(format!("deleted:{id}"));
        // No password has it.
        row.password_hash = Set(String::new());
        row.display_name = Set(None);
        row.avatar_url = Set(None);
        row.role = Set(Role::User);
        row.is_verified = Set(false);
        row.deleted_at = Set(Some(now));
        row.update(tx.orm()).await?;
        let event = Event::UserDeleted(DeletedUser { user_id: id });
        events::emit(tx, id, &event, now).await?;
        purging::enqueue(tx, id).await
    }
}

/// Checks that another administrator can act.
async fn check_other_admin(tx: &mut Tx, id: UserId) -> Result<()> {
    // One after the other, so that two who go at once do not both count on each other.
    const LOCK: &str = "SELECT pg_advisory_xact_lock(25187, 2)";
    let lock = Statement::from_string(DbBackend::Postgres, LOCK);
    tx.orm().execute_raw(lock).await?;
    let other: Option<UserId> = undeleted()
        .select_only()
        .column(Column::Id)
        .filter(Column::Id.ne(id))
        .filter(Column::Role.eq(Role::Admin))
        .filter(Column::Status.eq(Status::Active))
        .into_tuple()
        .one(tx.orm())
        .await?;
    other.map(|_| ()).ok_or(Refusal::LastAdmin.into())
}
