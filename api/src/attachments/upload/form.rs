//! The form of an upload, read piece by piece.

use std::time::Duration;

use anyhow::anyhow;
use axum::extract::{Multipart, multipart::Field};
use bytes::{Bytes, BytesMut};
use shared::{
    clients::storage::{self, Storage, Unclaimed, Upload},
    ids::{AttachmentId, UserId},
    keyring::Sha256,
    models::attachment::{self, Kind},
};

use super::{
    Limits, Note, Uploaded, arrival::Arrival, content::Content, file_name::file_name, fits,
    unread::Unread,
};
use crate::{
    error::{Error, FieldProblem, Result},
    extract::{Rule, push_segment},
    text::Languages,
};

/// Where the size of a picture and the tracks of sound are looked for: they follow the metadata.
const HEAD_BYTES: usize = 256 * 1024;
/// Longest text of a field that is no file, in bytes.
const TEXT_MAX: usize = 64;
/// The fields of the form.
const FIELDS: [&str; 3] = ["file", "language", "conversationId"];
/// Most problems of a form that are named.
const PROBLEMS_MAX: usize = 20;
/// Longest name of a field that is repeated in an answer, in characters.
const FIELD_NAME_MAX: usize = 64;

/// Longest wait for one step of the storage, which by itself would try for 92 s: a client gives up before that.
const STORE_TIMEOUT: Duration = Duration::from_secs(20);

/// A form that is being read.
pub(super) struct Reading<'a> {
    storage: &'a Storage,
    note: &'a Note,
    user: UserId,
    limits: &'a Limits,
    /// Of the whole form, as the client says.
    length: Option<u64>,
    arrival: Arrival,
}

impl<'a> Reading<'a> {
    /// Begins; `length` is the whole form's, as the client says.
    pub(super) fn new(
        storage: &'a Storage,
        note: &'a Note,
        user: UserId,
        limits: &'a Limits,
        length: Option<u64>,
        unread: Unread,
    ) -> Self {
        Self {
            storage,
            note,
            user,
            limits,
            length,
            arrival: Arrival::new(limits.largest(), limits.speed, unread),
        }
    }

    /// Reads to the end, so that every bad field is named; only what is wrong with the file itself ends it at once.
    ///
    /// # Errors
    /// As the form is wrong, or as the storage fails.
    pub(super) async fn form(mut self, form: &mut Multipart) -> Result<Uploaded> {
        let (mut file, mut languages, mut conversation) = (None, None, None);
        let mut problems = Vec::new();
        while let Some(field) = self.arrival.field(form).await? {
            let name = field.name().unwrap_or_default().to_owned();
            match name.as_str() {
                "file" if file.is_none() => {
                    match self.file(field).await {
                        Err(Error::Invalid(bad)) => problems.extend(bad),
                        received => file = Some(received?),
                    }
                    continue;
                }
                "language" if languages.is_none() => {
                    match self.text(field, Languages::parse).await? {
                        Ok(named) => languages = Some(named),
                        Err(rule) => problems.push(problem(&name, rule.0)),
                    }
                    continue;
                }
                "conversationId" if conversation.is_none() => {
                    let parse = |text: &str| text.parse().map_err(|_| Rule::new("must be a UUID"));
                    match self.text(field, parse).await? {
                        Ok(named) => conversation = Some(named),
                        Err(rule) => problems.push(problem(&name, rule.0)),
                    }
                    continue;
                }
                known if FIELDS.contains(&known) => {
                    problems.push(problem(&name, "is there twice"));
                }
                _ => {
                    let known = FIELDS.join(", ");
                    let detail = format!("is not a field here; there are {known}");
                    problems.push(problem(&name, detail));
                }
            }
            if problems.len() >= PROBLEMS_MAX {
                return Err(Error::Invalid(problems));
            }
            self.pass_over(field).await?;
        }
        match file {
            Some((file, content)) if problems.is_empty() => Ok(Uploaded {
                file: attachment::New {
                    conversation,
                    ..file
                },
                content,
                languages,
            }),
            Some(_) => Err(Error::Invalid(problems)),
            None => {
                if problems.iter().all(|known| known.pointer != "/file") {
                    problems.push(problem("file", "is missing"));
                }
                Err(Error::Invalid(problems))
            }
        }
    }

    async fn file(&mut self, mut field: Field<'_>) -> Result<(attachment::New, Unclaimed)> {
        let file_name = file_name(field.headers(), field.file_name())?;
        let declared = field.content_type().map(str::to_ascii_lowercase);

        let mut head = BytesMut::new();
        let mut ended = false;
        while head.len() < HEAD_BYTES && !ended {
            match self.arrival.piece(&mut field).await? {
                Some(chunk) => head.extend_from_slice(&chunk),
                None => ended = true,
            }
            if head.len() as u64 > self.limits.largest() {
                return Err(self.arrival.too_large());
            }
        }
        let head = head.freeze();
        let content = Content::recognize(&head, declared.as_deref())?;
        let (kind, media_type, size) = (content.kind, content.media_type, content.size);
        let max_bytes = self.limits.of(kind);
        fits(self.length, max_bytes)?;

        let storage_key = self.storage.random_key(stored_as(kind));
        (self.note)(storage_key.clone()).await?;
        let upload = in_store(self.storage.upload(&storage_key, media_type)).await?;
        let mut stored = Stored {
            upload,
            content,
            hash: Sha256::default(),
            size_bytes: 0,
            max_bytes,
        };
        stored.write(head).await?;
        while !ended {
            match self.arrival.piece(&mut field).await? {
                Some(chunk) => stored.write(chunk).await?,
                None => ended = true,
            }
        }
        stored.content.finish()?;
        let content = in_store(stored.upload.finish()).await?;
        let file = attachment::New {
            id: AttachmentId::new(),
            user: self.user,
            conversation: None,
            kind,
            file_name,
            media_type,
            size_bytes: stored.size_bytes,
            sha256: stored.hash.finish(),
            size,
            storage_key,
        };
        Ok((file, content))
    }

    async fn text<T>(
        &mut self,
        mut field: Field<'_>,
        parse: impl FnOnce(&str) -> Result<T, Rule>,
    ) -> Result<Result<T, Rule>> {
        let mut bytes = Vec::new();
        while let Some(chunk) = self.arrival.piece(&mut field).await? {
            // One byte more tells that it is too long.
            let room = TEXT_MAX + 1 - bytes.len();
            bytes.extend_from_slice(&chunk[..chunk.len().min(room)]);
        }
        let text = String::from_utf8_lossy(&bytes);
        if bytes.len() > TEXT_MAX {
            return Ok(Err(Rule::new("is too long")));
        }
        Ok(parse(&text))
    }

    async fn pass_over(&mut self, mut field: Field<'_>) -> Result<()> {
        while self.arrival.piece(&mut field).await?.is_some() {}
        Ok(())
    }
}

fn stored_as(kind: Kind) -> storage::Kind {
    match kind {
        Kind::Image => storage::Kind::Image,
        Kind::Document => storage::Kind::Document,
        Kind::Audio => storage::Kind::Audio,
    }
}

/// What is wrong with a field of the form.
fn problem(name: &str, detail: impl Into<String>) -> FieldProblem {
    let name: String = name.chars().take(FIELD_NAME_MAX).collect();
    let mut pointer = String::new();
    push_segment(&mut pointer, &name);
    FieldProblem {
        pointer,
        detail: detail.into(),
    }
}

/// A file on its way to the storage.
struct Stored {
    upload: Upload,
    content: Content,
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
        self.content.look(&bytes)?;
        self.hash.update(&bytes);
        in_store(self.upload.write(bytes)).await
    }
}

/// Waits for a step of the storage, but not for ever.
async fn in_store<T>(step: impl Future<Output = Result<T, storage::Error>>) -> Result<T> {
    match tokio::time::timeout(STORE_TIMEOUT, step).await {
        Ok(done) => Ok(done?),
        Err(_) => Err(Error::Unavailable(anyhow!(
            "the storage did not answer in {} s",
            STORE_TIMEOUT.as_secs()
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_named_by_a_pointer() {
        assert_eq!(problem("a/b~c", "x").pointer, "/a~1b~0c");
        assert_eq!(problem(&"x".repeat(999), "x").pointer.len(), 65);
    }
}
