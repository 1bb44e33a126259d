//! The form of a sound, read piece by piece into a file: it may have to be sent more than once.

#[cfg(test)]
mod tests;

use std::path::PathBuf;

use axum::{
    extract::{DefaultBodyLimit, FromRequest as _, Multipart, Request, multipart::Field},
    http::header,
};
use shared::{clients::transcriber::Sound, scratch::Scratch};
use tempfile::TempDir;
use tokio::{fs::File, io::AsyncWriteExt as _};

use super::format::Format;
use crate::{
    attachments::upload::{Arrival, Rest, SPEED, Unread, is_audible},
    error::{self, Error},
    openai::{
        fault::{self, Fault, Result},
        parameters,
    },
};

/// What a form may have besides its file.
const FORM_OVERHEAD_BYTES: u64 = 64 * 1024;
/// What is still read of a form that is refused, in sizes of the largest one.
const DRAINED_FORMS: u64 = 2;
/// Longest text of a field, in bytes: prompts are the longest.
const TEXT_MAX: usize = 8 * 1024;
/// Longest ending of a file's name.
const EXTENSION_MAX: usize = 8;
/// What is looked at to see whether there is a sound: tracks follow the metadata.
const HEAD_BYTES: usize = 256 * 1024;
/// What is taken, as `OpenAI` says it.
const NO_SOUND: &str = "Invalid file format. Supported formats: ['flac', 'm4a', 'mp3', 'mp4', 'mpeg', 'mpga', 'oga', 'ogg', 'wav', 'webm']";
/// Bytes of a second of sound, about, as phones record it, and of what is not compressed.
const BYTES_A_SECOND: f64 = 8_000.0;
const PLAIN_BYTES_A_SECOND: f64 = 32_000.0;
/// What `OpenAI` knows besides, and what changes nothing where it is wanted of a whole sound.
const UNSUPPORTED: [&str; 6] = [
    "chunking_strategy",
    "include",
    "keywords",
    "languages",
    "known_speaker_names",
    "known_speaker_references",
];
/// The type of a file that nobody knows.
const UNKNOWN: &str = "application/octet-stream";

/// A sound, and how it is to be written down.
#[derive(Debug)]
pub(super) struct Form {
    /// Removes the file in the end.
    _folder: TempDir,
    file: PathBuf,
    media_type: String,
    size_bytes: u64,
    pub(super) model: String,
    language: Option<String>,
    prompt: Option<String>,
    temperature: Option<f64>,
    pub(super) format: Format,
    /// Which times are wanted.
    pub(super) words: bool,
    pub(super) segments: bool,
}

impl Form {
    /// What is asked of a server.
    pub(super) fn sound(&self) -> Sound<'_> {
        Sound {
            file: &self.file,
            media_type: &self.media_type,
            seconds: self.about_seconds(),
            language: self.language.as_deref(),
            prompt: self.prompt.as_deref(),
            temperature: self.temperature,
            words: self.words,
        }
    }

    /// About how long it is, by its size: the server knows better.
    #[expect(clippy::cast_precision_loss, reason = "it is a guess")]
    fn about_seconds(&self) -> f64 {
        let is_plain = self
            .file
            .extension()
            .is_some_and(|extension| extension == "wav" || extension == "flac");
        let rate = if is_plain {
            PLAIN_BYTES_A_SECOND
        } else {
            BYTES_A_SECOND
        };
        self.size_bytes as f64 / rate
    }
}

/// Leaves a form unread, but for what its client must have sent before it listens.
pub(super) async fn leave(request: Request, limit_bytes: u64) {
    // One that asks before it sends has sent nothing yet.
    if !request.headers().contains_key(header::EXPECT) {
        Rest::of(request.into_body()).drain(limit_bytes).await;
    }
}

/// Reads a form whose file has at most so many bytes, and goes into a folder of its own.
///
/// # Errors
/// As the form is wrong.
pub(super) async fn receive(
    mut request: Request,
    limit_bytes: u64,
    scratch: &Scratch,
) -> Result<Form> {
    let body_limit = limit_bytes + FORM_OVERHEAD_BYTES;
    DefaultBodyLimit::max(usize::try_from(body_limit).unwrap_or(usize::MAX)).apply(&mut request);
    let (head, body) = request.into_parts();
    let rest = Rest::of(body);
    let length = head
        .headers
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|length| length > body_limit) {
        if !head.headers.contains_key(header::EXPECT) {
            rest.drain(DRAINED_FORMS * body_limit).await;
        }
        return Err(Error::TooLarge { limit_bytes }.into());
    }
    let unread = Unread::default();
    let request = Request::from_parts(head, unread.watch(rest.body()));
    let received = async {
        let mut form = Multipart::from_request(request, &()).await.map_err(|_| {
            Error::UnsupportedMediaType(
                "the body must be multipart/form-data with a boundary".to_owned(),
            )
        })?;
        let reading = Reading {
            limit_bytes,
            arrival: Arrival::new(limit_bytes, SPEED, unread),
            scratch: scratch.clone(),
            fields: Fields::default(),
        };
        reading.form(&mut form).await
    }
    .await;
    let is_slow = matches!(&received, Err(fault::Error::Ours(Error::SlowUpload)));
    if received.is_err() && !is_slow {
        rest.drain(DRAINED_FORMS * body_limit).await;
    }
    received
}

/// A form that is being read.
struct Reading {
    limit_bytes: u64,
    arrival: Arrival,
    scratch: Scratch,
    fields: Fields,
}

/// What was read of it.
#[derive(Default)]
struct Fields {
    file: Option<Stored>,
    model: Option<String>,
    language: Option<String>,
    prompt: Option<String>,
    format: Option<Format>,
    temperature: Option<f64>,
    words: bool,
    segments: bool,
}

/// A file that was received.
struct Stored {
    folder: TempDir,
    file: PathBuf,
    media_type: String,
    size_bytes: u64,
}

impl Reading {
    async fn form(mut self, form: &mut Multipart) -> Result<Form> {
        while let Some(field) = self.arrival.field(form).await? {
            let name = field.name().unwrap_or_default().to_owned();
            if name == "file" {
                let stored = self.file(field).await?;
                self.fields.file = Some(stored);
            } else {
                let text = self.text(&name, field).await?;
                self.fields.set(&name, text)?;
            }
        }
        self.fields.form()
    }

    async fn file(&mut self, mut field: Field<'_>) -> Result<Stored> {
        let extension = extension(field.file_name().unwrap_or_default());
        let media_type = media_type(field.content_type());
        let scratch = self.scratch.clone();
        let folder = tokio::task::spawn_blocking(move || scratch.folder()).await;
        let folder = folder
            .map_err(anyhow::Error::from)
            .and_then(|folder| Ok(folder?));
        let folder = folder.map_err(Error::from)?;
        let file = folder.path().join(format!("sound{extension}"));
        let mut writer = File::create(&file).await.map_err(ours)?;
        let mut size_bytes = 0;
        let mut head = Vec::new();
        while let Some(piece) = self.arrival.piece(&mut field).await? {
            size_bytes += piece.len() as u64;
            if size_bytes > self.limit_bytes {
                return Err(self.arrival.too_large().into());
            }
            let missing = HEAD_BYTES.saturating_sub(head.len());
            head.extend_from_slice(&piece[..piece.len().min(missing)]);
            writer.write_all(&piece).await.map_err(ours)?;
        }
        writer.flush().await.map_err(ours)?;
        if size_bytes == 0 {
            return Err(Fault::invalid("file", "Invalid 'file': it is empty.").into());
        }
        if !is_audible(&head) {
            return Err(Fault::invalid("file", NO_SOUND).into());
        }
        Ok(Stored {
            folder,
            file,
            media_type,
            size_bytes,
        })
    }

    async fn text(&mut self, name: &str, mut field: Field<'_>) -> Result<String> {
        let mut bytes = Vec::new();
        while let Some(piece) = self.arrival.piece(&mut field).await? {
            bytes.extend_from_slice(&piece);
            if bytes.len() > TEXT_MAX {
                let name = error::repeat(name);
                let message = format!("Invalid value for '{name}': it is too long.");
                return Err(Fault::invalid(name, message).into());
            }
        }
        // Nobody can read others, or keep U+0000.
        Ok(String::from_utf8_lossy(&bytes).replace('\0', ""))
    }
}

impl Fields {
    fn set(&mut self, name: &str, text: String) -> Result<()> {
        let wrong = |wanted: &str| {
            let message = format!("Invalid value for '{name}': expected {wanted}.");
            Fault::invalid(name, message)
        };
        match name {
            "model" => self.model = Some(parameters::model(text)?),
            "language" => {
                let is_code = (2..=3).contains(&text.len())
                    && text.bytes().all(|byte| byte.is_ascii_alphabetic());
                if !is_code {
                    return Err(wrong("an ISO 639-1 code").into());
                }
                self.language = Some(text.to_ascii_lowercase());
            }
            "prompt" => self.prompt = Some(text).filter(|text| !text.is_empty()),
            "response_format" => {
                let format = Format::of(&text).ok_or_else(|| wrong(Format::KNOWN))?;
                self.format = Some(format);
            }
            "temperature" => {
                let number = text.trim().parse::<f64>().ok();
                let number = number.filter(|number| (0.0..=1.0).contains(number));
                self.temperature = Some(number.ok_or_else(|| wrong("a number between 0 and 1"))?);
            }
            "timestamp_granularities[]" | "timestamp_granularities" => match text.as_str() {
                "word" => self.words = true,
                "segment" => self.segments = true,
                _ => return Err(wrong("'word' or 'segment'").into()),
            },
            // Models that hear a sound as a whole answer as a whole.
            "stream" if text == "false" => {}
            "stream" => {
                let message = "Transcripts are not streamed here.";
                return Err(Fault::unsupported(name, message).into());
            }
            _ => {
                // A list has brackets after its name, and so has what an object holds.
                let plain = name.split('[').next().unwrap_or_default();
                if !UNSUPPORTED.contains(&plain) {
                    return Err(Fault::unknown(name).into());
                }
                let is_usual = plain == "chunking_strategy" && text == "auto";
                if !is_usual && !text.is_empty() {
                    let message = format!("'{plain}' is not supported here.");
                    return Err(Fault::unsupported(plain, message).into());
                }
            }
        }
        Ok(())
    }

    fn form(self) -> Result<Form> {
        let stored = self.file.ok_or_else(|| Fault::missing("file"))?;
        let model = self.model.ok_or_else(|| Fault::missing("model"))?;
        let format = self.format.unwrap_or_default();
        if (self.words || self.segments) && format != Format::VerboseJson {
            let name = "timestamp_granularities";
            let message = "'timestamp_granularities' needs the response_format 'verbose_json'.";
            return Err(Fault::invalid(name, message).into());
        }
        Ok(Form {
            _folder: stored.folder,
            file: stored.file,
            media_type: stored.media_type,
            size_bytes: stored.size_bytes,
            model,
            language: self.language,
            prompt: self.prompt,
            temperature: self.temperature,
            format,
            words: self.words,
            // As `OpenAI` does where nobody says.
            segments: self.segments || !self.words,
        })
    }
}

fn ours(error: std::io::Error) -> Error {
    Error::Internal(error.into())
}

/// The ending of a file's name, by which servers go, with its dot; nothing where it is strange.
fn extension(file_name: &str) -> String {
    let ending = file_name.rsplit_once('.').map_or("", |(_, ending)| ending);
    let is_plain = (1..=EXTENSION_MAX).contains(&ending.len())
        && ending.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if is_plain {
        format!(".{}", ending.to_ascii_lowercase())
    } else {
        String::new()
    }
}

/// The type of a file as its client says, if it is one.
fn media_type(said: Option<&str>) -> String {
    let is_part = |part: &str| {
        let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || b"-.+".contains(&byte);
        !part.is_empty() && part.len() < 64 && part.bytes().all(is_letter)
    };
    let kind = said
        .and_then(|said| said.split(';').next())
        .unwrap_or(UNKNOWN)
        .trim();
    match kind.split_once('/') {
        Some((kind, rest)) if is_part(kind) && is_part(rest) => format!("{kind}/{rest}"),
        _ => UNKNOWN.to_owned(),
    }
}
