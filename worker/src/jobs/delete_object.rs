//! Removing an object that no row names any more.

use shared::{attachment_text, jobs::DeleteObject};

use super::{Outcome, Run};
use crate::context::JobContext;

impl Run for DeleteObject {
    async fn run(self, ctx: &JobContext) -> anyhow::Result<Outcome> {
        if self.unfinished {
            ctx.storage.discard(&self.storage_key).await?;
        } else {
            ctx.storage.delete(&self.storage_key).await?;
        }
        if let Some(attachment) = self.attachment {
            attachment_text::remove(&ctx.redis, attachment).await;
        }
        Ok(Outcome::Done(None))
    }
}
