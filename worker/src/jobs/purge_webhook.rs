//! Removing what is left of a deleted endpoint.

use std::time::{Duration, Instant};

use shared::{jobs::PurgeWebhook, models::webhook};

use super::{Outcome, Run, TURN};
use crate::context::JobContext;

/// Deliveries that one transaction removes: few, so that it is short.
const BATCH: u64 = 200;

impl Run for PurgeWebhook {
    async fn run(self, ctx: &JobContext) -> anyhow::Result<Outcome> {
        let begun = Instant::now();
        loop {
            if begun.elapsed() > TURN {
                return ctx.fenced().await?.postpone(Duration::ZERO).await;
            }
            let mut tx = ctx.begin().await?;
            let gone = webhook::purge_deliveries(&mut tx, self.webhook, BATCH).await?;
            tx.commit().await?;
            if gone == 0 {
                break;
            }
        }
        let mut tx = ctx.fenced().await?; // this run still owns the job, or it stops here
        webhook::purge(&mut tx, self.webhook).await?;
        tx.done(None).await
    }
}
