//! Reading the text of a picture.

use std::path::Path;

use anyhow::Context as _;
use bytes::Bytes;
use shared::{
    jobs::RecognizeText,
    language::Language,
    models::{
        attachment,
        recognition::{self, Reading},
    },
};

use super::{
    Failure, Outcome, Run,
    reading::{hints, load, rounded, store},
};
use crate::{
    context::JobContext,
    engines::{
        aside::run_aside,
        picture::{self, PictureError, Prepared},
        process::ProcessError,
        tesseract::{self, Recognition, RecognizeError},
    },
};

impl Run for RecognizeText {
    async fn run(self, ctx: &JobContext) -> anyhow::Result<Outcome> {
        let attachment = attachment::find_for_any_user(&ctx.db, self.attachment).await?;
        let asked = recognition::find(&ctx.db, self.attachment).await?;
        let (Some(attachment), Some(asked)) = (attachment, asked) else {
            return Ok(Outcome::Discard("the attachment was deleted"));
        };
        let tesseract = ctx.tesseract.as_ref().ok_or(Failure::Temporary {
            reason: "text recognition is not installed on this worker".to_owned(),
            retry_after: None,
        })?;
        let hints = hints(ctx, &attachment, &asked).await?;
        tesseract.check(&hints.asked).map_err(explain)?;

        ctx.progress(5, "loading the picture").await;
        let bytes = load(ctx, &attachment).await?;
        ctx.progress(20, "preparing the picture").await;
        let folder = ctx.scratch.folder().context("no temporary folder")?;
        let prepared = prepare(bytes, folder.path()).await?;
        ctx.progress(40, "reading the text").await;
        let read = tesseract
            .recognize(&prepared, &hints, &tesseract::LIMITS)
            .await
            .map_err(explain)?;
        store(ctx, &attachment, reading(read)?, None).await
    }
}

async fn prepare(bytes: Bytes, folder: &Path) -> anyhow::Result<Prepared> {
    let target = folder.join("picture.pgm");
    let prepared = run_aside(move || picture::prepare(&bytes, &target)).await?;
    prepared.map_err(|error| match error {
        PictureError::Io(_) => error.into(),
        refused => Failure::Permanent(refused.to_string()).into(),
    })
}

/// Tells users what they can understand; the rest is for the log.
fn explain(error: RecognizeError) -> anyhow::Error {
    match &error {
        RecognizeError::Process(ProcessError::Timeout { .. }) => {
            temporary(error, "reading the text took too long")
        }
        // By the picture, or by too little memory just then.
        RecognizeError::Process(
            ProcessError::Failed { .. } | ProcessError::TooMuchOutput { .. },
        ) => temporary(error, "the picture cannot be read"),
        RecognizeError::NotInstalled { .. } => Failure::Permanent(error.to_string()).into(),
        _ => error.into(),
    }
}

fn temporary(error: RecognizeError, reason: &str) -> anyhow::Error {
    anyhow::Error::new(error).context(Failure::Temporary {
        reason: reason.to_owned(),
        retry_after: None,
    })
}

fn reading(read: Recognition) -> anyhow::Result<Reading> {
    let language = match read.language {
        Some(language) => language.to_string(),
        None => Language::join(&read.asked),
    };
    Ok(Reading {
        language: Some(language),
        confidence: rounded(read.confidence),
        low_confidence: read.low_confidence,
        words: Some(serde_json::to_value(&read.words)?),
        text: read.text,
        pages: None,
        page_count: None,
        truncated: read.truncated,
    })
}
