//! Attachments, as models are shown them: their texts, what is said in them, and pictures where a model sees.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use shared::{
    attachment_text,
    context::{CUT_MARK, count},
    database::Result,
    ids::{AttachmentId, UserId},
    models::{
        attachment::{self, Kind},
        image, image_variant,
        message::MissingAttachment,
        recognition::{self, Status},
        transcription,
    },
    tokens::Measure,
};
use tokio::time::Instant;

use crate::app::App;

/// Stands between the texts of a message.
pub(super) const BETWEEN: &str = "\n\n";
/// How often it is looked whether an attachment is read.
const LOOK: Duration = Duration::from_millis(250);
/// Larger pictures are shown in their smaller form.
const LARGE_PICTURE_BYTES: i64 = 3 << 20;
/// Larger ones are not shown at all.
const MOST_PICTURE_BYTES: i64 = 8 << 20;
/// Most pictures of a question with all that goes along, and most bytes of them: providers take no more, and all of it
/// is in memory.
pub(crate) const MOST_PICTURES: usize = 10;
const MOST_BYTES: i64 = 20 << 20;
/// Tokens that a picture is reckoned with: what `OpenAI`'s models take for one of 1024×1024 (four tiles and the whole).
const PICTURE_TOKENS: u32 = 765;

/// The room that is left for pictures.
#[derive(Debug)]
pub(super) struct Pictures {
    number: usize,
    bytes: i64,
    /// Tokens of each, as tokens are stored.
    tokens: u32,
}

impl Pictures {
    /// All of it, for a model that counts so.
    pub(super) fn new(measure: Measure) -> Self {
        Self {
            number: MOST_PICTURES,
            bytes: MOST_BYTES,
            tokens: measure.stored_of(PICTURE_TOKENS),
        }
    }
}

/// The room that is left for texts, in tokens.
#[derive(Debug, Clone, Copy)]
enum Room {
    /// Of a question: each of its attachments is told of.
    OfQuestion(u32),
    /// Of an earlier message: what has no room is left out.
    OfEarlier(u32),
}

/// Attachments, and what was read or heard in them, as it was at one moment.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// Which were looked for; those that have no row are deleted.
    looked_for: HashSet<AttachmentId>,
    rows: HashMap<AttachmentId, attachment::Model>,
    read: HashMap<AttachmentId, recognition::Model>,
    heard: HashMap<AttachmentId, transcription::Model>,
}

/// Pictures that are shown, and why others are not. It is empty for models that see none.
type Seen = HashMap<AttachmentId, Result<Picture, &'static str>>;

/// A picture, and where it is.
struct Picture {
    storage_key: String,
    media_type: String,
    tokens: u32,
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
    /// Whether it stays so until somebody changes it: all is known, nothing is being read, and no picture is shown.
    pub(super) is_settled: bool,
    /// Whether models that see pictures are shown others instead.
    pub(super) is_blind: bool,
}

/// How far the text of an attachment is.
enum Text {
    /// There is none to be had.
    None,
    /// It is there.
    Ready(String),
    /// It is not there yet.
    Pending,
    /// It could not be read.
    Failed(String),
}

/// Finds what a model is shown of a question's attachments. Those that are being read are waited for, for as long as an answer
/// may be held up by that.
///
/// # Errors
/// As the database fails.
pub(super) async fn show_question(
    app: &App,
    user: UserId,
    ids: &[AttachmentId],
    pictures: Option<&mut Pictures>,
    room: u32,
) -> Result<Shown> {
    let until = Instant::now() + app.config.chat.attachment_wait;
    let mut known = look(app, user, ids).await?;
    let seen = see(app, &known, ids, pictures).await?;
    while known.is_awaited(&seen) {
        let now = Instant::now();
        if now >= until || app.chat.is_stopping() {
            break;
        }
        tokio::time::sleep_until(until.min(now + LOOK)).await;
        known = look(app, user, ids).await?;
    }
    tell(app, &known, ids, seen, Room::OfQuestion(room)).await
}

/// Finds what a model is shown of an earlier message's attachments, as far as they are known.
///
/// # Errors
/// As the database fails.
pub(super) async fn show_earlier(
    app: &App,
    known: &Known,
    ids: &[AttachmentId],
    pictures: Option<&mut Pictures>,
    room: u32,
) -> Result<Shown> {
    let seen = see(app, known, ids, pictures).await?;
    tell(app, known, ids, seen, Room::OfEarlier(room)).await
}

/// Loads what is known of attachments of `user`: three queries, however many they are.
///
/// # Errors
/// As the database fails.
pub(super) async fn look(app: &App, user: UserId, ids: &[AttachmentId]) -> Result<Known> {
    let mut known = Known {
        looked_for: ids.iter().copied().collect(),
        ..Known::default()
    };
    let rows = match ids {
        [] => Vec::new(),
        ids => attachment::find_all(&app.db, user, ids).await?,
    };
    if rows.is_empty() {
        return Ok(known);
    }
    let own: Vec<AttachmentId> = rows.iter().map(|row| row.id).collect();
    let read = recognition::list(&app.db, &own).await?.into_iter();
    let heard = transcription::list(&app.db, &own).await?.into_iter();
    known.rows = rows.into_iter().map(|row| (row.id, row)).collect();
    known.read = read.map(|row| (row.attachment_id, row)).collect();
    known.heard = heard.map(|row| (row.attachment_id, row)).collect();
    Ok(known)
}

impl Known {
    /// Whether one is being read for the first time. Whoever sees a picture needs not wait for its words.
    fn is_awaited(&self, seen: &Seen) -> bool {
        let is_awaited = |id: &AttachmentId, texts: i32, status: Status| {
            texts == 0
                && status == Status::Processing
                && self.rows.contains_key(id)
                && !matches!(seen.get(id), Some(Ok(_)))
        };
        let mut read = self.read.values();
        let mut heard = self.heard.values();
        read.any(|row| is_awaited(&row.attachment_id, row.readings, row.status))
            || heard.any(|row| is_awaited(&row.attachment_id, row.versions, row.status))
    }

    /// Whether one is being read, for the first time or again.
    fn is_being_read(&self, id: AttachmentId) -> bool {
        let read = self.read.get(&id).map(|row| row.status);
        let heard = self.heard.get(&id).map(|row| row.status);
        [read, heard].contains(&Some(Status::Processing))
    }
}

/// Chooses the pictures that are shown.
async fn see(
    app: &App,
    known: &Known,
    ids: &[AttachmentId],
    pictures: Option<&mut Pictures>,
) -> Result<Seen> {
    let mut seen = Seen::new();
    let Some(room) = pictures else {
        return Ok(seen);
    };
    for id in ids {
        let row = known.rows.get(id);
        if let Some(row) = row.filter(|row| row.kind == Kind::Image) {
            seen.insert(*id, choose(app, row, room).await?);
        }
    }
    Ok(seen)
}

/// Puts together what is shown.
async fn tell(
    app: &App,
    known: &Known,
    ids: &[AttachmentId],
    mut seen: Seen,
    room: Room,
) -> Result<Shown> {
    let encoding = app.tokens.fallback();
    let (mut room, is_question) = match room {
        Room::OfQuestion(room) => (room, true),
        Room::OfEarlier(room) => (room, false),
    };
    let mut shown = Shown {
        is_settled: true,
        ..Shown::default()
    };
    for id in ids {
        // A deleted one is shown to nobody.
        let Some(row) = known.rows.get(id) else {
            shown.is_settled &= known.looked_for.contains(id);
            continue;
        };
        let mut miss = |reason: String| {
            shown.missing.push(MissingAttachment {
                attachment_id: row.id,
                file_name: row.file_name.clone(),
                reason,
            });
        };
        let mut is_seen = false;
        if let Some(picture) = seen.remove(id) {
            shown.is_settled = false;
            let loaded = match picture {
                Ok(picture) => load(app, row.id, picture).await,
                Err(reason) => Err(reason),
            };
            match loaded {
                Ok((picture, tokens)) => {
                    is_seen = true;
                    shown.tokens = shown.tokens.saturating_add(tokens);
                    shown.pictures.push(picture);
                }
                Err(reason) => miss(reason.to_owned()),
            }
        } else {
            shown.is_blind |= row.kind == Kind::Image;
        }
        shown.is_settled &= !known.is_being_read(*id);
        if room == 0 && !is_question {
            continue;
        }
        let name = &row.file_name;
        let framed = match text(app, known, *id).await? {
            Text::Ready(text) if !text.trim().is_empty() => {
                let length = text.len();
                let text = count::cut(encoding, text, room).await;
                let mut mark = "";
                if text.len() < length {
                    miss("its text is too long to be sent whole".to_owned());
                    mark = CUT_MARK;
                }
                format!("[Text of the attachment {name:?}]\n{text}{mark}\n[End of the attachment]")
            }
            Text::Pending if !is_seen => {
                miss("it is still being read".to_owned());
                format!("[The attachment {name:?} is still being read; its text is not here]")
            }
            Text::Failed(reason) if !is_seen => {
                miss(format!("it could not be read: {reason}"));
                format!("[The attachment {name:?} could not be read]")
            }
            Text::Ready(_) if !is_seen => {
                format!("[No text was found in the attachment {name:?}]")
            }
            _ => continue,
        };
        let tokens = encoding
            .count_text(format!("{BETWEEN}{framed}"))
            .await
            .tokens;
        room = room.saturating_sub(tokens);
        shown.tokens = shown.tokens.saturating_add(tokens);
        shown.texts.push(framed);
    }
    Ok(shown)
}

async fn text(app: &App, known: &Known, id: AttachmentId) -> Result<Text> {
    let (db, redis) = (&app.db, &app.redis);
    let (text, status, error) = if let Some(row) = known.read.get(&id) {
        let text = attachment_text::load(db, redis, row).await?;
        (text, row.status, &row.error)
    } else if let Some(row) = known.heard.get(&id) {
        let text = attachment_text::load_said(db, redis, row).await?;
        (text, row.status, &row.error)
    } else {
        return Ok(Text::None);
    };
    Ok(match text {
        Some(text) => Text::Ready(text),
        None if status == Status::Processing => Text::Pending,
        None => {
            let reason = error.clone();
            Text::Failed(reason.unwrap_or_else(|| "it was stopped".to_owned()))
        }
    })
}

/// A picture that is shown, a large one in its smaller form; or why it is not.
async fn choose(
    app: &App,
    row: &attachment::Model,
    room: &mut Pictures,
) -> Result<Result<Picture, &'static str>> {
    let none_is_left = "there are more pictures than can be sent";
    if room.number == 0 {
        return Ok(Err(none_is_left));
    }
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
    let (storage_key, media_type, size) = chosen;
    if size > MOST_PICTURE_BYTES {
        return Ok(Err("the picture is too large to be sent"));
    }
    if size > room.bytes {
        return Ok(Err(none_is_left));
    }
    room.number -= 1;
    room.bytes -= size;
    Ok(Ok(Picture {
        storage_key,
        media_type,
        tokens: room.tokens,
    }))
}

/// Loads a picture as a `data:` URL, and tells its tokens; or why it cannot be had.
async fn load(
    app: &App,
    id: AttachmentId,
    picture: Picture,
) -> Result<(String, u32), &'static str> {
    match app.storage.read(&picture.storage_key).await {
        Ok(bytes) => {
            let bytes = BASE64_STANDARD.encode(bytes);
            let url = format!("data:{};base64,{bytes}", picture.media_type);
            Ok((url, picture.tokens))
        }
        Err(error) => {
            tracing::warn!(error = %error, attachmentId = %id, "a picture cannot be shown to a model");
            Err("the picture cannot be loaded")
        }
    }
}
