//! Pictures made of an uploaded one: the standard ones of every picture, and those that somebody asked for.
//!
//! There is one row per attachment and request, which names its object as soon as it is made. Whose they are is checked
//! with the attachment.

mod making;

use chrono::{DateTime, Utc};
use sea_orm::{
    ActiveValue::Set,
    ConnectionTrait, QueryOrder as _, QuerySelect as _,
    entity::prelude::*,
    sea_query::{OnConflict, SimpleExpr},
};

pub use self::making::{Made, close, complete, complete_standard, reopen};
pub(super) use self::making::{begin_standard, close_standard, reopen_standard};
use super::{image::Status, page};
use crate::{
    database::{Error, Refusal, Result, Tx},
    ids::{AttachmentId, JobId, VariantId},
    jobs::{DeleteObject, MakeVariant},
    models::attachment,
    picture::Recipe,
    queue::{self, Enqueue},
};

/// Most variants of one attachment that somebody asked for.
pub const MAX_PER_ATTACHMENT: u64 = 50;
const NOT_FOUND: Error = Error::NotFound("variant");

/// A row of `image_variants`.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "image_variants")]
pub struct Model {
    /// Its id.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: VariantId,
    /// What it is made of.
    pub attachment_id: AttachmentId,
    /// Of a standard one.
    pub name: Option<String>,
    /// What was asked for.
    pub recipe: Option<Json>,
    /// The same for the same request.
    pub fingerprint: Vec<u8>,
    /// The job that makes it.
    pub job_id: JobId,
    /// How far that has come.
    pub status: Status,
    /// Key in the storage, once it is made.
    pub storage_key: Option<String>,
    /// What is in its file.
    pub media_type: Option<String>,
    /// In pixels.
    pub width: Option<i32>,
    /// In pixels.
    pub height: Option<i32>,
    /// Bytes stored.
    pub size_bytes: Option<i64>,
    /// SHA-256 of the content.
    pub sha256: Option<Vec<u8>>,
    /// Why it could not be made, for the user to read.
    pub error: Option<String>,
    /// When it was asked for first.
    pub created_at: DateTime<Utc>,
    /// When its making ended.
    pub finished_at: Option<DateTime<Utc>>,
}

/// None that the queries need.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// Asks for a variant of a picture of the user, whose row this transaction has locked: the one that was made before by
/// the same recipe, or one that waits, or a new one. One whose making failed is tried again.
///
/// # Errors
/// [`Refusal::VariantLimit`] when there are too many.
pub async fn request(
    tx: &mut Tx,
    of: &attachment::Model,
    recipe: &Recipe,
    now: DateTime<Utc>,
) -> Result<Model> {
    let fingerprint = recipe.fingerprint().to_vec();
    let of_attachment = Entity::find().filter(Column::AttachmentId.eq(of.id));
    let known = of_attachment
        .clone()
        .filter(Column::Fingerprint.eq(fingerprint.clone()))
        .one(tx.orm())
        .await?;
    let id = match known {
        Some(known) if matches!(known.status, Status::Succeeded | Status::Processing) => {
            return Ok(known);
        }
        Some(known) => known.id,
        None => {
            let asked_for = of_attachment.filter(Column::Name.is_null());
            if asked_for.count(tx.orm()).await? >= MAX_PER_ATTACHMENT {
                return Err(Refusal::VariantLimit.into());
            }
            VariantId::new()
        }
    };
    let job = Enqueue::new(MakeVariant { variant: id }).unique(format!("make-variant:{id}"));
    let job = queue::enqueue(tx, job).await?.id;
    let row = ActiveModel {
        id: Set(id),
        attachment_id: Set(of.id),
        recipe: Set(serde_json::to_value(recipe).ok()),
        fingerprint: Set(fingerprint),
        job_id: Set(job),
        status: Set(Status::Processing),
        created_at: Set(now),
        ..Default::default()
    };
    let again = OnConflict::column(Column::Id)
        .update_columns([Column::JobId, Column::Status])
        .values([
            (Column::Error, Expr::cust("NULL")),
            (Column::FinishedAt, Expr::cust("NULL")),
        ])
        .to_owned();
    Entity::insert(row)
        .on_conflict(again)
        .exec_without_returning(tx.orm())
        .await?;
    get(tx.orm(), of.id, id).await
}

/// Gets a variant of an attachment.
///
/// # Errors
/// [`Error::NotFound`] also when it is another attachment's.
pub async fn get(
    db: &impl ConnectionTrait,
    attachment: AttachmentId,
    id: VariantId,
) -> Result<Model> {
    Entity::find_by_id(id)
        .filter(Column::AttachmentId.eq(attachment))
        .one(db)
        .await?
        .ok_or(NOT_FOUND)
}

/// Finds a variant for a job, whose right to it was checked when it was made.
///
/// # Errors
/// As the database fails.
pub async fn find_for_any_user(db: &impl ConnectionTrait, id: VariantId) -> Result<Option<Model>> {
    Ok(Entity::find_by_id(id).one(db).await?)
}

/// Lists the variants of an attachment, newest first, only those before `before`.
///
/// # Errors
/// As the database fails.
pub async fn list(
    db: &impl ConnectionTrait,
    attachment: AttachmentId,
    before: Option<(DateTime<Utc>, VariantId)>,
    limit: u64,
) -> Result<Vec<Model>> {
    let query = Entity::find().filter(Column::AttachmentId.eq(attachment));
    Ok(page::newest(query, before, limit).all(db).await?)
}

/// Lists variants of some attachments by age: the standard ones first, and of one attachment all.
///
/// # Errors
/// As the database fails.
pub async fn list_of(
    db: &impl ConnectionTrait,
    attachments: &[AttachmentId],
    standard_only: bool,
) -> Result<Vec<Model>> {
    let mut query = Entity::find().filter(Column::AttachmentId.is_in(attachments.iter().copied()));
    if standard_only {
        query = query.filter(Column::Name.is_not_null());
    }
    Ok(query
        .order_by_asc(Column::CreatedAt)
        .order_by_asc(Column::Id)
        .all(db)
        .await?)
}

/// Deletes a variant that somebody asked for, of a picture whose row this transaction has locked. Its job is cancelled;
/// its object goes by a job of its own.
///
/// # Errors
/// [`Refusal::StandardVariant`] for those that every picture has.
pub async fn delete(tx: &mut Tx, of: &attachment::Model, id: VariantId) -> Result<()> {
    let row = get(tx.orm(), of.id, id).await?;
    if row.name.is_some() {
        return Err(Refusal::StandardVariant.into());
    }
    attachment::cancel_job(tx, of, row.job_id).await?;
    remove(tx, Column::Id.eq(id)).await
}

/// The jobs of an attachment's variants.
pub(super) async fn find_jobs(tx: &Tx, attachment: AttachmentId) -> Result<Vec<JobId>> {
    Ok(Entity::find()
        .select_only()
        .column(Column::JobId)
        .distinct()
        .filter(Column::AttachmentId.eq(attachment))
        .order_by_asc(Column::JobId)
        .into_tuple()
        .all(tx.orm())
        .await?)
}

/// Removes all variants of an attachment that is going, after their jobs were cancelled.
pub(super) async fn remove_all(tx: &mut Tx, attachment: AttachmentId) -> Result<()> {
    remove(tx, Column::AttachmentId.eq(attachment)).await
}

async fn remove(tx: &mut Tx, which: SimpleExpr) -> Result<()> {
    let rows = Entity::delete_many()
        .filter(which)
        .exec_with_returning(tx.orm())
        .await?;
    for row in rows {
        delete_object(tx, row.storage_key).await?;
    }
    Ok(())
}

async fn delete_object(tx: &mut Tx, storage_key: Option<String>) -> Result<()> {
    let Some(storage_key) = storage_key else {
        return Ok(());
    };
    let job = DeleteObject {
        storage_key,
        unfinished: false,
        attachment: None,
    };
    queue::enqueue(tx, Enqueue::new(job).of_nobody()).await?;
    Ok(())
}
