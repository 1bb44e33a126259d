//! Removing what is left of a deleted conversation.

use shared::{
    ids::ConversationId,
    jobs::PurgeConversation,
    models::{attachment, conversation, export},
};

use super::{Outcome, Run};
use crate::context::JobContext;

/// Messages deleted, and events changed, by one statement: few, so that no statement takes long.
const BATCH: u64 = 500;

impl Run for PurgeConversation {
    async fn run(self, ctx: &JobContext) -> anyhow::Result<Outcome> {
        empty(ctx, self.conversation).await?;
        // Last, as what was still running may have told of it.
        loop {
            let mut tx = ctx.begin().await?;
            let told = conversation::withdraw_events(&mut tx, self.conversation, BATCH).await?;
            tx.commit().await?;
            if told == 0 {
                break;
            }
        }
        let mut tx = ctx.fenced().await?; // this run still owns the job, or it stops here
        conversation::purge(&mut tx, self.conversation).await?;
        tx.done(None).await
    }
}

/// Removes what is in a deleted conversation.
pub(super) async fn empty(ctx: &JobContext, conversation: ConversationId) -> anyhow::Result<()> {
    loop {
        let mut tx = ctx.begin().await?;
        let gone = conversation::purge_messages(&mut tx, conversation, BATCH).await?;
        tx.commit().await?;
        if gone == 0 {
            break;
        }
    }
    loop {
        let mut tx = ctx.begin().await?;
        let gone = attachment::delete_some_of_conversation(&mut tx, conversation).await?;
        tx.commit().await?;
        if gone == 0 {
            break;
        }
    }
    loop {
        let mut tx = ctx.begin().await?;
        let gone = export::delete_some_of_conversation(&mut tx, conversation).await?;
        tx.commit().await?;
        if gone == 0 {
            return Ok(());
        }
    }
}
