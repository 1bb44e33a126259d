//! Removing what is left of a deleted account.

use std::time::{Duration, Instant};

use shared::{
    ids::UserId,
    jobs::PurgeUser,
    models::{
        attachment, conversation, export,
        generation::{self, Stopped},
        user::{self, Walked},
    },
};

use super::{Outcome, Run, TURN, purge_conversation};
use crate::context::JobContext;

/// Rows of a table that one transaction deletes: few, so that it is short.
const ROWS: u64 = 500;

impl Run for PurgeUser {
    async fn run(self, ctx: &JobContext) -> anyhow::Result<Outcome> {
        let user = self.user;
        if !user::is_deleted(&ctx.db, user).await? {
            return Ok(Outcome::Discard("the account is not deleted"));
        }
        // Again, as one may have begun while the account was deleted.
        stop_answers(ctx, user).await?;
        if !remove_all(ctx, user).await? {
            return ctx.fenced().await?.postpone(Duration::ZERO).await;
        }
        stop_answers(ctx, user).await?;
        let mut tx = ctx.fenced().await?; // this run still owns the job, or it stops here
        match user::end_purge(&mut tx, user).await? {
            Some(wait) => tx.postpone(wait).await,
            None => tx.done(None).await,
        }
    }
}

async fn stop_answers(ctx: &JobContext, user: UserId) -> anyhow::Result<()> {
    generation::request_cancel(&ctx.db, user, Stopped::Everything, ctx.clock.now()).await?;
    Ok(())
}

/// False when the run's turn is over before all has gone.
async fn remove_all(ctx: &JobContext, user: UserId) -> anyhow::Result<bool> {
    let begun = Instant::now();
    let is_over = || begun.elapsed() > TURN;
    // Files before all else: what one has a signed URL of can be looked at.
    loop {
        if is_over() {
            return Ok(false);
        }
        let mut tx = ctx.begin().await?;
        let gone = attachment::delete_some_of_user(&mut tx, user).await?;
        tx.commit().await?;
        if gone == 0 {
            break;
        }
    }
    loop {
        if is_over() {
            return Ok(false);
        }
        let mut tx = ctx.begin().await?;
        let gone = export::delete_some_of_user(&mut tx, user).await?;
        tx.commit().await?;
        if gone == 0 {
            break;
        }
    }
    // Until a whole walk finds none: one that ends may have asked for another.
    let mut after: Option<Walked> = None;
    loop {
        if is_over() {
            return Ok(false);
        }
        let mut tx = ctx.begin().await?;
        let last = user::cancel_next_job(&mut tx, user, after).await?;
        tx.commit().await?;
        if last.is_none() && after.is_none() {
            break;
        }
        after = last;
    }
    loop {
        if is_over() {
            return Ok(false);
        }
        let mut tx = ctx.begin().await?;
        let next = conversation::delete_next_of_user(&mut tx, user, ctx.clock.now()).await?;
        tx.commit().await?;
        let Some(conversation) = next else { break };
        purge_conversation::empty(ctx, conversation).await?;
        let mut tx = ctx.begin().await?;
        conversation::purge(&mut tx, conversation).await?;
        tx.commit().await?;
    }
    loop {
        if is_over() {
            return Ok(false);
        }
        let mut tx = ctx.begin().await?;
        let gone = user::purge_rows(&mut tx, user, ROWS).await?;
        tx.commit().await?;
        if gone == 0 {
            return Ok(true);
        }
    }
}
