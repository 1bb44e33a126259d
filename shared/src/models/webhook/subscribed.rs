//! Finding the endpoints that want an event.

use sea_orm::{
    ConnectionTrait, FromQueryResult, QueryOrder, QuerySelect, Select, Value, entity::prelude::*,
    sea_query::LockType,
};

use super::{Column, Entity, Model, Ordering, Schedule, pattern};
use crate::{
    database::Result,
    ids::{UserId, WebhookId},
};

/// An endpoint to which something is sent, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromQueryResult)]
pub struct Subscribed {
    /// Its id.
    pub id: WebhookId,
    /// Whose it is.
    pub user_id: UserId,
    /// Which deliveries wait for each other.
    pub ordering: Ordering,
    /// When a delivery is tried again.
    pub schedule: Schedule,
    /// Whether the last try failed: what is slow takes no slots from what is well.
    pub is_failing: bool,
}

impl Model {
    /// What sending to it takes.
    pub fn subscribed(&self) -> Subscribed {
        Subscribed {
            id: self.id,
            user_id: self.user_id,
            ordering: self.ordering,
            schedule: self.schedule,
            is_failing: false,
        }
    }
}

impl Subscribed {
    /// For what waits for nothing else.
    #[must_use]
    pub fn unordered(self) -> Self {
        Self {
            ordering: Ordering::None,
            ..self
        }
    }
}

/// Active endpoints that want an event, kept from being deleted: one must not vanish before its delivery is there.
fn wanting(event: &str) -> Select<Entity> {
    Entity::find()
        .select_only()
        .columns([
            Column::Id,
            Column::UserId,
            Column::Ordering,
            Column::Schedule,
        ])
        .expr_as(
            Expr::cust("EXISTS (SELECT FROM webhook_states s WHERE s.webhook_id = webhooks.id AND s.failures > 0)"),
            "is_failing",
        )
        .filter(Column::IsActive.eq(true))
        .filter(Expr::cust_with_values(
            "events && $1",
            [Value::from(pattern::wanting(event))],
        ))
        .order_by_asc(Column::Id)
        .lock(LockType::KeyShare)
}

/// Finds the active endpoints of `user` that want an event.
///
/// # Errors
/// As the database fails.
pub async fn find_subscribed(
    db: &impl ConnectionTrait,
    user: UserId,
    event: &str,
) -> Result<Vec<Subscribed>> {
    Ok(wanting(event)
        .filter(Column::UserId.eq(user))
        .into_model::<Subscribed>()
        .all(db)
        .await?)
}

/// Finds the active endpoints of administrators other than `user` that want an event of anybody. Whether administrators may
/// see it, the caller has to know; who is none any more gets nothing.
///
/// # Errors
/// As the database fails.
pub async fn find_subscribed_admins(
    db: &impl ConnectionTrait,
    user: UserId,
    event: &str,
) -> Result<Vec<Subscribed>> {
    Ok(wanting(event)
        .filter(Column::UserId.ne(user))
        // Written out: the index of these is not taken for a scope that is not known yet.
        .filter(Expr::cust(
            "scope = 'all' AND EXISTS (SELECT FROM users u WHERE u.id = webhooks.user_id AND u.role = 'admin' AND u.status = 'active')",
        ))
        .into_model::<Subscribed>()
        .all(db)
        .await?)
}
