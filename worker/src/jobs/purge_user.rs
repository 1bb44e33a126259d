//! Removing what is left of a deleted account.

use shared::{
    jobs::PurgeUser,
    models::{
        attachment, conversation, export,
        generation::{self, Stopped},
        user,
    },
};

use super::{Outcome, Run, purge_conversation};
use crate::context::JobContext;

/// Jobs that one transaction cancels.
const JOBS: u64 = 100;
/// Rows of a table that one transaction deletes: few, so that it is short.
const ROWS: u64 = 500;

impl Run for PurgeUser {
    async fn run(self, ctx: &JobContext) -> anyhow::Result<Outcome> {
        let user = self.user;
        if !user::is_deleted(&ctx.db, user).await? {
            return Ok(Outcome::Discard("the account is not deleted"));
        }
        // Again, as one may have begun while the account was deleted.
        generation::request_cancel(&ctx.db, user, Stopped::Everything, ctx.clock.now()).await?;
        // Files before all else: what one has a signed URL of can be looked at.
        loop {
            let mut tx = ctx.begin().await?;
            let gone = attachment::delete_some_of_user(&mut tx, user).await?;
            tx.commit().await?;
            if gone == 0 {
                break;
            }
        }
        loop {
            let mut tx = ctx.begin().await?;
            let gone = export::delete_some_of_user(&mut tx, user).await?;
            tx.commit().await?;
            if gone == 0 {
                break;
            }
        }
        loop {
            let mut tx = ctx.begin().await?;
            let gone = user::cancel_jobs(&mut tx, user, JOBS).await?;
            tx.commit().await?;
            if gone == 0 {
                break;
            }
        }
        loop {
            let mut tx = ctx.begin().await?;
            let now = ctx.clock.now();
            let next = conversation::delete_next_of_user(&mut tx, user, now).await?;
            tx.commit().await?;
            let Some(conversation) = next else { break };
            purge_conversation::empty(ctx, conversation).await?;
            let mut tx = ctx.begin().await?;
            conversation::purge(&mut tx, conversation).await?;
            tx.commit().await?;
        }
        loop {
            let mut tx = ctx.begin().await?;
            let gone = user::purge_rows(&mut tx, user, ROWS).await?;
            tx.commit().await?;
            if gone == 0 {
                break;
            }
        }
        let mut tx = ctx.fenced().await?; // this run still owns the job, or it stops here
        match user::end_purge(&mut tx, user).await? {
            Some(wait) => tx.postpone(wait).await,
            None => tx.done(None).await,
        }
    }
}
