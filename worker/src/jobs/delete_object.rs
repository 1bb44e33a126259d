//! Removing an object that no row names any more.

use shared::jobs::DeleteObject;

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
            let text = ctx.redis.keys().attachment_text(attachment);
            ctx.redis.remove(vec![text]).await?;
        }
        Ok(Outcome::Done(None))
    }
}
