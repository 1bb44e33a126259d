//! Asking for an export, and its ends.

use chrono::{DateTime, Utc};
use sea_orm::{ActiveValue::Set, PaginatorTrait as _, entity::prelude::*};

use super::{ActiveModel, Column, Entity, Format, LIFETIME, MAX_PER_USER, Model, Status, is_shown};
use crate::{
    database::{Refusal, Result, Tx},
    events::{self, Event, ExportResult},
    ids::{ConversationId, ExportId, MessageId, UserId},
    jobs::ExportConversation,
    models::{pending_object, user},
    queue::{self, End},
};

/// Longest name of a file without its date and ending, in characters.
const TITLE_CHARACTERS: usize = 80;
/// What a file is called where the conversation has no name.
const NAMELESS: &str = "conversation";

/// What is asked for.
#[derive(Debug, Clone)]
pub struct New {
    /// Whose it is.
    pub user: UserId,
    /// What it is made of; the caller has checked that it is the user's, and keeps it from being deleted.
    pub conversation: ConversationId,
    /// What the conversation is called.
    pub title: Option<String>,
    /// What kind of file is made.
    pub format: Format,
    /// Only messages from this time on.
    pub since: Option<DateTime<Utc>>,
    /// Only messages before this time.
    pub until: Option<DateTime<Utc>>,
    /// Whether it has what was shown, and not only its name.
    pub include_attachments: bool,
    /// Whether it has the messages of all branches.
    pub whole_tree: bool,
    /// Else the end of the branch that it has.
    pub leaf: Option<MessageId>,
}

/// Records an export, and asks for the job that makes it.
///
/// # Errors
/// [`Refusal::ExportLimitReached`] when the user has [`MAX_PER_USER`] already; [`crate::database::Error::NotFound`] when they have
/// gone.
pub async fn create(tx: &mut Tx, new: New, now: DateTime<Utc>) -> Result<Model> {
    // One after the other, so that two do not both count forty-nine; who only refers to the user does not wait.
    user::get_for_update(tx, new.user).await?;
    let of_user = Entity::find()
        .filter(Column::UserId.eq(new.user))
        .filter(is_shown(now));
    if of_user.count(tx.orm()).await? >= MAX_PER_USER {
        return Err(Refusal::ExportLimitReached.into());
    }
    let id = ExportId::new();
    let job = queue::enqueue(tx, ExportConversation { export: id }).await?;
    let row = ActiveModel {
        id: Set(id),
        user_id: Set(new.user),
        conversation_id: Set(new.conversation),
        job_id: Set(job.id),
        format: Set(new.format),
        since: Set(new.since),
        until: Set(new.until),
        include_attachments: Set(new.include_attachments),
        whole_tree: Set(new.whole_tree),
        leaf_id: Set(new.leaf),
        status: Set(Status::Processing),
        error: Set(None),
        file_name: Set(file_name(new.title.as_deref(), new.format, now)),
        storage_key: Set(None),
        size_bytes: Set(None),
        sha256: Set(None),
        message_count: Set(None),
        created_at: Set(now),
        finished_at: Set(None),
        expires_at: Set(None),
    };
    Ok(row.insert(tx.orm()).await?)
}

/// A name that every system takes for a file: the conversation's, its day, and the ending of its kind.
fn file_name(title: Option<&str>, format: Format, now: DateTime<Utc>) -> String {
    let named: String = title
        .unwrap_or_default()
        .chars()
        .map(|letter| match letter {
            '/' | '\\' | ':' | '*' | '?' | '"' | '<' | '>' | '|' => '-',
            other => other,
        })
        .filter(|letter| !letter.is_control())
        .take(TITLE_CHARACTERS)
        .collect();
    // Windows drops dots and spaces at the end; at the beginning a dot hides a file.
    let named = named.trim_matches(|letter: char| letter == '.' || letter.is_whitespace());
    let named = if named.is_empty() { NAMELESS } else { named };
    format!("{named} {}.{}", now.format("%Y-%m-%d"), format.extension())
}

/// A file that was made of a conversation, and stored under a key that [`pending_object::begin`] noted.
#[derive(Debug, Clone)]
pub struct Made {
    /// Key in the storage.
    pub storage_key: String,
    /// Bytes stored.
    pub size_bytes: u64,
    /// Of the content.
    pub sha256: [u8; 32],
    /// Messages in it.
    pub message_count: u64,
}

/// Records the file, and tells the user's webhooks. False if the export was deleted; then nothing names the object but
/// its pending row.
///
/// # Errors
/// When the object is not pending any more; or as the database fails.
pub async fn complete(tx: &mut Tx, id: ExportId, made: Made, now: DateTime<Utc>) -> Result<bool> {
    let rows = Entity::update_many()
        .set(ActiveModel {
            status: Set(Status::Succeeded),
            error: Set(None),
            storage_key: Set(Some(made.storage_key.clone())),
            size_bytes: Set(Some(i64::try_from(made.size_bytes).unwrap_or(i64::MAX))),
            sha256: Set(Some(made.sha256.to_vec())),
            message_count: Set(Some(i64::try_from(made.message_count).unwrap_or(i64::MAX))),
            finished_at: Set(Some(now)),
            expires_at: Set(Some(now + LIFETIME)),
            ..Default::default()
        })
        .filter(Column::Id.eq(id))
        .filter(Column::Status.eq(Status::Processing))
        .exec_with_returning(tx.orm())
        .await?;
    let Some(row) = rows.into_iter().next() else {
        return Ok(false);
    };
    pending_object::claim(tx, &made.storage_key).await?;
    let event = Event::ExportCompleted(ExportResult::from(&row));
    events::emit(tx, row.user_id, &event, now).await?;
    Ok(true)
}

/// Records that no file will be made, and tells the user's webhooks unless the user wanted it so.
///
/// # Errors
/// As the database fails.
pub async fn close(tx: &mut Tx, id: ExportId, end: &End) -> Result<()> {
    let now = tx.now().await?;
    let status = if matches!(end, End::Cancelled) {
        Status::Cancelled
    } else {
        Status::Failed
    };
    let rows = Entity::update_many()
        .set(ActiveModel {
            status: Set(status),
            error: Set(end.reason().map(str::to_owned)),
            finished_at: Set(Some(now)),
            expires_at: Set(Some(now + LIFETIME)),
            ..Default::default()
        })
        .filter(Column::Id.eq(id))
        .filter(Column::Status.eq(Status::Processing))
        .exec_with_returning(tx.orm())
        .await?;
    match rows.into_iter().next() {
        Some(row) if status == Status::Failed => {
            let event = Event::ExportFailed(ExportResult::from(&row));
            events::emit(tx, row.user_id, &event, now).await
        }
        _ => Ok(()),
    }
}

/// Records that the file will be tried again.
///
/// # Errors
/// As the database fails.
pub async fn reopen(tx: &mut Tx, id: ExportId) -> Result<()> {
    Entity::update_many()
        .set(ActiveModel {
            status: Set(Status::Processing),
            error: Set(None),
            finished_at: Set(None),
            expires_at: Set(None),
            ..Default::default()
        })
        .filter(Column::Id.eq(id))
        .filter(Column::Status.ne(Status::Succeeded))
        .exec(tx.orm())
        .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_named_after_its_conversation() {
        let now = DateTime::UNIX_EPOCH;
        for (title, name) in [
            (Some("Plans"), "Plans 1970-01-01.md"),
            (Some("../a:b\n?"), "-a-b- 1970-01-01.md"),
            (Some("बातचीत"), "बातचीत 1970-01-01.md"),
            (Some(" . "), "conversation 1970-01-01.md"),
            (None, "conversation 1970-01-01.md"),
        ] {
            assert_eq!(file_name(title, Format::Markdown, now), name);
        }
        let long = file_name(Some(&"x".repeat(200)), Format::Pdf, now);
        assert_eq!(long.len(), TITLE_CHARACTERS + " 1970-01-01.pdf".len());
    }
}
