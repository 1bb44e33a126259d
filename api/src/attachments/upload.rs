//! Reading an upload's form: streamed to the storage, typed by content, measured before anything decodes it.

use std::time::Duration;

use axum::{
    extract::{
        DefaultBodyLimit, FromRequest as _, Multipart, Request,
        multipart::{Field, MultipartError},
    },
    http::{StatusCode, header},
};
use bytes::{Bytes, BytesMut};
use shared::{
    clients::storage::{Storage, Unclaimed, Upload},
    ids::{AttachmentId, UserId},
    keyring::Sha256,
    models::{attachment, pending_object},
};

use crate::{
    app::App,
    error::{Error, Result},
    extract::Rule,
};

/// What a form may have besides its file.
const FORM_OVERHEAD_BYTES: u64 = 64 * 1024;
/// What is still read of an upload that is refused, so that its client hears of it.
const DRAIN_BYTES: u64 = 1024 * 1024;
/// Longest wait for the next piece of an upload.
const PIECE_TIMEOUT: Duration = Duration::from_secs(30);
/// Longest time for what is still read of an upload that is refused.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);
/// Where the size of a picture is looked for: in a JPEG it follows the metadata.
const HEAD_BYTES: usize = 256 * 1024;
/// Most pixels that a worker decodes.
const PIXELS_MAX: u64 = 40_000_000;
/// Longest file name kept, in characters.
const FILE_NAME_MAX: usize = 255;
const LANGUAGE_MAX: usize = 64;

/// What a form held.
pub(super) struct Uploaded {
    /// The file.
    pub(super) file: attachment::New,
    /// Its content, which goes unless it is kept.
    pub(super) content: Unclaimed,
    /// Language as the user named it.
    pub(super) language: Option<String>,
}

impl Uploaded {
    /// What tells this form from another one.
    pub(super) fn fingerprint(&self) -> [u8; 32] {
        let language = self.language.as_deref().unwrap_or_default();
        let mut hash = Sha256::default();
        for part in [
            &self.file.sha256,
            self.file.file_name.as_bytes(),
            language.as_bytes(),
        ] {
            hash.update(&part.len().to_be_bytes());
            hash.update(part);
        }
        hash.finish()
    }
}

/// Reads the form. Whatever was stored of a refused one is removed.
///
/// # Errors
/// As the request is wrong, or as the storage fails.
pub(super) async fn receive(
    mut request: Request,
    app: &App,
    user: UserId,
    max_bytes: u64,
) -> Result<Uploaded> {
    let body_limit = max_bytes + FORM_OVERHEAD_BYTES + DRAIN_BYTES;
    // Counts what multipart itself reads: preambles, headers of parts, and fields that are passed over.
    DefaultBodyLimit::max(usize::try_from(body_limit).unwrap_or(usize::MAX)).apply(&mut request);
    let length = request
        .headers()
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.parse::<u64>().ok());
    if length.is_some_and(|length| length > max_bytes + FORM_OVERHEAD_BYTES) {
        return Err(Error::TooLarge {
            limit_bytes: max_bytes,
        });
    }
    let mut form = Multipart::from_request(request, &()).await.map_err(|_| {
        Error::UnsupportedMediaType(
            "the body must be multipart/form-data with a boundary".to_owned(),
        )
    })?;
    let received = receive_form(&mut form, app, user, max_bytes).await;
    if received.is_err() {
        drain(&mut form).await;
    }
    received
}

async fn receive_form(
    form: &mut Multipart,
    app: &App,
    user: UserId,
    max_bytes: u64,
) -> Result<Uploaded> {
    let (mut file, mut language) = (None, None);
    while let Some(field) = in_time(form.next_field(), max_bytes).await? {
        match field.name() {
            Some("file") if file.is_none() => {
                file = Some(receive_file(field, app, user, max_bytes).await?);
            }
            Some("language") if language.is_none() => {
                language = Some(receive_language(field, max_bytes).await?);
            }
            Some(name @ ("file" | "language")) => {
                return Err(Error::field(format!("/{name}"), "is there twice"));
            }
            name => {
                let name = name.unwrap_or_default();
                let detail = "is not a field here; there are file, language";
                return Err(Error::field(format!("/{name}"), detail));
            }
        }
    }
    let (file, content) = file.ok_or_else(|| Error::field("/file", "is missing"))?;
    Ok(Uploaded {
        file,
        content,
        language,
    })
}

async fn receive_file(
    mut field: Field<'_>,
    app: &App,
    user: UserId,
    max_bytes: u64,
) -> Result<(attachment::New, Unclaimed)> {
    let file_name = file_name(field.file_name().unwrap_or("file"))?;
    let declared = field.content_type().map(str::to_ascii_lowercase);

    let mut head = BytesMut::new();
    let mut ended = false;
    while head.len() < HEAD_BYTES && !ended {
        match next_piece(&mut field, max_bytes).await? {
            Some(chunk) => head.extend_from_slice(&chunk),
            None => ended = true,
        }
        if head.len() as u64 > max_bytes {
            return Err(Error::TooLarge {
                limit_bytes: max_bytes,
            });
        }
    }
    let head = head.freeze();
    let media_type = media_type(&head, declared.as_deref())?;
    let size = pixels(&head)?;

    let storage_key = Storage::random_key();
    pending_object::begin(&app.db, &storage_key).await?;
    let upload = app
        .storage
        .upload(&storage_key, media_type)
        .await
        .map_err(anyhow::Error::from)?;
    let mut stored = Stored {
        upload,
        hash: Sha256::default(),
        size_bytes: 0,
        max_bytes,
    };
    stored.write(head).await?;
    while !ended {
        match next_piece(&mut field, max_bytes).await? {
            Some(chunk) => stored.write(chunk).await?,
            None => ended = true,
        }
    }
    let content = stored.upload.finish().await.map_err(anyhow::Error::from)?;
    let file = attachment::New {
        id: AttachmentId::new(),
        user,
        kind: "image",
        file_name,
        media_type,
        size_bytes: stored.size_bytes,
        sha256: stored.hash.finish(),
        size,
        storage_key,
    };
    Ok((file, content))
}

/// A file on its way to the storage.
struct Stored {
    upload: Upload,
    hash: Sha256,
    size_bytes: u64,
    max_bytes: u64,
}

impl Stored {
    async fn write(&mut self, bytes: Bytes) -> Result<()> {
        self.size_bytes += bytes.len() as u64;
        if self.size_bytes > self.max_bytes {
            return Err(Error::TooLarge {
                limit_bytes: self.max_bytes,
            });
        }
        self.hash.update(&bytes);
        Ok(self
            .upload
            .write(bytes)
            .await
            .map_err(anyhow::Error::from)?)
    }
}

async fn receive_language(mut field: Field<'_>, max_bytes: u64) -> Result<String> {
    let mut bytes = Vec::new();
    while let Some(chunk) = next_piece(&mut field, max_bytes).await? {
        bytes.extend_from_slice(&chunk);
        if bytes.len() > LANGUAGE_MAX {
            break;
        }
    }
    let text = String::from_utf8(bytes).unwrap_or_default();
    language(text.trim()).map_err(|rule| Error::field("/language", rule.0))
}

/// Names of languages, joined by `+`. Whether they are installed, the worker knows.
fn language(text: &str) -> Result<String, Rule> {
    let is_name = |name: &str| {
        name.len() >= 2
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphabetic() || byte == b'_')
    };
    if text.len() <= LANGUAGE_MAX && text.split('+').all(is_name) {
        Ok(text.to_owned())
    } else {
        Err(Rule::new("must be a language like en, hi, ur or eng+hin"))
    }
}

/// The name without any folders, as browsers send it or worse.
fn file_name(text: &str) -> Result<String> {
    if text.contains('\0') {
        return Err(Error::field("/file", "must not have U+0000 in its name"));
    }
    let name = text.rsplit(['/', '\\']).next().unwrap_or_default();
    let name: String = name
        .chars()
        .filter(|c| !c.is_control())
        .take(FILE_NAME_MAX)
        .collect();
    Ok(if name.trim().is_empty() {
        "file".to_owned()
    } else {
        name
    })
}

/// The type by content, if it is one that we take, and the one that the client says.
fn media_type(head: &[u8], declared: Option<&str>) -> Result<&'static str> {
    let found = infer::get(head).map(|kind| kind.mime_type());
    let taken = ["image/png", "image/jpeg", "image/webp"]
        .into_iter()
        .find(|&kind| found == Some(kind));
    let Some(media_type) = taken else {
        let found = found.unwrap_or("of an unknown type");
        return Err(Error::UnsupportedMediaType(format!(
            "the file is {found}; PNG, JPEG and WebP are taken"
        )));
    };
    let declared =
        declared.map(|kind| kind.split(';').next().unwrap_or_default().trim().to_owned());
    match declared.as_deref() {
        None | Some("" | "application/octet-stream") => Ok(media_type),
        Some("image/jpg" | "image/pjpeg") if media_type == "image/jpeg" => Ok(media_type),
        Some(declared) if declared == media_type => Ok(media_type),
        Some(declared) => Err(Error::UnsupportedMediaType(format!(
            "the file is {media_type}, not {declared}"
        ))),
    }
}

/// Width and height from the header. A header that cannot be read is left to the worker, which says why.
fn pixels(head: &[u8]) -> Result<Option<(u32, u32)>> {
    let Ok(size) = imagesize::blob_size(head) else {
        return Ok(None);
    };
    let pixels = size.width as u64 * size.height as u64;
    if pixels > PIXELS_MAX {
        let message = format!(
            "the picture has {}×{} pixels; at most {} million are read",
            size.width,
            size.height,
            PIXELS_MAX / 1_000_000
        );
        return Err(Error::ImageTooLarge(message));
    }
    Ok(u32::try_from(size.width)
        .ok()
        .zip(u32::try_from(size.height).ok()))
}

/// Waits for what comes next, but not for ever.
async fn in_time<T>(
    next: impl Future<Output = Result<T, MultipartError>>,
    max_bytes: u64,
) -> Result<T> {
    let next = tokio::time::timeout(PIECE_TIMEOUT, next)
        .await
        .map_err(|_| Error::SlowUpload)?;
    next.map_err(|error| match error.status() {
        StatusCode::PAYLOAD_TOO_LARGE => Error::TooLarge {
            limit_bytes: max_bytes,
        },
        _ => Error::Malformed(format!("the form cannot be read: {}", error.body_text())),
    })
}

async fn next_piece(field: &mut Field<'_>, max_bytes: u64) -> Result<Option<Bytes>> {
    in_time(field.chunk(), max_bytes).await
}

/// Reads on a little, so that a client that sends before it listens gets its answer.
async fn drain(form: &mut Multipart) {
    let mut left = DRAIN_BYTES;
    let read = async {
        while let Ok(Some(mut field)) = form.next_field().await {
            while let Ok(Some(chunk)) = field.chunk().await {
                left = left.saturating_sub(chunk.len() as u64);
                if left == 0 {
                    return;
                }
            }
        }
    };
    let _ = tokio::time::timeout(DRAIN_TIMEOUT, read).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lose_their_folders_and_controls() {
        assert_eq!(file_name("../../etc/passwd").unwrap(), "passwd");
        assert_eq!(file_name("C:\\photos\\a\nb.png").unwrap(), "ab.png");
        assert_eq!(file_name("  ").unwrap(), "file");
        assert_eq!(file_name("चित्र.png").unwrap(), "चित्र.png");
        assert!(file_name("a\0b").is_err());
    }

    #[test]
    fn languages_are_names_joined_by_plus() {
        for good in ["en", "eng", "eng+hin", "chi_sim", "Devanagari"] {
            assert!(language(good).is_ok(), "{good}");
        }
        for bad in ["", "e", "eng+", "-l", "../eng", "eng hin", &"a".repeat(65)] {
            assert!(language(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn content_decides_and_must_be_what_it_says() {
        let png = b"\x89PNG\r\n\x1a\n0000";
        assert_eq!(media_type(png, None).unwrap(), "image/png");
        assert_eq!(
            media_type(png, Some("application/octet-stream")).unwrap(),
            "image/png"
        );
        assert!(media_type(png, Some("image/jpeg")).is_err());
        assert!(media_type(b"/etc/passwd", Some("image/png")).is_err());
        assert!(media_type(b"%PDF-1.7", None).is_err());
    }
}
