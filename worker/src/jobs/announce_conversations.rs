//! Telling of conversations that were changed with many others.

use shared::{jobs::AnnounceConversations, models::conversation};

use super::{Outcome, Run};
use crate::context::JobContext;

impl Run for AnnounceConversations {
    async fn run(self, ctx: &JobContext) -> anyhow::Result<Outcome> {
        let mut tx = ctx.fenced().await?; // this run still owns the job, or it stops here
        conversation::announce(&mut tx, &self.conversations, ctx.clock.now()).await?;
        tx.done(None).await
    }
}
