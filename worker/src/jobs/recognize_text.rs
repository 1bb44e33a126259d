//! Reading the text of a picture.

use std::path::Path;

use anyhow::Context as _;
use bytes::Bytes;
use shared::{
    clients::storage,
    jobs::RecognizeText,
    models::{
        attachment,
        recognition::{self, Reading},
    },
};

use super::{Failure, Outcome, Run};
use crate::{
    context::JobContext,
    engines::{
        picture::{self, PictureError, Prepared},
        process::ProcessError,
        tesseract::{self, Language, Recognition, RecognizeError, Tesseract},
    },
};

impl Run for RecognizeText {
    async fn run(self, ctx: &JobContext) -> anyhow::Result<Outcome> {
        let Some(attachment) = attachment::find_for_any_user(&ctx.db, self.attachment).await?
        else {
            return Ok(Outcome::Discard("the attachment was deleted"));
        };
        let tesseract = ctx.tesseract.as_ref().ok_or(Failure::Temporary {
            reason: "text recognition is not installed on this worker".to_owned(),
            retry_after: None,
        })?;
        let hints = hints(tesseract, self.language.as_deref())?;

        ctx.progress(5, "loading the picture").await;
        let bytes = match ctx.storage.read(&attachment.storage_key).await {
            Err(storage::Error::NotFound) => {
                return Err(Failure::Temporary {
                    reason: "the file is not in the storage that this worker sees".to_owned(),
                    retry_after: None,
                }
                .into());
            }
            read => read?,
        };
        ctx.progress(20, "preparing the picture").await;
        let folder = tempfile::tempdir().context("no temporary folder")?;
        let prepared = prepare(bytes, folder.path()).await?;
        ctx.progress(40, "reading the text").await;
        let read = tesseract
            .recognize(&prepared, &hints, &tesseract::LIMITS)
            .await
            .map_err(explain)?;

        let mut tx = ctx.fenced().await?; // this run still owns the job, or it stops here
        recognition::complete(&mut tx, &attachment, reading(read)?, ctx.clock.now()).await?;
        tx.done(None).await
    }
}

/// The user's languages, all of which must be installed: text read in another one is worth nothing.
fn hints(tesseract: &Tesseract, asked: Option<&str>) -> Result<Vec<Language>, Failure> {
    let names = asked.into_iter().flat_map(|names| names.split('+'));
    names
        .map(|name| {
            let language = name.parse::<Language>().ok();
            language
                .filter(|language| tesseract.languages().contains(language))
                .ok_or_else(|| {
                    let known: Vec<&str> =
                        tesseract.languages().iter().map(Language::as_str).collect();
                    Failure::Permanent(format!(
                        "the language {name:?} is not installed; there are {}",
                        known.join(", ")
                    ))
                })
        })
        .collect()
}

/// Decoding is work for the processor, so it has a thread of its own.
async fn prepare(bytes: Bytes, folder: &Path) -> anyhow::Result<Prepared> {
    let target = folder.join("picture.pgm");
    let prepared = tokio::task::spawn_blocking(move || picture::prepare(&bytes, &target)).await?;
    prepared.map_err(|error| match error {
        PictureError::Io(_) => error.into(),
        refused => Failure::Permanent(refused.to_string()).into(),
    })
}

/// Tells users what they can understand; the rest is for the log.
fn explain(error: RecognizeError) -> anyhow::Error {
    match &error {
        RecognizeError::Process(ProcessError::Timeout { .. }) => {
            let reason = "reading the text took too long".to_owned();
            anyhow::Error::new(error).context(Failure::Temporary {
                reason,
                retry_after: None,
            })
        }
        _ => error.into(),
    }
}

fn reading(read: Recognition) -> anyhow::Result<Reading> {
    let asked = || {
        read.asked
            .iter()
            .map(Language::as_str)
            .collect::<Vec<_>>()
            .join("+")
    };
    #[expect(clippy::cast_possible_truncation, reason = "0 to 100 with one decimal")]
    let confidence = read.confidence.map(|confidence| confidence as f32);
    Ok(Reading {
        language: read
            .language
            .as_ref()
            .map_or_else(asked, |language| language.as_str().to_owned()),
        confidence,
        low_confidence: read.low_confidence,
        words: serde_json::to_value(&read.words)?,
        text: read.text,
    })
}
