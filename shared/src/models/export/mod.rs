//! Files made of conversations. They are kept for a week; until then their user may download them as often as they like.
//!
//! Locks are taken in the order job, export: so does the run that ends one.

mod object;
mod write;

use std::fmt;

use chrono::{DateTime, TimeDelta, Utc};
use sea_orm::{
    ConnectionTrait, QueryOrder as _, QuerySelect as _,
    entity::prelude::*,
    sea_query::{ExprTrait as _, SimpleExpr},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use self::{
    object::{delete, delete_some_of_conversation, delete_some_of_user, prune},
    write::{Made, New, close, complete, create, reopen},
};
use crate::{
    database::{Error, Result},
    ids::{ConversationId, ExportId, JobId, MessageId, UserId},
};

/// How long an export is kept after its end.
pub const LIFETIME: TimeDelta = TimeDelta::days(7);
/// Exports that a user may have at once; each may be many megabytes.
pub const MAX_PER_USER: u64 = 50;
const NOT_FOUND: Error = Error::NotFound("export");

/// What kind of file is made.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, EnumIter, DeriveActiveEnum, Serialize, Deserialize, ToSchema,
)]
#[sea_orm(rs_type = "String", db_type = "Text")]
#[serde(rename_all = "lowercase")]
#[schema(as = ExportFormat)]
pub enum Format {
    /// A PDF (PDF/A-2b).
    #[sea_orm(string_value = "pdf")]
    Pdf,
    /// A document for word processors (Office Open XML).
    #[sea_orm(string_value = "docx")]
    Docx,
    /// A page that needs nothing from elsewhere.
    #[sea_orm(string_value = "html")]
    Html,
    /// Markdown, as the messages are written.
    #[sea_orm(string_value = "markdown")]
    Markdown,
    /// Everything that is known, for programs.
    #[sea_orm(string_value = "json")]
    Json,
    /// A table with a row for each message.
    #[sea_orm(string_value = "csv")]
    Csv,
}

impl Format {
    /// Its name, as in bodies.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pdf => "pdf",
            Self::Docx => "docx",
            Self::Html => "html",
            Self::Markdown => "markdown",
            Self::Json => "json",
            Self::Csv => "csv",
        }
    }

    /// How names of its files end.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Markdown => "md",
            other => other.name(),
        }
    }

    /// `Content-Type` of its files.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Pdf => "application/pdf",
            Self::Docx => "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
            Self::Html => "text/html; charset=utf-8",
            Self::Markdown => "text/markdown; charset=utf-8",
            Self::Json => "application/json",
            Self::Csv => "text/csv; charset=utf-8",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How far an export has come.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, EnumIter, DeriveActiveEnum, Serialize, Deserialize, ToSchema,
)]
#[sea_orm(rs_type = "String", db_type = "Text")]
#[serde(rename_all = "lowercase")]
#[schema(as = ExportStatus)]
pub enum Status {
    /// Waiting for a worker, or being made.
    #[sea_orm(string_value = "processing")]
    Processing,
    /// There is a file.
    #[sea_orm(string_value = "succeeded")]
    Succeeded,
    /// It could not be made; `error` says why.
    #[sea_orm(string_value = "failed")]
    Failed,
    /// Stopped by its user.
    #[sea_orm(string_value = "cancelled")]
    Cancelled,
}

/// A row of `exports`.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "exports")]
pub struct Model {
    /// Its id.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: ExportId,
    /// Whose it is.
    pub user_id: UserId,
    /// What it is made of.
    pub conversation_id: ConversationId,
    /// The job that makes it.
    pub job_id: JobId,
    /// What kind of file it is.
    pub format: Format,
    /// Only messages from this time on.
    pub since: Option<DateTime<Utc>>,
    /// Only messages before this time.
    pub until: Option<DateTime<Utc>>,
    /// Whether it has what was shown, and not only its name.
    pub include_attachments: bool,
    /// Whether it has the messages of all branches.
    pub whole_tree: bool,
    /// Else the end of the branch that it has; none where nothing had been said.
    pub leaf_id: Option<MessageId>,
    /// How far it has come.
    pub status: Status,
    /// Why it could not be made, for the user to read.
    pub error: Option<String>,
    /// Under which it is saved.
    pub file_name: String,
    /// Key in the storage, once it is there.
    pub storage_key: Option<String>,
    /// Bytes stored.
    pub size_bytes: Option<i64>,
    /// SHA-256 of the content.
    pub sha256: Option<Vec<u8>>,
    /// Messages in it.
    pub message_count: Option<i64>,
    /// When it was asked for.
    pub created_at: DateTime<Utc>,
    /// When it was there, or given up.
    pub finished_at: Option<DateTime<Utc>>,
    /// When it goes.
    pub expires_at: Option<DateTime<Utc>>,
}

/// None that the queries need.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// Nobody sees what has expired, or what is of a deleted conversation; jobs remove both after some time.
fn is_shown(now: DateTime<Utc>) -> SimpleExpr {
    Column::ExpiresAt.is_null().or(Column::ExpiresAt.gt(now)).and(Expr::cust(
        "NOT EXISTS (SELECT FROM conversations c WHERE c.id = exports.conversation_id AND c.deleted_at IS NOT NULL OFFSET 0)",
    ))
}

/// Gets an export of `user`.
///
/// # Errors
/// [`Error::NotFound`] also when it is another user's, or has expired.
pub async fn get(
    db: &impl ConnectionTrait,
    user: UserId,
    id: ExportId,
    now: DateTime<Utc>,
) -> Result<Model> {
    Entity::find_by_id(id)
        .filter(Column::UserId.eq(user))
        .filter(is_shown(now))
        .one(db)
        .await?
        .ok_or(NOT_FOUND)
}

/// Which exports are listed.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Only of this conversation.
    pub conversation: Option<ConversationId>,
    /// Only those that have come this far.
    pub status: Option<Status>,
    /// Only those older than this one.
    pub before: Option<(DateTime<Utc>, ExportId)>,
}

/// Lists exports of `user`, newest first.
///
/// # Errors
/// As the database fails.
pub async fn list(
    db: &impl ConnectionTrait,
    user: UserId,
    filter: &Filter,
    limit: u64,
    now: DateTime<Utc>,
) -> Result<Vec<Model>> {
    let mut query = Entity::find()
        .filter(Column::UserId.eq(user))
        .filter(is_shown(now));
    if let Some(conversation) = filter.conversation {
        query = query.filter(Column::ConversationId.eq(conversation));
    }
    if let Some(status) = filter.status {
        query = query.filter(Column::Status.eq(status));
    }
    if let Some((created_at, id)) = filter.before {
        query = query.filter(Expr::cust_with_values(
            "(exports.created_at, exports.id) < ($1, $2)",
            [created_at.into(), sea_orm::Value::from(id)],
        ));
    }
    Ok(query
        .order_by_desc(Column::CreatedAt)
        .order_by_desc(Column::Id)
        .limit(limit)
        .all(db)
        .await?)
}

/// Finds an export for a signed URL, whose right to it was checked when it was made.
///
/// # Errors
/// As the database fails.
pub async fn find_for_signed_url(
    db: &impl ConnectionTrait,
    id: ExportId,
    now: DateTime<Utc>,
) -> Result<Option<Model>> {
    // Without an account nobody has a right to it, though a job has not removed it yet.
    let of_somebody = Expr::cust(
        "NOT EXISTS (SELECT FROM users u WHERE u.id = exports.user_id AND u.deleted_at IS NOT NULL)",
    );
    let row = Entity::find_by_id(id).filter(is_shown(now));
    Ok(row.filter(of_somebody).one(db).await?)
}

/// Finds an export for its job, whose right to it was checked when it was made.
///
/// # Errors
/// As the database fails.
pub async fn find_for_any_user(db: &impl ConnectionTrait, id: ExportId) -> Result<Option<Model>> {
    Ok(Entity::find_by_id(id).one(db).await?)
}
