//! Attachments, as models are shown them: their texts, what is said in them, and pictures where a model sees.

use std::{collections::HashMap, time::Duration};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use shared::{
    attachment_text,
    database::Result,
    ids::{AttachmentId, UserId},
    models::{
        attachment::{self, Kind},
        image, image_variant,
        message::MissingAttachment,
        recognition, transcription,
    },
    tokens::Encoding,
};
use tokio::time::Instant;

use crate::app::App;

/// How often it is looked whether an attachment is read.
const LOOK: Duration = Duration::from_millis(250);
/// Larger pictures are shown in their smaller form.
const LARGE_PICTURE_BYTES: i64 = 3 << 20;
/// Larger ones are not shown at all.
const MOST_PICTURE_BYTES: i64 = 8 << 20;
/// Most pictures of a question with all that goes along, and most bytes of them: providers take no more, and all of it
/// is in memory.
const MOST_PICTURES: usize = 10;
const MOST_BYTES: i64 = 20 << 20;
/// Tokens that a picture is reckoned with: what `OpenAI`'s models take for one of 1024×1024 (four tiles and the whole).
const PICTURE_TOKENS: u32 = 765;

/// Which texts are wanted, and how many tokens of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Texts {
    /// Those that are being read are waited for.
    Awaited(u32),
    /// Those that are there.
    Present(u32),
}

/// The room that is left for pictures.
#[derive(Debug)]
pub(super) struct Pictures {
    number: usize,
    bytes: i64,
}

impl Default for Pictures {
    fn default() -> Self {
        Self {
            number: MOST_PICTURES,
            bytes: MOST_BYTES,
        }
    }
}

/// What is shown of some attachments.
#[derive(Debug, Clone, Default)]
pub(super) struct Shown {
    /// A text for each that has one.
    pub(super) texts: Vec<String>,
    /// `data:` URLs.
    pub(super) pictures: Vec<String>,
    /// What could not be shown, or not whole.
    pub(super) missing: Vec<MissingAttachment>,
    /// Tokens of all of it.
    pub(super) tokens: u32,
    /// Whether it is the same whoever asks, and stays so until somebody changes it: there are no pictures, and nothing is
    /// being read.
    pub(super) is_settled: bool,
}

/// How far the text of an attachment is.
enum Text {
    /// There is none to be had.
    None,
    /// It is there; and whether there will be another one soon.
    Ready(String, bool),
    /// It is not there yet.
    Pending,
    /// It could not be read.
    Failed(String),
}

/// Loads what a model is shown of attachments of `user`.
///
/// # Errors
/// As the database fails.
pub(super) async fn show(
    app: &App,
    user: UserId,
    ids: &[AttachmentId],
    mut pictures: Option<&mut Pictures>,
    wanted: Texts,
) -> Result<Shown> {
    let sees_pictures = pictures.is_some();
    let encoding = app.tokens.fallback();
    let mut shown = Shown {
        is_settled: true,
        ..Shown::default()
    };
    if ids.is_empty() {
        return Ok(shown);
    }
    let rows = attachment::find_all(&app.db, user, ids).await?;
    let mut rows: HashMap<AttachmentId, attachment::Model> =
        rows.into_iter().map(|row| (row.id, row)).collect();
    // Whoever sees a picture needs not wait for its words.
    let awaited: Vec<AttachmentId> = rows
        .values()
        .filter(|row| !(sees_pictures && row.kind == Kind::Image))
        .map(|row| row.id)
        .collect();
    let mut room = match wanted {
        Texts::Awaited(room) => {
            wait(app, &awaited).await?;
            room
        }
        Texts::Present(room) => room,
    };
    for id in ids {
        // A deleted one is shown to nobody.
        let Some(row) = rows.remove(id) else { continue };
        let mut miss = |reason: String| {
            shown.missing.push(MissingAttachment {
                attachment_id: row.id,
                file_name: row.file_name.clone(),
                reason,
            });
        };
        let mut is_seen = false;
        shown.is_settled &= row.kind != Kind::Image;
        if let Some(room) = &mut pictures
            && row.kind == Kind::Image
        {
            match picture(app, &row, room).await? {
                Ok(picture) => {
                    is_seen = true;
                    shown.tokens = shown.tokens.saturating_add(PICTURE_TOKENS);
                    shown.pictures.push(picture);
                }
                Err(reason) => miss(reason.to_owned()),
            }
        }
        let name = &row.file_name;
        let found = text(app, row.id).await?;
        shown.is_settled &= !matches!(found, Text::Pending | Text::Ready(_, true));
        match found {
            Text::Ready(text, _) if !text.trim().is_empty() => {
                let (text, is_cut) = cut(encoding, text, room as usize).await;
                if is_cut {
                    miss("its text is too long to be sent whole".to_owned());
                }
                let mark = if is_cut { "\n[…]" } else { "" };
                let framed = format!(
                    "[Text of the attachment {name:?}]\n{text}{mark}\n[End of the attachment]"
                );
                let tokens = encoding.count(&framed);
                let tokens = u32::try_from(tokens).unwrap_or(u32::MAX);
                room = room.saturating_sub(tokens);
                shown.tokens = shown.tokens.saturating_add(tokens);
                shown.texts.push(framed);
            }
            Text::Pending if !is_seen => {
                miss("it is still being read".to_owned());
                shown.texts.push(format!(
                    "[The attachment {name:?} is still being read; its text is not here]"
                ));
            }
            Text::Failed(reason) if !is_seen => {
                shown
                    .texts
                    .push(format!("[The attachment {name:?} could not be read]"));
                miss(format!("it could not be read: {reason}"));
            }
            Text::Ready(..) if !is_seen => {
                shown
                    .texts
                    .push(format!("[No text was found in the attachment {name:?}]"));
            }
            _ => {}
        }
    }
    Ok(shown)
}

/// Waits until attachments are read, or for as long as an answer may be held up by that.
async fn wait(app: &App, ids: &[AttachmentId]) -> Result<()> {
    let until = Instant::now() + app.config.chat.attachment_wait;
    while is_pending(app, ids).await? {
        let now = Instant::now();
        if now >= until || app.chat.is_stopping() {
            break;
        }
        tokio::time::sleep_until(until.min(now + LOOK)).await;
    }
    Ok(())
}

async fn is_pending(app: &App, ids: &[AttachmentId]) -> Result<bool> {
    if ids.is_empty() {
        return Ok(false);
    }
    let read = recognition::list(&app.db, ids).await?;
    let heard = transcription::list(&app.db, ids).await?;
    Ok(read
        .iter()
        .any(|row| row.readings == 0 && row.status == recognition::Status::Processing)
        || heard
            .iter()
            .any(|row| row.versions == 0 && row.status == recognition::Status::Processing))
}

async fn text(app: &App, id: AttachmentId) -> Result<Text> {
    let (db, redis) = (&app.db, &app.redis);
    if let Some(row) = recognition::find(db, id).await? {
        let is_pending = row.status == recognition::Status::Processing;
        if let Some(text) = attachment_text::load(db, redis, &row).await? {
            return Ok(Text::Ready(text, is_pending));
        }
        return Ok(match row.status {
            recognition::Status::Processing => Text::Pending,
            _ => Text::Failed(row.error.unwrap_or_else(|| "it was stopped".to_owned())),
        });
    }
    if let Some(row) = transcription::find(db, id).await? {
        let is_pending = row.status == recognition::Status::Processing;
        if let Some(text) = attachment_text::load_said(db, redis, &row).await? {
            return Ok(Text::Ready(text, is_pending));
        }
        return Ok(match row.status {
            recognition::Status::Processing => Text::Pending,
            _ => Text::Failed(row.error.unwrap_or_else(|| "it was stopped".to_owned())),
        });
    }
    Ok(Text::None)
}

/// As much of a text as there is room for.
async fn cut(encoding: Encoding, text: String, room: usize) -> (String, bool) {
    let cut = move || {
        let length = encoding.cut(&text, room).len();
        let is_cut = length < text.len();
        let mut text = text;
        text.truncate(length);
        (text, is_cut)
    };
    tokio::task::spawn_blocking(cut)
        .await
        .expect("cutting does not panic")
}

/// A picture as a `data:` URL, a large one in its smaller form; or why it cannot be had.
async fn picture(
    app: &App,
    row: &attachment::Model,
    room: &mut Pictures,
) -> Result<Result<String, &'static str>> {
    let mut chosen = (
        row.storage_key.clone(),
        row.media_type.clone(),
        row.size_bytes,
    );
    if row.size_bytes > LARGE_PICTURE_BYTES {
        let variants = image_variant::list_of(&app.db, &[row.id], true).await?;
        let display = variants.into_iter().find(|variant| {
            variant.name.as_deref() == Some("display") && variant.status == image::Status::Succeeded
        });
        if let Some(variant) = display
            && let (Some(key), Some(media_type), Some(size)) =
                (variant.storage_key, variant.media_type, variant.size_bytes)
        {
            chosen = (key, media_type, size);
        }
    }
    let (key, media_type, size) = chosen;
    if size > MOST_PICTURE_BYTES {
        return Ok(Err("the picture is too large to be sent"));
    }
    if room.number == 0 || size > room.bytes {
        return Ok(Err("there are more pictures than can be sent"));
    }
    room.number -= 1;
    room.bytes -= size;
    Ok(match app.storage.read(&key).await {
        Ok(bytes) => Ok(format!(
            "data:{media_type};base64,{}",
            BASE64_STANDARD.encode(bytes)
        )),
        Err(error) => {
            tracing::warn!(error = %error, attachmentId = %row.id, "a picture cannot be shown to a model");
            Err("the picture cannot be loaded")
        }
    })
}
