//! Reading the text of a document.

use anyhow::Context as _;
use futures::FutureExt as _;
use serde_json::json;
use shared::{
    jobs::ReadDocument,
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
        document::{self, Document, DocumentError, Reader},
        process::ProcessError,
    },
};

/// Percent done when the pages begin, and what they are worth together.
const PAGES_BEGIN: u32 = 10;
const PAGES_SHARE: u32 = 85;

impl Run for ReadDocument {
    async fn run(self, ctx: &JobContext) -> anyhow::Result<Outcome> {
        let attachment = attachment::find_for_any_user(&ctx.db, self.attachment).await?;
        let asked = recognition::find(&ctx.db, self.attachment).await?;
        let (Some(attachment), Some(asked)) = (attachment, asked) else {
            return Ok(Outcome::Discard("the attachment was deleted"));
        };
        let poppler = ctx.poppler.as_ref().ok_or(Failure::Temporary {
            reason: "the reading of PDFs is not installed on this worker".to_owned(),
            retry_after: None,
        })?;
        let hints = hints(ctx, &attachment, &asked).await?;

        ctx.progress(5, "loading the document").await;
        let bytes = load(ctx, &attachment).await?;
        let folder = ctx.scratch.folder().context("no temporary folder")?;
        let file = folder.path().join("document.pdf");
        tokio::fs::write(&file, bytes).await?;
        let reader = Reader {
            poppler,
            tesseract: ctx.tesseract.as_ref(),
            limits: document::LIMITS,
        };
        let progress = |page: u32, pages: u32| {
            async move {
                let percent = PAGES_BEGIN + PAGES_SHARE * (page - 1) / pages;
                let percent = u8::try_from(percent).unwrap_or(u8::MAX);
                let note = format!("page {page} of {pages}");
                ctx.progress(percent, &note).await;
            }
            .boxed()
        };
        let read = reader
            .read(&file, folder.path(), hints, &progress)
            .await
            .map_err(explain)?;
        let result = json!({ "pages": read.pages.len(), "pageCount": read.page_count, "truncated": read.truncated });
        store(ctx, &attachment, reading(read)?, Some(result)).await
    }
}

/// Tells users what they can understand; the rest is for the log.
fn explain(error: DocumentError) -> anyhow::Error {
    let reason = match &error {
        DocumentError::Encrypted
        | DocumentError::Damaged(_)
        | DocumentError::Empty
        | DocumentError::NotInstalled(_)
        | DocumentError::Unreadable(_) => Failure::Permanent(error.to_string()),
        DocumentError::NoRecognition | DocumentError::TooSlow => Failure::Temporary {
            reason: error.to_string(),
            retry_after: None,
        },
        DocumentError::Process(ProcessError::Timeout { .. }) => Failure::Temporary {
            reason: "opening the PDF took too long".to_owned(),
            retry_after: None,
        },
        DocumentError::Process(_) | DocumentError::Io(_) => return error.into(),
    };
    anyhow::Error::new(error).context(reason)
}

fn reading(read: Document) -> anyhow::Result<Reading> {
    Ok(Reading {
        language: read.language.map(|language| language.to_string()),
        confidence: rounded(read.tally.confidence()),
        low_confidence: read.tally.is_low(),
        words: None,
        pages: Some(serde_json::to_value(&read.pages)?),
        page_count: Some(read.page_count),
        truncated: read.truncated,
        text: read.text,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engines::document::PageError;

    #[test]
    fn what_may_heal_is_tried_again() {
        for (error, is_temporary) in [
            (DocumentError::TooSlow, true),
            (DocumentError::NoRecognition, true),
            (DocumentError::Unreadable(PageError::TooSlow), false),
            (DocumentError::Encrypted, false),
        ] {
            let message = error.to_string();
            let error = explain(error);
            let failure = error.downcast_ref::<Failure>().unwrap();
            assert_eq!(failure.to_string(), message);
            let found = matches!(failure, Failure::Temporary { .. });
            assert_eq!(found, is_temporary, "{message}");
        }
    }
}
