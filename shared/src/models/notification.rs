//! What users are told inside the product.

use chrono::{DateTime, Utc};
use sea_orm::{ConnectionTrait, DbBackend, PaginatorTrait, Statement, entity::prelude::*};

use crate::{
    database::{Error, Result, Tx},
    ids::{NotificationId, UserId},
    models::page,
};

/// A row of `notifications`.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "notifications")]
pub struct Model {
    /// Its id.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: NotificationId,
    /// Who is told.
    pub user_id: UserId,
    /// `webhook.delivery_failed`, …
    pub kind: String,
    /// What it is about: a user has one unread notification of a topic at most.
    pub topic: Option<String>,
    /// In a few words.
    pub title: String,
    /// In a sentence.
    pub body: String,
    /// For programs.
    pub data: Json,
    /// When its user read it.
    pub read_at: Option<DateTime<Utc>>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it told something new last.
    pub updated_at: DateTime<Utc>,
}

/// None that the queries need.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// Something that went wrong, and may go wrong again before its user looks.
#[derive(Debug, Clone)]
pub struct Failure {
    /// Who is told.
    pub user: UserId,
    /// `webhook.delivery_failed`, …
    pub kind: &'static str,
    /// What went wrong: failures of one topic are told in one notification.
    pub topic: String,
    /// In a few words.
    pub title: &'static str,
    /// In a sentence.
    pub body: String,
    /// For programs; an object.
    pub data: Json,
}

/// Tells a user of a failure. While they have not read of an earlier one of the same topic, that notification tells of
/// this one instead, and `failures` in its data counts.
///
/// # Errors
/// As the database fails.
pub async fn tell_failure(tx: &mut Tx, of: Failure, now: DateTime<Utc>) -> Result<()> {
    let statement = Statement::from_sql_and_values(
        DbBackend::Postgres,
        "INSERT INTO notifications AS known (id, user_id, kind, topic, title, body, data, created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7::jsonb || '{\"failures\": 1}', $8, $8)
         ON CONFLICT (user_id, topic) WHERE read_at IS NULL DO UPDATE
            SET kind = excluded.kind, title = excluded.title, body = excluded.body, updated_at = excluded.updated_at,
                data = excluded.data
                    || jsonb_build_object('failures', coalesce((known.data ->> 'failures')::bigint, 0) + 1)",
        [
            NotificationId::new().into(),
            of.user.into(),
            of.kind.into(),
            of.topic.into(),
            of.title.into(),
            of.body.into(),
            of.data.into(),
            now.into(),
        ],
    );
    tx.orm().execute_raw(statement).await?;
    Ok(())
}

/// Something that a user would want to know.
#[derive(Debug, Clone)]
pub struct News {
    /// Who is told.
    pub user: UserId,
    /// `export.completed`, …
    pub kind: &'static str,
    /// What it is about.
    pub topic: String,
    /// In a few words.
    pub title: &'static str,
    /// In a sentence.
    pub body: String,
    /// For programs; an object.
    pub data: Json,
}

/// Tells a user of something. While they have not read of what was told of the same topic before, that notification tells
/// of this instead.
///
/// # Errors
/// As the database fails.
pub async fn tell(tx: &mut Tx, of: News, now: DateTime<Utc>) -> Result<()> {
    let statement = Statement::from_sql_and_values(
        DbBackend::Postgres,
        "INSERT INTO notifications (id, user_id, kind, topic, title, body, data, created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $8)
         ON CONFLICT (user_id, topic) WHERE read_at IS NULL DO UPDATE
            SET kind = excluded.kind, title = excluded.title, body = excluded.body, data = excluded.data,
                updated_at = excluded.updated_at",
        [
            NotificationId::new().into(),
            of.user.into(),
            of.kind.into(),
            of.topic.into(),
            of.title.into(),
            of.body.into(),
            of.data.into(),
            now.into(),
        ],
    );
    tx.orm().execute_raw(statement).await?;
    Ok(())
}

/// Which notifications are listed.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Only unread ones, or only read ones.
    pub unread: Option<bool>,
    /// Only those older than this one.
    pub before: Option<(DateTime<Utc>, NotificationId)>,
}

/// Lists notifications of `user`, newest first.
///
/// # Errors
/// As the database fails.
pub async fn list(
    db: &impl ConnectionTrait,
    user: UserId,
    filter: &Filter,
    limit: u64,
) -> Result<Vec<Model>> {
    let mut query = Entity::find().filter(Column::UserId.eq(user));
    match filter.unread {
        Some(true) => query = query.filter(Column::ReadAt.is_null()),
        Some(false) => query = query.filter(Column::ReadAt.is_not_null()),
        None => {}
    }
    Ok(page::newest(query, filter.before, limit).all(db).await?)
}

/// Counts what `user` has not read.
///
/// # Errors
/// As the database fails.
pub async fn count_unread(db: &impl ConnectionTrait, user: UserId) -> Result<u64> {
    Ok(Entity::find()
        .filter(Column::UserId.eq(user))
        .filter(Column::ReadAt.is_null())
        .count(db)
        .await?)
}

/// Records that `user` has read a notification. Repeating it keeps the first time.
///
/// # Errors
/// [`Error::NotFound`] also when it is another user's.
pub async fn mark_read(
    tx: &mut Tx,
    user: UserId,
    id: NotificationId,
    now: DateTime<Utc>,
) -> Result<Model> {
    let rows = Entity::update_many()
        .col_expr(
            Column::ReadAt,
            Expr::cust_with_values("coalesce(read_at, $1)", [now]),
        )
        .filter(Column::Id.eq(id))
        .filter(Column::UserId.eq(user))
        .exec_with_returning(tx.orm())
        .await?;
    rows.into_iter()
        .next()
        .ok_or(Error::NotFound("notification"))
}

/// Records that `user` has read everything; returns how many that were.
///
/// # Errors
/// As the database fails.
pub async fn mark_all_read(tx: &mut Tx, user: UserId, now: DateTime<Utc>) -> Result<u64> {
    let read = Entity::update_many()
        .col_expr(Column::ReadAt, Expr::value(now))
        .filter(Column::UserId.eq(user))
        .filter(Column::ReadAt.is_null())
        .exec(tx.orm())
        .await?;
    Ok(read.rows_affected)
}

/// Deletes a notification of `user`.
///
/// # Errors
/// [`Error::NotFound`] also when it is another user's.
pub async fn delete(tx: &mut Tx, user: UserId, id: NotificationId) -> Result<()> {
    let gone = Entity::delete_many()
        .filter(Column::Id.eq(id))
        .filter(Column::UserId.eq(user))
        .exec(tx.orm())
        .await?;
    if gone.rows_affected == 0 {
        Err(Error::NotFound("notification"))
    } else {
        Ok(())
    }
}

/// Deletes up to `limit` notifications that have told nothing new since a time, read or not. Returns how many went.
///
/// # Errors
/// As the database fails.
pub async fn prune(tx: &mut Tx, before: DateTime<Utc>, limit: u64) -> Result<u64> {
    let statement = Statement::from_sql_and_values(
        DbBackend::Postgres,
        // `created_at` is never after `updated_at`, and is what the index knows.
        "DELETE FROM notifications WHERE id IN (
             SELECT id FROM notifications WHERE created_at < $1 AND updated_at < $1 LIMIT $2 FOR UPDATE SKIP LOCKED)",
        [
            before.into(),
            i64::try_from(limit).unwrap_or(i64::MAX).into(),
        ],
    );
    Ok(tx.orm().execute_raw(statement).await?.rows_affected())
}
