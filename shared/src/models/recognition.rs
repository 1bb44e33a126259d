//! What was read in an attachment.

use chrono::{DateTime, Utc};
use sea_orm::{ActiveValue::Set, ConnectionTrait, QuerySelect, entity::prelude::*};

use crate::{
    database::{Result, Tx},
    events::{self, Event, OcrResult},
    ids::{AttachmentId, JobId},
    models::attachment,
    queue::End,
};

/// How far the reading has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumIter, DeriveActiveEnum)]
#[sea_orm(rs_type = "String", db_type = "Text")]
pub enum Status {
    /// Waiting for a worker, or being read.
    #[sea_orm(string_value = "processing")]
    Processing,
    /// Read; the text may be empty.
    #[sea_orm(string_value = "succeeded")]
    Succeeded,
    /// Could not be read.
    #[sea_orm(string_value = "failed")]
    Failed,
    /// The user did not want it any more.
    #[sea_orm(string_value = "cancelled")]
    Cancelled,
}

/// A row of `recognitions`.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "recognitions")]
pub struct Model {
    /// What is read.
    #[sea_orm(primary_key, auto_increment = false)]
    pub attachment_id: AttachmentId,
    /// The job that reads.
    pub job_id: JobId,
    /// How far it has come.
    pub status: Status,
    /// Languages it was read in, in the engine's names (`eng`, `eng+hin`).
    pub language: Option<String>,
    /// Mean of the words, 0 to 100; none where there are no words.
    pub confidence: Option<f32>,
    /// The text should not be trusted.
    pub low_confidence: bool,
    /// What was read.
    pub extracted_text: Option<String>,
    /// Words with their boxes in pixels of the upright picture.
    pub words: Option<Json>,
    /// Why it failed, for the user to read.
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

/// What a worker has read.
#[derive(Debug, Clone)]
pub struct Reading {
    /// Languages it was read in.
    pub language: String,
    /// Mean of the words.
    pub confidence: Option<f32>,
    /// The text should not be trusted.
    pub low_confidence: bool,
    /// What was read.
    pub text: String,
    /// Words with their boxes.
    pub words: Json,
}

/// Records that `job` will read an attachment.
///
/// # Errors
/// As the database fails.
pub async fn begin(
    tx: &mut Tx,
    attachment: AttachmentId,
    job: JobId,
    now: DateTime<Utc>,
) -> Result<Model> {
    let row = ActiveModel {
        attachment_id: Set(attachment),
        job_id: Set(job),
        status: Set(Status::Processing),
        language: Set(None),
        confidence: Set(None),
        low_confidence: Set(false),
        extracted_text: Set(None),
        words: Set(None),
        error: Set(None),
        created_at: Set(now),
        finished_at: Set(None),
    };
    Ok(row.insert(tx.orm()).await?)
}

/// Finds what was read in an attachment; whose it is was checked with the attachment.
///
/// # Errors
/// As the database fails.
pub async fn find(db: &impl ConnectionTrait, attachment: AttachmentId) -> Result<Option<Model>> {
    Ok(Entity::find_by_id(attachment).one(db).await?)
}

/// Stores what was read, and tells the user's webhooks.
///
/// # Errors
/// As the database fails.
pub async fn complete(
    tx: &mut Tx,
    attachment: &attachment::Model,
    reading: Reading,
    now: DateTime<Utc>,
) -> Result<()> {
    let event = Event::ImageOcrCompleted(OcrResult {
        attachment_id: attachment.id,
        conversation_id: attachment.conversation_id,
        message_id: attachment.message_id,
        extracted_text: Some(reading.text.clone()),
        language: Some(reading.language.clone()),
        confidence: reading.confidence,
        error: None,
    });
    ActiveModel {
        attachment_id: Set(attachment.id),
        status: Set(Status::Succeeded),
        language: Set(Some(reading.language)),
        confidence: Set(reading.confidence),
        low_confidence: Set(reading.low_confidence),
        extracted_text: Set(Some(reading.text)),
        words: Set(Some(reading.words)),
        error: Set(None),
        finished_at: Set(Some(now)),
        ..Default::default()
    }
    .update(tx.orm())
    .await?;
    events::emit(tx, attachment.user_id, &event, now).await
}

/// Records that the reading ended without a text, and tells the user's webhooks.
///
/// # Errors
/// As the database fails.
pub async fn close(tx: &mut Tx, attachment: AttachmentId, end: &End) -> Result<()> {
    let Some(row) = Entity::find_by_id(attachment)
        .lock_exclusive()
        .one(tx.orm())
        .await?
    else {
        return Ok(());
    };
    if row.status != Status::Processing {
        return Ok(());
    }
    let now = tx.now().await?;
    let status = if matches!(end, End::Cancelled) {
        Status::Cancelled
    } else {
        Status::Failed
    };
    let mut row: ActiveModel = row.into();
    row.status = Set(status);
    row.error = Set(end.reason().map(str::to_owned));
    row.finished_at = Set(Some(now));
    row.update(tx.orm()).await?;
    let (Some(reason), Some(attachment)) = (
        end.reason(),
        attachment::find_for_any_user(tx.orm(), attachment).await?,
    ) else {
        return Ok(());
    };
    let event = Event::ImageOcrFailed(OcrResult {
        attachment_id: attachment.id,
        conversation_id: attachment.conversation_id,
        message_id: attachment.message_id,
        extracted_text: None,
        language: None,
        confidence: None,
        error: Some(reason.to_owned()),
    });
    events::emit(tx, attachment.user_id, &event, now).await
}

/// Records that the attachment will be read again.
///
/// # Errors
/// As the database fails.
pub async fn reopen(tx: &mut Tx, attachment: AttachmentId) -> Result<()> {
    Entity::update_many()
        .col_expr(Column::Status, Status::Processing.into())
        .col_expr(Column::Error, Expr::value(Option::<String>::None))
        .col_expr(
            Column::FinishedAt,
            Expr::value(Option::<DateTime<Utc>>::None),
        )
        .filter(Column::AttachmentId.eq(attachment))
        .exec(tx.orm())
        .await?;
    Ok(())
}
