//! Removing an object that no row names any more.

use shared::{attachment_text, jobs::DeleteObject};

use super::{Failure, Outcome, Run};
use crate::context::JobContext;

/// Tries over at least seven days, of which the first twelve take about an hour and each further one half an hour or
/// more. By then Redis has forgotten the text by itself ([`attachment_text::LIFETIME`]).
const TRIES_OF_REDIS: i32 = 12 + 7 * 24 * 2;

impl Run for DeleteObject {
    async fn run(self, ctx: &JobContext) -> anyhow::Result<Outcome> {
        if self.unfinished {
            ctx.storage.discard(&self.storage_key).await?;
        } else {
            ctx.storage.delete(&self.storage_key).await?;
        }
        // The object is gone, whatever Redis says: a deployment may live without it.
        if let Some(attachment) = self.attachment
            && let Err(error) = attachment_text::remove(&ctx.redis, attachment).await
            && ctx.attempt() < TRIES_OF_REDIS
        {
            return Err(anyhow::Error::new(error).context(Failure::Temporary {
                reason: "the text is still in Redis".to_owned(),
                retry_after: None,
            }));
        }
        Ok(Outcome::Done(None))
    }
}
