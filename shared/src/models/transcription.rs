//! What is said in an attachment.
//!
//! There is one row per attachment, however often it is transcribed, kept as its siblings of [`super::recognition`] are:
//! status and error are those of the latest try, all else is of the latest one that succeeded.

use chrono::{DateTime, Utc};
use sea_orm::{ActiveValue::Set, ConnectionTrait, QuerySelect as _, entity::prelude::*};

use super::recognition::{LISTED_CHARACTERS, Status};
use crate::{
    database::{Result, Tx},
    events::{self, Event, TranscriptionResult},
    ids::{AttachmentId, JobId},
    language::Language,
    models::{
        attachment,
        latest_try::{self, Table},
    },
    queue::End,
    speech::Heard,
};

/// A row of `transcriptions`.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "transcriptions")]
pub struct Model {
    /// What is heard.
    #[sea_orm(primary_key, auto_increment = false)]
    pub attachment_id: AttachmentId,
    /// The job of the latest try.
    pub job_id: JobId,
    /// Jobs of earlier tries, the latest first.
    pub earlier_jobs: Vec<Uuid>,
    /// How far the latest try has come.
    pub status: Status,
    /// The language that the user named for the latest try, by the name of [`crate::language::Language`].
    pub requested_language: Option<String>,
    /// What is said.
    pub text: Option<String>,
    /// What it is said in, by the name of [`crate::language::Language`].
    pub language: Option<String>,
    /// How sure the engine is, 0 to 1; none where it does not tell.
    pub confidence: Option<f32>,
    /// Sentences with their times: [`crate::speech::Segment`].
    pub segments: Option<Json>,
    /// Words with their times: [`crate::speech::Word`].
    pub words: Option<Json>,
    /// Length of the sound in seconds.
    pub duration_seconds: Option<f64>,
    /// Who heard it; several are joined by `+`.
    pub engine: Option<String>,
    /// With what; as many as there are engines.
    pub model: Option<String>,
    /// Why the latest try failed, for the user to read.
    pub error: Option<String>,
    /// Tries that succeeded: each text has its own number.
    pub versions: i32,
    /// When the latest try was asked for.
    pub created_at: DateTime<Utc>,
    /// When the latest try ended.
    pub finished_at: Option<DateTime<Utc>>,
}

/// None that the queries need.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

impl Model {
    /// The jobs of its tries, as far as they are remembered.
    pub fn jobs(&self) -> Vec<JobId> {
        let earlier = self.earlier_jobs.iter().copied().map(JobId);
        std::iter::once(self.job_id).chain(earlier).collect()
    }
}

/// What a worker has heard.
#[derive(Debug, Clone)]
pub struct Transcript {
    /// The words and their times.
    pub heard: Heard,
    /// Length of the sound in seconds.
    pub duration_seconds: f64,
    /// Who heard it; several are joined by `+`.
    pub engine: String,
    /// With what; as many as there are engines.
    pub model: String,
}

/// Records that `job` will transcribe an attachment, for the first time or again; `language` as the user named it.
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
    latest_try::begin(tx, Table::Transcriptions, attachment, job, language, now).await
}

/// Finds what was heard in an attachment, but for the text, which can be long: [`find_text`]. Whose it is was checked
/// with the attachment.
///
/// # Errors
/// As the database fails.
pub async fn find(db: &impl ConnectionTrait, attachment: AttachmentId) -> Result<Option<Model>> {
    Ok(
        latest_try::select::<Entity>(Column::Text, Expr::cust("NULL::text"), &[])
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
        .column(Column::Text)
        .into_tuple()
        .one(db)
        .await?;
    Ok(text.flatten())
}

/// Finds what was heard in some attachments, for a list: the beginnings of the texts, and no words or segments.
///
/// # Errors
/// As the database fails.
pub async fn list(db: &impl ConnectionTrait, attachments: &[AttachmentId]) -> Result<Vec<Model>> {
    let beginning = Expr::cust_with_values("left(text, $1)", [LISTED_CHARACTERS]);
    Ok(
        latest_try::select::<Entity>(Column::Text, beginning, &[Column::Words, Column::Segments])
            .filter(Column::AttachmentId.is_in(attachments.iter().copied()))
            .all(db)
            .await?,
    )
}

/// Stores what was heard, and tells the user's webhooks. `again` says that the attachment is to be heard once more.
///
/// Returns the number of this text.
///
/// # Errors
/// As the database fails.
#[expect(
    clippy::cast_possible_truncation,
    reason = "a confidence is 0 to 1 with three decimals"
)]
pub async fn complete(
    tx: &mut Tx,
    attachment: &attachment::Model,
    transcript: Transcript,
    again: bool,
    now: DateTime<Utc>,
) -> Result<i32> {
    let Transcript {
        heard,
        duration_seconds,
        engine,
        model,
    } = transcript;
    let confidence = heard.confidence().map(|confidence| confidence as f32);
    let result = TranscriptionResult {
        text: Some(heard.text.clone()),
        language: heard.language.and_then(Language::code).map(str::to_owned),
        confidence,
        duration_seconds: Some(duration_seconds),
        engine: Some(engine.clone()),
        model: Some(model.clone()),
        ..TranscriptionResult::of(attachment)
    };
    let versions: Option<i32> = Entity::find_by_id(attachment.id)
        .select_only()
        .column(Column::Versions)
        .lock_exclusive()
        .into_tuple()
        .one(tx.orm())
        .await?;
    let versions = versions.unwrap_or_default() + 1;
    let (status, finished_at) = if again {
        (Status::Processing, None)
    } else {
        (Status::Succeeded, Some(now))
    };
    let json =
        |of: serde_json::Result<Json>| Set(Some(of.expect("times and words are plain data")));
    let row = ActiveModel {
        status: Set(status),
        text: Set(Some(heard.text)),
        language: Set(heard.language.map(|language| language.as_str().to_owned())),
        confidence: Set(confidence),
        segments: json(serde_json::to_value(&heard.segments)),
        words: json(serde_json::to_value(&heard.words)),
        duration_seconds: Set(Some(duration_seconds)),
        engine: Set(Some(engine)),
        model: Set(Some(model)),
        error: Set(None),
        versions: Set(versions),
        finished_at: Set(finished_at),
        ..Default::default()
    };
    Entity::update_many()
        .set(row)
        .filter(Column::AttachmentId.eq(attachment.id))
        .exec(tx.orm())
        .await?;
    let event = Event::AudioTranscriptionCompleted(result);
    events::emit(tx, attachment.user_id, &event, now).await?;
    Ok(versions)
}

/// Records that the latest try ended without a text, and tells the user's webhooks. An earlier text stays.
///
/// # Errors
/// As the database fails.
pub async fn close(tx: &mut Tx, attachment: AttachmentId, end: &End) -> Result<()> {
    let now = tx.now().await?;
    let closed = latest_try::close(tx, Table::Transcriptions, attachment, end, now).await?;
    let Some((attachment, reason)) = closed else {
        return Ok(());
    };
    let result = TranscriptionResult {
        error: Some(reason.to_owned()),
        ..TranscriptionResult::of(&attachment)
    };
    let event = Event::AudioTranscriptionFailed(result);
    events::emit(tx, attachment.user_id, &event, now).await
}

/// Records that the attachment will be heard again.
///
/// # Errors
/// As the database fails.
pub async fn reopen(tx: &mut Tx, attachment: AttachmentId) -> Result<()> {
    latest_try::reopen(tx, Table::Transcriptions, attachment).await
}
