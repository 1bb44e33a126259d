//! Removing what is left of a deleted conversation.

use shared::{
    jobs::PurgeConversation,
    models::{attachment, conversation, export},
};

use super::{Outcome, Run};
use crate::context::JobContext;

/// Messages deleted by one statement: few, so that no statement takes long.
const BATCH: u64 = 500;

impl Run for PurgeConversation {
    async fn run(self, ctx: &JobContext) -> anyhow::Result<Outcome> {
        loop {
            let mut tx = ctx.begin().await?;
            let gone = conversation::purge_messages(&mut tx, self.conversation, BATCH).await?;
            tx.commit().await?;
            if gone == 0 {
                break;
            }
        }
        loop {
            let mut tx = ctx.begin().await?;
            let gone = attachment::delete_some_of_conversation(&mut tx, self.conversation).await?;
            tx.commit().await?;
            if gone == 0 {
                break;
            }
        }
        loop {
            let mut tx = ctx.begin().await?;
            let gone = export::delete_some_of_conversation(&mut tx, self.conversation).await?;
            tx.commit().await?;
            if gone == 0 {
                break;
            }
        }
        let mut tx = ctx.fenced().await?; // this run still owns the job, or it stops here
        conversation::purge(&mut tx, self.conversation).await?;
        tx.done(None).await
    }
}
