//! Sending an endpoint again what it has missed.

use serde_json::json;
use shared::{events, jobs::RecoverWebhook, models::webhook::recovery};

use super::{Failure, Outcome, Run};
use crate::context::JobContext;

/// Deliveries that one transaction sends again: few, so that it is short.
const PAGE: u32 = 200;
/// Why nothing more is sent again.
const OFF: &str = "the endpoint is switched off";

impl Run for RecoverWebhook {
    async fn run(self, ctx: &JobContext) -> anyhow::Result<Outcome> {
        loop {
            let mut tx = ctx.fenced().await?; // this run still owns the job, or it stops here
            let Some((row, endpoint)) = recovery::find_running(&mut tx, self.recovery).await?
            else {
                let gone = "the recovery has ended or its endpoint was deleted";
                return tx.done(Some(json!({ "discarded": gone }))).await;
            };
            if !endpoint.is_active {
                return tx.fail(&Failure::Permanent(OFF.to_owned())).await;
            }
            let row = row.counted(&mut tx).await?;
            let page = row.next(&mut tx, PAGE).await?;
            let Some(last) = page.last() else {
                row.complete(&mut tx, ctx.clock.now()).await?;
                let result = json!({ "found": row.found, "resent": row.resent });
                return tx.done(Some(result)).await;
            };
            let (to, mut resent) = (endpoint.subscribed(), 0);
            for one in &page {
                let subject = one.subject.as_deref();
                let job = events::deliver_again(&mut tx, &to, one.id, one.job_id, subject).await?;
                // Somebody else may have been faster with this one.
                resent += i64::from(job.is_some());
            }
            let row = row.advance(&mut tx, last, resent).await?;
            tx.keep().await?;
            let found = row.found.unwrap_or_default();
            let note = format!("{} of {found} deliveries are sent again", row.resent);
            ctx.progress(row.percent(), &note).await;
        }
    }
}
