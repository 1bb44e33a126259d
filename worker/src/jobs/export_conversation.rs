//! Making a file of a conversation: what was said is written to a folder, made into a file by a process of its own, and
//! stored.

use anyhow::Context as _;
use serde_json::json;
use shared::{
    clients::storage::{Kind, Unclaimed},
    jobs::ExportConversation,
    models::{
        conversation,
        export::{self, Made},
        pending_object,
    },
};

use super::{Failure, Outcome, Run};
use crate::{
    context::JobContext,
    engines::{process::ProcessError, render::source::Folder},
    exports::{self, ExportError},
};

/// Why there is nothing to do any more.
const DELETED: &str = "the export was deleted";

impl Run for ExportConversation {
    async fn run(self, ctx: &JobContext) -> anyhow::Result<Outcome> {
        let Some(row) = export::find_for_any_user(&ctx.db, self.export).await? else {
            return Ok(Outcome::Discard(DELETED));
        };
        let found = conversation::get(&ctx.db, row.user_id, row.conversation_id).await;
        let conversation = match found {
            Err(shared::database::Error::NotFound(_)) => {
                return Ok(Outcome::Discard("the conversation was deleted"));
            }
            found => found?,
        };
        let scratch = ctx.scratch.folder().context("no temporary folder")?;
        let folder = Folder::new(scratch.path());
        let messages = exports::snapshot::write(ctx, &row, conversation, &folder)
            .await
            .map_err(explain)?;
        let made = exports::render(ctx, row.format, &folder, messages)
            .await
            .map_err(explain)?;
        ctx.progress(exports::WRITTEN, "storing the file").await;

        let storage_key = ctx.storage.random_key(Kind::Export);
        pending_object::begin(&ctx.db, &storage_key).await?;
        let (object, size_bytes, sha256) =
            exports::store(ctx, &storage_key, row.format, &folder).await?;
        let result = json!({
            "messages": made.messages, "pages": made.pages, "archival": made.archival, "sizeBytes": size_bytes,
        });
        let stored = Made {
            storage_key,
            size_bytes,
            sha256,
            message_count: made.messages,
        };
        finish(ctx, self.export, stored, object, result).await
    }
}

async fn finish(
    ctx: &JobContext,
    export: shared::ids::ExportId,
    made: Made,
    object: Unclaimed,
    result: serde_json::Value,
) -> anyhow::Result<Outcome> {
    let mut tx = ctx.fenced().await?; // this run still owns the job, or it stops here
    if !export::complete(&mut tx, export, made, ctx.clock.now()).await? {
        return tx.done(Some(json!({ "discarded": DELETED }))).await;
    }
    // Before the commit: if its answer is lost, the row may name the object all the same.
    object.keep();
    tx.done(Some(result)).await
}

/// Tells users what they can understand; the rest is for the log.
fn explain(error: ExportError) -> anyhow::Error {
    let failure = match &error {
        ExportError::Refused(reason) => Failure::Permanent(reason.clone()),
        ExportError::Render(ProcessError::Timeout { .. }) => Failure::Permanent(
            "writing the file took too long; narrow the export with `from` and `to`".to_owned(),
        ),
        ExportError::Render(failed) if !failed.is_of_machine() => {
            // It would crash again.
            tracing::warn!(error = %failed, "a conversation cannot be written as a file");
            Failure::Permanent(
                "the file could not be written; narrow the export with `from` and `to`, or take another format"
                    .to_owned(),
            )
        }
        _ => return error.into(),
    };
    anyhow::Error::new(error).context(failure)
}
