//! Trying again at once at an endpoint whose user says that it is well.

use serde_json::json;
use shared::{
    jobs::HastenDeliveries,
    models::webhook::{self, hastening},
};

use super::{Outcome, Run};
use crate::context::JobContext;

/// Why there is nothing to do any more.
const OFF: &str = "the endpoint was switched off or deleted";

impl Run for HastenDeliveries {
    async fn run(self, ctx: &JobContext) -> anyhow::Result<Outcome> {
        let mut last = None;
        loop {
            let mut tx = ctx.fenced().await?; // this run still owns the job, or it stops here
            // Read only: whoever has it locked may be asking for this job, and waits for its row.
            let endpoint = webhook::find_for_any_user(tx.orm(), self.webhook).await?;
            if endpoint.is_none_or(|endpoint| !endpoint.is_active) {
                return tx.done(Some(json!({ "discarded": OFF }))).await;
            }
            last = hastening::hasten(&mut tx, self.webhook, last).await?;
            if last.is_none() {
                return tx.done(None).await;
            }
            tx.keep().await?;
        }
    }
}
