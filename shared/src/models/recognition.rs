//! What was read in an attachment.
//!
//! There is one row per attachment, however often it is read. Its status and error are those of the latest reading; its
//! text, language and certainty are those of the latest one that succeeded, so that a text stays until a better one is
//! there.

use chrono::{DateTime, Utc};
use sea_orm::{ActiveValue::Set, ConnectionTrait, QuerySelect as _, entity::prelude::*};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    database::{Result, Tx},
    events::{self, Event, OcrResult},
    ids::{AttachmentId, JobId},
    models::{
        attachment,
        latest_try::{self, Table},
    },
    queue::End,
};

/// What a list shows of a text, in characters.
pub const LISTED_CHARACTERS: i32 = 1_000;

/// How far the latest reading has come.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, EnumIter, DeriveActiveEnum, Serialize, Deserialize, ToSchema,
)]
#[sea_orm(rs_type = "String", db_type = "Text")]
#[serde(rename_all = "lowercase")]
#[schema(as = OcrStatus)]
pub enum Status {
    /// Waiting for a worker, or being read.
    #[sea_orm(string_value = "processing")]
    Processing,
    /// Read; the text may be empty.
    #[sea_orm(string_value = "succeeded")]
    Succeeded,
    /// Could not be read; `error` says why.
    #[sea_orm(string_value = "failed")]
    Failed,
    /// Stopped by its user.
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
    /// The job of the latest reading.
    pub job_id: JobId,
    /// How far the latest reading has come.
    pub status: Status,
    /// Languages it was read in, by the names of [`crate::language::Language`] (`eng`, `eng+hin`).
    pub language: Option<String>,
    /// Mean of the words that were recognized, 0 to 100; none where there are none.
    pub confidence: Option<f32>,
    /// The text should not be trusted.
    pub low_confidence: bool,
    /// What was read; pages of a document end in a form feed (U+000C), but for the last.
    pub extracted_text: Option<String>,
    /// Words of a picture with their boxes in pixels of the upright picture.
    pub words: Option<Json>,
    /// Why the latest reading failed, for the user to read.
    pub error: Option<String>,
    /// When the latest reading was asked for.
    pub created_at: DateTime<Utc>,
    /// When the latest reading ended.
    pub finished_at: Option<DateTime<Utc>>,
    /// Languages that the user named for the latest reading.
    pub requested_language: Option<String>,
    /// How each page of a document was read.
    pub pages: Option<Json>,
    /// Pages of a document, those that were not read too.
    pub page_count: Option<i32>,
    /// Not all of a document was read.
    pub truncated: bool,
    /// Readings that succeeded: each text has its own number.
    pub readings: i32,
    /// Jobs of earlier readings, the latest first.
    pub earlier_jobs: Vec<Uuid>,
}

/// None that the queries need.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

impl Model {
    /// The jobs of its readings, as far as they are remembered.
    pub fn jobs(&self) -> Vec<JobId> {
        let earlier = self.earlier_jobs.iter().copied().map(JobId);
        std::iter::once(self.job_id).chain(earlier).collect()
    }
}

/// What a worker has read.
#[derive(Debug, Clone)]
pub struct Reading {
    /// Languages it was read in.
    pub language: Option<String>,
    /// Mean of the words that were recognized.
    pub confidence: Option<f32>,
    /// The text should not be trusted.
    pub low_confidence: bool,
    /// What was read.
    pub text: String,
    /// Words of a picture with their boxes.
    pub words: Option<Json>,
    /// How each page of a document was read.
    pub pages: Option<Json>,
    /// Pages of a document.
    pub page_count: Option<u32>,
    /// Not all of a document was read.
    pub truncated: bool,
}

/// Records that `job` will read an attachment, for the first time or again; `language` as the user named it.
///
/// # Errors
/// As the database fails.
pub async fn begin(
    tx: &mut Tx,
    attachment: AttachmentId,
    job: JobId,
    language: Option<String>,
    now: DateTime<Utc>,
) -> Result<()> {
    latest_try::begin(tx, Table::Recognitions, attachment, job, language, now).await
}

/// Finds what was read in an attachment, but for the text, which can be long: [`find_text`]. Whose it is was checked
/// with the attachment.
///
/// # Errors
/// As the database fails.
pub async fn find(db: &impl ConnectionTrait, attachment: AttachmentId) -> Result<Option<Model>> {
    Ok(
        latest_try::select::<Entity>(Column::ExtractedText, Expr::cust("NULL::text"), &[])
            .filter(Column::AttachmentId.eq(attachment))
            .one(db)
            .await?,
    )
}

/// Finds the text of an attachment, whole.
///
/// # Errors
/// As the database fails.
pub async fn find_text(
    db: &impl ConnectionTrait,
    attachment: AttachmentId,
) -> Result<Option<String>> {
    let text: Option<Option<String>> = Entity::find_by_id(attachment)
        .select_only()
        .column(Column::ExtractedText)
        .into_tuple()
        .one(db)
        .await?;
    Ok(text.flatten())
}

/// Finds what was read in some attachments, for a list: the beginnings of the texts, and no words or pages.
///
/// # Errors
/// As the database fails.
pub async fn list(db: &impl ConnectionTrait, attachments: &[AttachmentId]) -> Result<Vec<Model>> {
    let beginning = Expr::cust_with_values("left(extracted_text, $1)", [LISTED_CHARACTERS]);
    Ok(latest_try::select::<Entity>(
        Column::ExtractedText,
        beginning,
        &[Column::Words, Column::Pages],
    )
    .filter(Column::AttachmentId.is_in(attachments.iter().copied()))
    .all(db)
    .await?)
}

/// Stores what was read, and tells the user's webhooks. `again` says that the attachment is to be read once more.
///
/// Returns the number of this reading.
///
/// # Errors
/// As the database fails.
pub async fn complete(
    tx: &mut Tx,
    attachment: &attachment::Model,
    reading: Reading,
    again: bool,
    now: DateTime<Utc>,
) -> Result<i32> {
    let result = OcrResult {
        extracted_text: Some(reading.text.clone()),
        low_confidence: reading.low_confidence,
        truncated: reading.truncated,
        language: reading.language.clone(),
        confidence: reading.confidence,
        pages: reading.page_count,
        ..OcrResult::of(attachment)
    };
    let readings: Option<i32> = Entity::find_by_id(attachment.id)
        .select_only()
        .column(Column::Readings)
        .lock_exclusive()
        .into_tuple()
        .one(tx.orm())
        .await?;
    let readings = readings.unwrap_or_default() + 1;
    let (status, finished_at) = if again {
        (Status::Processing, None)
    } else {
        (Status::Succeeded, Some(now))
    };
    let row = ActiveModel {
        status: Set(status),
        language: Set(reading.language),
        confidence: Set(reading.confidence),
        low_confidence: Set(reading.low_confidence),
        extracted_text: Set(Some(reading.text)),
        words: Set(reading.words),
        error: Set(None),
        finished_at: Set(finished_at),
        pages: Set(reading.pages),
        page_count: Set(reading.page_count.and_then(|count| count.try_into().ok())),
        truncated: Set(reading.truncated),
        readings: Set(readings),
        ..Default::default()
    };
    Entity::update_many()
        .set(row)
        .filter(Column::AttachmentId.eq(attachment.id))
        .exec(tx.orm())
        .await?;
    let event = match attachment.kind {
        attachment::Kind::Document => Event::DocumentOcrCompleted(result),
        _ => Event::ImageOcrCompleted(result),
    };
    events::emit(tx, attachment.user_id, &event, now).await?;
    Ok(readings)
}

/// Records that the latest reading ended without a text, and tells the user's webhooks. An earlier text stays.
///
/// # Errors
/// As the database fails.
pub async fn close(tx: &mut Tx, attachment: AttachmentId, end: &End) -> Result<()> {
    let now = tx.now().await?;
    let closed = latest_try::close(tx, Table::Recognitions, attachment, end, now).await?;
    let Some((attachment, reason)) = closed else {
        return Ok(());
    };
    let result = OcrResult {
        error: Some(reason.to_owned()),
        ..OcrResult::of(&attachment)
    };
    let event = match attachment.kind {
        attachment::Kind::Document => Event::DocumentOcrFailed(result),
        _ => Event::ImageOcrFailed(result),
    };
    events::emit(tx, attachment.user_id, &event, now).await
}

/// Records that the attachment will be read again.
///
/// # Errors
/// As the database fails.
pub async fn reopen(tx: &mut Tx, attachment: AttachmentId) -> Result<()> {
    latest_try::reopen(tx, Table::Recognitions, attachment).await
}
