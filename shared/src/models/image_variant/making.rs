//! From a variant that is being made to one that is there, or is not.

use chrono::{DateTime, Utc};
use sea_orm::{
    ActiveValue::Set, ExprTrait as _, QuerySelect as _, entity::prelude::*, sea_query::SimpleExpr,
};

use super::{ActiveModel, Column, Entity, NOT_FOUND, delete_object};
use crate::{
    database::{Result, Tx},
    ids::{AttachmentId, JobId, VariantId},
    keyring::sha256,
    models::{image::Status, pending_object},
    picture::Standard,
    queue::End,
};

/// A file that was made, and stored under a key noted by [`pending_object::begin`].
#[derive(Debug, Clone)]
pub struct Made {
    /// Key in the storage.
    pub storage_key: String,
    /// What is in the file.
    pub media_type: String,
    /// In pixels.
    pub width: u32,
    /// In pixels.
    pub height: u32,
    /// Bytes stored.
    pub size_bytes: u64,
    /// Of the content.
    pub sha256: [u8; 32],
}

/// Records that `job` will make the standard variants of a picture.
pub(in crate::models) async fn begin_standard(
    tx: &mut Tx,
    attachment: AttachmentId,
    job: JobId,
    now: DateTime<Utc>,
) -> Result<()> {
    let rows = Standard::ALL.map(|standard| ActiveModel {
        id: Set(VariantId::new()),
        attachment_id: Set(attachment),
        name: Set(Some(standard.name().to_owned())),
        fingerprint: Set(sha256(standard.name().as_bytes()).to_vec()),
        job_id: Set(job),
        status: Set(Status::Processing),
        created_at: Set(now),
        ..Default::default()
    });
    Entity::insert_many(rows)
        .exec_without_returning(tx.orm())
        .await?;
    Ok(())
}

/// Records the file of a standard variant.
///
/// # Errors
/// When its object is not pending any more; or as the database fails.
pub async fn complete_standard(
    tx: &mut Tx,
    attachment: AttachmentId,
    name: &str,
    made: Made,
    now: DateTime<Utc>,
) -> Result<()> {
    let which = Column::AttachmentId
        .eq(attachment)
        .and(Column::Name.eq(name));
    complete_where(tx, which, made, now).await
}

/// Records the file of a variant.
///
/// # Errors
/// When its object is not pending any more; or as the database fails.
pub async fn complete(tx: &mut Tx, id: VariantId, made: Made, now: DateTime<Utc>) -> Result<()> {
    complete_where(tx, Column::Id.eq(id), made, now).await
}

async fn complete_where(
    tx: &mut Tx,
    which: SimpleExpr,
    made: Made,
    now: DateTime<Utc>,
) -> Result<()> {
    pending_object::claim(tx, &made.storage_key).await?;
    let row = Entity::find().filter(which).lock_exclusive();
    let row = row.one(tx.orm()).await?.ok_or(NOT_FOUND)?;
    // A run that was taken for dead may have been quicker.
    delete_object(tx, row.storage_key.clone()).await?;
    let side = |pixels: u32| Set(Some(i32::try_from(pixels).unwrap_or(i32::MAX)));
    let made = ActiveModel {
        id: Set(row.id),
        status: Set(Status::Succeeded),
        storage_key: Set(Some(made.storage_key)),
        media_type: Set(Some(made.media_type)),
        width: side(made.width),
        height: side(made.height),
        size_bytes: Set(Some(i64::try_from(made.size_bytes).unwrap_or(i64::MAX))),
        sha256: Set(Some(made.sha256.to_vec())),
        error: Set(None),
        finished_at: Set(Some(now)),
        ..Default::default()
    };
    Entity::update(made).exec(tx.orm()).await?;
    Ok(())
}

/// Records that a variant was not made.
///
/// # Errors
/// As the database fails.
pub async fn close(tx: &mut Tx, id: VariantId, end: &End) -> Result<()> {
    close_where(tx, Column::Id.eq(id), end).await
}

/// Records that a variant will be made after all.
///
/// # Errors
/// As the database fails.
pub async fn reopen(tx: &mut Tx, id: VariantId) -> Result<()> {
    reopen_where(tx, Column::Id.eq(id)).await
}

/// As [`close`], of the standard variants of a picture.
pub(in crate::models) async fn close_standard(
    tx: &mut Tx,
    attachment: AttachmentId,
    end: &End,
) -> Result<()> {
    close_where(tx, standard_of(attachment), end).await
}

/// As [`reopen`], of the standard variants of a picture.
pub(in crate::models) async fn reopen_standard(
    tx: &mut Tx,
    attachment: AttachmentId,
) -> Result<()> {
    reopen_where(tx, standard_of(attachment)).await
}

fn standard_of(attachment: AttachmentId) -> SimpleExpr {
    let named = Column::Name.is_not_null();
    Column::AttachmentId.eq(attachment).and(named)
}

async fn close_where(tx: &mut Tx, which: SimpleExpr, end: &End) -> Result<()> {
    let row = ActiveModel {
        status: Set(Status::after(end)),
        error: Set(end.reason().map(str::to_owned)),
        finished_at: Set(Some(tx.now().await?)),
        ..Default::default()
    };
    Entity::update_many()
        .set(row)
        .filter(which)
        .filter(Column::Status.eq(Status::Processing))
        .exec(tx.orm())
        .await?;
    Ok(())
}

async fn reopen_where(tx: &mut Tx, which: SimpleExpr) -> Result<()> {
    let row = ActiveModel {
        status: Set(Status::Processing),
        error: Set(None),
        finished_at: Set(None),
        ..Default::default()
    };
    Entity::update_many()
        .set(row)
        .filter(which)
        .filter(Column::Status.ne(Status::Succeeded))
        .exec(tx.orm())
        .await?;
    Ok(())
}
