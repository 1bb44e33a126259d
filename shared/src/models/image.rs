//! What an uploaded picture is: how large when it is upright, and what it looks like before it is there.
//!
//! There is one row per picture. Its standard variants are rows of [`image_variant`], begun and ended
//! together with it.

use chrono::{DateTime, Utc};
use sea_orm::{ActiveValue::Set, ConnectionTrait, QuerySelect as _, entity::prelude::*};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    database::{Result, Tx},
    ids::{AttachmentId, JobId},
    models::image_variant,
    queue::End,
};

/// How far the making of something has come.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, EnumIter, DeriveActiveEnum, Serialize, Deserialize, ToSchema,
)]
#[sea_orm(rs_type = "String", db_type = "Text")]
#[serde(rename_all = "lowercase")]
#[schema(as = ImageStatus)]
pub enum Status {
    /// Waiting for a worker, or being made.
    #[sea_orm(string_value = "processing")]
    Processing,
    /// Made.
    #[sea_orm(string_value = "succeeded")]
    Succeeded,
    /// Could not be made; `error` says why.
    #[sea_orm(string_value = "failed")]
    Failed,
    /// Stopped by its user.
    #[sea_orm(string_value = "cancelled")]
    Cancelled,
}

impl Status {
    /// Of what waits for a job that ended without success.
    pub(super) fn after(end: &End) -> Self {
        match end {
            End::Cancelled => Self::Cancelled,
            End::Failed(_) | End::Quarantined(_) => Self::Failed,
        }
    }
}

/// A row of `images`.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "images")]
pub struct Model {
    /// The uploaded picture.
    #[sea_orm(primary_key, auto_increment = false)]
    pub attachment_id: AttachmentId,
    /// The job that processes it.
    pub job_id: JobId,
    /// How far that has come.
    pub status: Status,
    /// Pixels of the upright picture.
    pub width: Option<i32>,
    /// Pixels of the upright picture.
    pub height: Option<i32>,
    /// Pictures of an animation; else 1.
    pub frame_count: Option<i32>,
    /// As `#rrggbb`.
    pub dominant_color: Option<String>,
    /// A few letters that stand for a blur of it.
    pub blur_hash: Option<String>,
    /// Why it could not be processed, for the user to read.
    pub error: Option<String>,
    /// When it was asked for.
    pub created_at: DateTime<Utc>,
    /// When it ended.
    pub finished_at: Option<DateTime<Utc>>,
}

/// None that the queries need.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// What a worker has found out.
#[derive(Debug, Clone)]
pub struct Look {
    /// Pixels of the upright picture.
    pub width: u32,
    /// Pixels of the upright picture.
    pub height: u32,
    /// Pictures of an animation; else 1.
    pub frames: u32,
    /// As `#rrggbb`.
    pub dominant_color: String,
    /// A few letters that stand for a blur of it.
    pub blur_hash: Option<String>,
}

/// Records that `job` will process a picture, and make its standard variants.
///
/// # Errors
/// As the database fails.
pub async fn begin(
    tx: &mut Tx,
    attachment: AttachmentId,
    job: JobId,
    now: DateTime<Utc>,
) -> Result<()> {
    let row = ActiveModel {
        attachment_id: Set(attachment),
        job_id: Set(job),
        status: Set(Status::Processing),
        created_at: Set(now),
        ..Default::default()
    };
    Entity::insert(row).exec_without_returning(tx.orm()).await?;
    image_variant::begin_standard(tx, attachment, job, now).await
}

/// Finds what is known of a picture. Whose it is was checked with the attachment.
///
/// # Errors
/// As the database fails.
pub async fn find(db: &impl ConnectionTrait, attachment: AttachmentId) -> Result<Option<Model>> {
    Ok(Entity::find_by_id(attachment).one(db).await?)
}

/// Finds what is known of some pictures. Whose they are was checked with the attachments.
///
/// # Errors
/// As the database fails.
pub async fn list(db: &impl ConnectionTrait, attachments: &[AttachmentId]) -> Result<Vec<Model>> {
    Ok(Entity::find()
        .filter(Column::AttachmentId.is_in(attachments.iter().copied()))
        .all(db)
        .await?)
}

/// The job of a picture, if there is one.
///
/// # Errors
/// As the database fails.
pub(super) async fn find_job(tx: &Tx, attachment: AttachmentId) -> Result<Option<JobId>> {
    Ok(Entity::find_by_id(attachment)
        .select_only()
        .column(Column::JobId)
        .into_tuple()
        .one(tx.orm())
        .await?)
}

/// Records what was found out.
///
/// # Errors
/// As the database fails.
pub async fn complete(
    tx: &mut Tx,
    attachment: AttachmentId,
    look: Look,
    now: DateTime<Utc>,
) -> Result<()> {
    let number = |number: u32| Set(Some(i32::try_from(number).unwrap_or(i32::MAX)));
    let row = ActiveModel {
        status: Set(Status::Succeeded),
        width: number(look.width),
        height: number(look.height),
        frame_count: number(look.frames),
        dominant_color: Set(Some(look.dominant_color)),
        blur_hash: Set(look.blur_hash),
        error: Set(None),
        finished_at: Set(Some(now)),
        ..Default::default()
    };
    update(tx, attachment, row).await
}

/// Records that a picture was not processed, and none of its standard variants made.
///
/// # Errors
/// As the database fails.
pub async fn close(tx: &mut Tx, attachment: AttachmentId, end: &End) -> Result<()> {
    let row = ActiveModel {
        status: Set(Status::after(end)),
        error: Set(end.reason().map(str::to_owned)),
        finished_at: Set(Some(tx.now().await?)),
        ..Default::default()
    };
    update(tx, attachment, row).await?;
    image_variant::close_standard(tx, attachment, end).await
}

/// Records that a picture will be processed after all.
///
/// # Errors
/// As the database fails.
pub async fn reopen(tx: &mut Tx, attachment: AttachmentId) -> Result<()> {
    let row = ActiveModel {
        status: Set(Status::Processing),
        error: Set(None),
        finished_at: Set(None),
        ..Default::default()
    };
    update(tx, attachment, row).await?;
    image_variant::reopen_standard(tx, attachment).await
}

async fn update(tx: &mut Tx, attachment: AttachmentId, row: ActiveModel) -> Result<()> {
    Entity::update_many()
        .set(row)
        .filter(Column::AttachmentId.eq(attachment))
        .exec(tx.orm())
        .await?;
    Ok(())
}
