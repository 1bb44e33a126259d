//! Reading a conversation into a folder, a few messages at a time.

use std::collections::{HashMap, HashSet};

use futures::TryStreamExt as _;
use shared::{
    ids::AttachmentId,
    language,
    models::{
        attachment::{self, Kind},
        conversation,
        export::{self, Format},
        message::{self, Part, Place, Selection},
        recognition, transcription,
    },
};
use tokio::{fs, io::AsyncWriteExt as _};

use super::{ExportError, READ};
use crate::{
    context::JobContext,
    engines::{
        aside::run_aside,
        render::source::{Conversation, Entry, Folder, Head, Lines, Piece, Shown},
    },
};

/// Most messages that are in memory at once, and most bytes of their texts, but for a message that is longer alone.
const BATCH: usize = 200;
const BATCH_BYTES: i64 = 8 << 20;

/// Most of the text of an attachment that is exported, in characters.
const TEXT_CHARACTERS: usize = 200_000;

/// Most pictures of an export, and most bytes of them; further ones are listed only.
const MAX_PICTURES: usize = 500;
const MAX_PICTURES_BYTES: i64 = 256 << 20;

/// Most messages of an export, and most bytes of their texts.
///
/// A PDF of 10,000 messages has 1,400 pages. The texts of attachments count, too.
fn limits(format: Format) -> (usize, i64) {
    match format {
        Format::Pdf => (50_000, 64 << 20),
        Format::Docx => (20_000, 16 << 20),
        Format::Html | Format::Markdown | Format::Json | Format::Csv => (200_000, 512 << 20),
    }
}

/// Writes the conversation, what was said in it, and the pictures that are to be shown; tells how many messages there are.
pub(crate) async fn write(
    ctx: &JobContext,
    row: &export::Model,
    conversation: conversation::Model,
    folder: &Folder,
) -> Result<usize, ExportError> {
    let places = places(ctx, row).await?;
    let said: i64 = places.iter().map(|place| i64::from(place.size_bytes)).sum();
    let mut lines = folder.begin(&head(row, conversation))?;
    let mut attachments = Attachments::new(row, said, folder.clone());
    let mut done = 0;
    for batch in batches(&places) {
        let percent = usize::from(READ) * done / places.len();
        let note = format!("message {done} of {}", places.len());
        ctx.progress(u8::try_from(percent).unwrap_or(READ), &note)
            .await;
        let messages = message::load(&ctx.db, row.conversation_id, batch).await?;
        let (mut entries, mut begun) = (Vec::new(), attachments.text_bytes);
        for message in messages {
            entries.push(entry(ctx, message, &mut attachments).await?);
            // A message of a few words may show documents of a megabyte.
            if attachments.text_bytes - begun > BATCH_BYTES {
                lines = append(lines, std::mem::take(&mut entries)).await?;
                begun = attachments.text_bytes;
            }
        }
        lines = append(lines, entries).await?;
        done += batch.len();
    }
    lines.finish()?;
    Ok(places.len())
}

/// What will be read: nothing where nothing had been said.
async fn places(ctx: &JobContext, row: &export::Model) -> Result<Vec<Place>, ExportError> {
    if !row.whole_tree && row.leaf_id.is_none() {
        return Ok(Vec::new());
    }
    let selection = Selection {
        leaf: row.leaf_id,
        since: row.since,
        until: row.until,
    };
    let (most, most_bytes) = limits(row.format);
    let one_more = most as u64 + 1;
    let places = message::outline(&ctx.db, row.conversation_id, selection, one_more).await?;
    let bytes: i64 = places.iter().map(|place| i64::from(place.size_bytes)).sum();
    if places.len() > most || bytes > most_bytes {
        return Err(too_large(row.format));
    }
    Ok(places)
}

fn too_large(format: Format) -> ExportError {
    let (most, most_bytes) = limits(format);
    let mebibytes = most_bytes >> 20;
    ExportError::Refused(format!(
        "an export as {format} has at most {most} messages and {mebibytes} MiB of text; narrow it with `from` and `to`"
    ))
}

fn head(row: &export::Model, conversation: conversation::Model) -> Head {
    Head {
        exported_at: row.created_at,
        conversation: Conversation {
            id: conversation.id.to_string(),
            title: conversation.title,
            system_prompt: conversation.system_prompt,
            model: conversation.model,
            language: conversation
                .language
                .as_deref()
                .and_then(language::codes_of),
            tags: conversation.tags,
            created_at: conversation.created_at,
        },
        from: row.since,
        to: row.until,
        branch: if row.whole_tree {
            Some("all".to_owned())
        } else {
            row.leaf_id.map(|id| id.to_string())
        },
        include_attachments: row.include_attachments,
    }
}

/// Runs of messages that are read together.
fn batches(mut places: &[Place]) -> impl Iterator<Item = &[Place]> {
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let fitting = places.iter().take(BATCH).take_while(|place| {
            bytes += i64::from(place.size_bytes);
            bytes <= BATCH_BYTES
        });
        let count = fitting.count().max(1).min(places.len());
        let (batch, rest) = places.split_at(count);
        places = rest;
        (!batch.is_empty()).then_some(batch)
    })
}

async fn append(mut lines: Lines, entries: Vec<Entry>) -> Result<Lines, ExportError> {
    let appended = run_aside(move || {
        for entry in &entries {
            lines.push(entry)?;
        }
        Ok(lines)
    });
    appended.await.map_err(std::io::Error::other)?
}

async fn entry(
    ctx: &JobContext,
    message: message::Model,
    attachments: &mut Attachments,
) -> Result<Entry, ExportError> {
    let ids = message.content.attachments();
    let mut shown = attachments.show(ctx, &ids).await?;
    let content = message.content.0.into_iter().map(|part| match part {
        Part::Text { text } => Piece::Text { text },
        Part::ToolCall {
            call_id,
            name,
            arguments,
        } => Piece::ToolCall {
            call_id,
            name,
            arguments,
        },
        Part::ToolResult {
            call_id,
            name,
            status,
            output,
        } => Piece::ToolResult {
            call_id,
            name,
            status,
            output,
        },
        Part::Attachment { attachment_id } => {
            Piece::Attachment(match shown.get_mut(&attachment_id) {
                Some(known) => {
                    let named = Shown {
                        extracted_text: None,
                        truncated: false,
                        picture: None,
                        ..known.clone()
                    };
                    std::mem::replace(known, named)
                }
                None => Shown {
                    id: attachment_id.to_string(),
                    deleted: true,
                    ..Shown::default()
                },
            })
        }
    });
    Ok(Entry {
        id: message.id.to_string(),
        parent_id: message.parent_id.map(|id| id.to_string()),
        role: message.role.as_str().to_owned(),
        created_at: message.created_at,
        token_count: message.token_count,
        content: content.collect(),
    })
}

/// What is shown, with the pictures that are in the folder already.
struct Attachments {
    user: shared::ids::UserId,
    with_text: bool,
    with_pictures: bool,
    folder: Folder,
    pictures: HashMap<AttachmentId, String>,
    missing: HashSet<AttachmentId>,
    bytes: i64,
    /// What was shown before is only named.
    told: HashSet<AttachmentId>,
    /// Bytes of all texts so far, and the format whose limit they have.
    text_bytes: i64,
    format: Format,
}

impl Attachments {
    /// `said` are the bytes of what was said.
    fn new(row: &export::Model, said: i64, folder: Folder) -> Self {
        Self {
            user: row.user_id,
            with_text: row.include_attachments,
            with_pictures: row.include_attachments
                && matches!(row.format, Format::Pdf | Format::Docx | Format::Html),
            folder,
            pictures: HashMap::new(),
            missing: HashSet::new(),
            bytes: 0,
            told: HashSet::new(),
            text_bytes: said,
            format: row.format,
        }
    }

    /// What is known of these attachments; deleted ones are left out. Text and picture are told the first time only.
    async fn show(
        &mut self,
        ctx: &JobContext,
        ids: &[AttachmentId],
    ) -> Result<HashMap<AttachmentId, Shown>, ExportError> {
        let mut shown = HashMap::new();
        if ids.is_empty() {
            return Ok(shown);
        }
        for row in attachment::find_all(&ctx.db, self.user, ids).await? {
            let is_news = self.told.insert(row.id);
            let (extracted_text, truncated) = if self.with_text && is_news {
                text(ctx, row.id).await?
            } else {
                (None, false)
            };
            let length = extracted_text.as_ref().map_or(0, String::len);
            self.text_bytes += i64::try_from(length).unwrap_or(i64::MAX);
            if self.text_bytes > limits(self.format).1 {
                return Err(too_large(self.format));
            }
            let picture = if self.with_pictures && is_news && row.kind == Kind::Image {
                self.fetch(ctx, &row).await?
            } else {
                None
            };
            let one = Shown {
                id: row.id.to_string(),
                deleted: false,
                file_name: Some(row.file_name),
                media_type: Some(row.media_type),
                size_bytes: Some(row.size_bytes),
                sha256: Some(hex::encode(row.sha256)),
                width: row.width,
                height: row.height,
                extracted_text,
                truncated,
                picture,
            };
            shown.insert(row.id, one);
        }
        Ok(shown)
    }

    /// Loads a picture into the folder, unless it is there or there are too many; gives its name. One that is not in the
    /// storage is listed only.
    async fn fetch(
        &mut self,
        ctx: &JobContext,
        row: &attachment::Model,
    ) -> Result<Option<String>, ExportError> {
        if let Some(name) = self.pictures.get(&row.id) {
            return Ok(Some(name.clone()));
        }
        let is_too_much =
            self.pictures.len() >= MAX_PICTURES || self.bytes + row.size_bytes > MAX_PICTURES_BYTES;
        if is_too_much || self.missing.contains(&row.id) {
            return Ok(None);
        }
        let length = u64::try_from(row.size_bytes).unwrap_or_default();
        let pieces = match ctx.storage.stream(&row.storage_key, 0..length).await {
            Err(shared::clients::storage::Error::NotFound) => {
                self.missing.insert(row.id);
                return Ok(None);
            }
            pieces => pieces?,
        };
        let name = self.pictures.len().to_string();
        fs::create_dir_all(self.folder.pictures()).await?;
        let mut file = fs::File::create(self.folder.picture(&name)).await?;
        let mut pieces = std::pin::pin!(pieces);
        while let Some(piece) = pieces.try_next().await? {
            file.write_all(&piece).await?;
        }
        file.flush().await?;
        self.bytes += row.size_bytes;
        self.pictures.insert(row.id, name.clone());
        Ok(Some(name))
    }
}

/// What was read or heard in an attachment, and whether it was cut.
async fn text(ctx: &JobContext, id: AttachmentId) -> Result<(Option<String>, bool), ExportError> {
    let text = match recognition::find_text(&ctx.db, id).await? {
        None => transcription::find_text(&ctx.db, id).await?,
        text => text,
    };
    let Some(mut text) = text.filter(|text| !text.trim().is_empty()) else {
        return Ok((None, false));
    };
    let cut = text.char_indices().nth(TEXT_CHARACTERS);
    if let Some((cut, _)) = cut {
        text.truncate(cut);
    }
    Ok((Some(text), cut.is_some()))
}

#[cfg(test)]
mod tests {
    use shared::ids::MessageId;

    use super::*;

    #[test]
    fn messages_are_read_a_few_at_a_time() {
        let places = |sizes: &[i32]| -> Vec<Place> {
            let place = |&size_bytes| Place {
                id: MessageId::new(),
                size_bytes,
                created_at: chrono::DateTime::UNIX_EPOCH,
            };
            sizes.iter().map(place).collect()
        };
        let lengths =
            |places: &[Place]| -> Vec<usize> { batches(places).map(<[_]>::len).collect() };
        assert!(lengths(&[]).is_empty());
        assert_eq!(lengths(&places(&[10; 450])), [200, 200, 50]);
        let large = 5 << 20;
        assert_eq!(
            lengths(&places(&[1, large, large, 9 << 20, 1])),
            [2, 1, 1, 1]
        );
    }
}
